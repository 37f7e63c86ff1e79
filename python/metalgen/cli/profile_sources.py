"""What `metalgen profile` makes of files other than candidates: sources, metallibs, GPU traces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metalgen.errors import MetalgenError, PlanError

if TYPE_CHECKING:
    import torch

    from metalgen.profile import Profile

_SIZE = re.compile(r"([\w.]+)=(\d+(?:x\d+)*|)(?::(\w+))?$")


def of_trace(trace: Path) -> Profile:
    """Xcode's pictures of a capture."""
    from metalgen.profile import Profile
    from metalgen.profile.xcode import screenshots

    pictures = screenshots(trace)
    names = ", ".join(picture.name for picture in pictures)
    return Profile(f"Xcode's views of {trace.name}: {names}\n", pictures)


def of_plan(source: Path, plan: Path, sizes: Sequence[str], chip: str | None) -> Profile:
    """A plan for kernels in a file, with random inputs of the given sizes."""
    from metalgen.chips import find_chip
    from metalgen.chips.this_mac import default_chip
    from metalgen.plan import parse_plan
    from metalgen.profile import profile_data, render

    inputs = dict(_input(size) for size in sizes)
    known = default_chip() if chip is None else find_chip(chip)
    parsed = parse_plan(plan.read_bytes())
    return render(profile_data(parsed, metallib_of(source), inputs, {}, known))


def metallib_of(path: Path) -> bytes:
    """A metallib's bytes, or those of the sources' compilation."""
    from metalgen.compiler import compile_files

    return path.read_bytes() if path.suffix == ".metallib" else compile_files([path])


def _input(text: str) -> tuple[str, torch.Tensor | int]:
    """`x=16x1024:float16` as a random tensor, `n=3` as a number, `s=` as a tensor of one value."""
    import torch

    match = _SIZE.match(text)
    dtype = None if match is None else getattr(torch, match[3] or "float32", None)
    if match is None or not isinstance(dtype, torch.dtype):
        raise PlanError(f"--size '{text}': expected NAME=SHAPE[:DTYPE], as in x=16x1024:float16")
    if match[2].isdigit() and match[3] is None:
        return match[1], int(match[2])
    shape = [int(size) for size in match[2].split("x") if size]
    if dtype.is_floating_point:
        return match[1], torch.randn(shape, dtype=dtype)
    return match[1], torch.zeros(shape, dtype=dtype)


def mix(path: Path) -> str:
    """Every kernel's instructions, each counted once: what can be told without a launch."""
    from metalgen.air import Metallib

    library = Metallib(metallib_of(path))
    return "".join(f"{_kernel_mix(library, name)}\n" for name in library.names)


def _kernel_mix(library: object, name: str) -> str:
    from metalgen.air import Metallib
    from metalgen.profile.operations import operations
    from metalgen.software.dump import Dump
    from metalgen.software.prepare import prepare

    assert isinstance(library, Metallib)
    try:
        prepared = prepare(library.bitcode(name), name, {}, Dump.of(name))
    except MetalgenError as error:
        return f"{name}: {error}"
    found = operations(prepared.function.instructions())
    opcodes = Counter(i.opcode for i in prepared.function.instructions())
    kinds = ", ".join(f"{kind.replace('_', ' ')} {n}" for kind, n in found.kinds.most_common())
    memory = library.kernel(name).threadgroup_bytes
    return (
        f"{name}: {kinds or 'no arithmetic'}; loads {opcodes['load']}, stores {opcodes['store']}, "
        f"barriers {found.barriers}, operations between lanes {found.between_lanes}, "
        f"8x8 matrix products {found.matrix_products}, threadgroup memory {memory} bytes"
    )

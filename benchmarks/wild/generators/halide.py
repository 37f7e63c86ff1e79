"""Halide: pipelines through its Metal code generator, against Halide on the CPU."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metalgen.compiler import CompileOptions
from wild.generated import generated
from wild.generators.halide_cases import Case, cases
from wild.generators.results import Results
from wild.project import Package

OPTIONS = CompileOptions(math="safe")
PROJECT = generated("Halide", (Package("pypi", "halide", "21.0.0"),), OPTIONS)
_ZIG = (sys.executable, "-m", "ziglang", "cc")
_TYPES = {
    "float": torch.float32, "half": torch.float16, "char": torch.int8, "short": torch.int16,
    "int": torch.int32, "uchar": torch.uint8, "ushort": torch.uint16, "uint": torch.uint32,
    "bool": torch.bool,
}  # fmt: skip
_LAUNCH = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_long), ctypes.c_int,
)  # fmt: skip


class _Dimension(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int32) for name in ("min", "extent", "stride", "flags"))


class _Buffer(ctypes.Structure):  # halide_buffer_t
    _fields_ = (
        ("device", ctypes.c_uint64), ("interface", ctypes.c_void_p), ("host", ctypes.c_void_p),
        ("flags", ctypes.c_uint64), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("dimensions", ctypes.c_int32),
        ("dim", ctypes.POINTER(_Dimension)), ("padding", ctypes.c_void_p),
    )  # fmt: skip


def run(results: Results, packages: Path) -> None:
    """Compile all pipelines ahead of time into one library, then call each."""
    site = packages / "halide"
    sys.path.insert(0, str(site))
    import halide as hl

    with tempfile.TemporaryDirectory() as scratch:
        made = [
            (case, f"pipeline{i}", *_compiled(hl, case, f"pipeline{i}", Path(scratch)))
            for i, case in enumerate(cases(hl))
        ]
        library = _linked(hl, site, Path(scratch))
    errors: list[Exception] = []
    launch = _LAUNCH(_launcher(results, errors))
    library.wild_set_launch(launch)
    for case, name, expected, tolerance in made:
        compute = _computed(library, name, case.inputs, expected, errors)
        results.check(case.name, compute, torch.from_numpy(expected), (tolerance, tolerance))


def _compiled(hl: Any, case: Case, name: str, folder: Path) -> tuple[NDArray[Any], float]:
    """Write the pipeline's object file; what Halide computes on the CPU, and how exactly."""
    parameters = case.parameters(hl)
    for parameter, array in zip(parameters, case.inputs, strict=True):
        parameter.set(hl.Buffer(array))
    on_cpu = case.make(False, *parameters)
    expected = np.array(on_cpu.realize(list(reversed(case.shape))))
    parameters = case.parameters(hl)
    kinds = {hl.OutputFileType.object: str(folder / f"{name}.o")}
    target = hl.Target("x86-64-linux-metal-no_runtime")
    case.make(True, *parameters).compile_to(kinds, parameters, name, target)
    narrow = any(a.dtype == np.float16 for a in (*case.inputs, expected))
    return expected, 4e-3 if narrow else 1e-4


def _linked(hl: Any, site: Path, folder: Path) -> ctypes.CDLL:
    hl.compile_standalone_runtime(str(folder / "runtime.o"), hl.Target("x86-64-linux"))
    source, library = Path(__file__).with_name("halide_runtime.c"), folder / "pipelines.so"
    objects = [str(path) for path in sorted(folder.glob("*.o"))]
    words = ("-shared", "-fPIC", "-w", "-I", str(site / "halide/include"), str(source), *objects)
    subprocess.run([*_ZIG, *words, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def _launcher(results: Results, errors: list[Exception]) -> Callable[..., int]:
    """What launches a kernel; what goes wrong is kept, for C cannot raise it."""

    def launch(source: bytes, name: bytes, sizes: Any, given: Any, lengths: Any, count: int) -> int:
        try:
            kernel = results.library(source.decode(), OPTIONS).kernel(name.decode())
            infos = [a for a in kernel.info.arguments if a.kind == "buffer"]
            infos.sort(key=lambda argument: argument.index or 0)
            arguments = [_tensor(given[i], lengths[i], infos[i].type_name) for i in range(count)]
            shared = any(a.kind == "threadgroup" for a in kernel.info.arguments)
            kernel(*arguments, threadgroups=tuple(sizes[:3]), group_size=tuple(sizes[3:6]),
                   threadgroup_memory={0: max(16, sizes[6])} if shared else None)  # fmt: skip
        except Exception as error:
            errors.append(error)
            return -1
        return 0

    return launch


def _tensor(address: int, length: int, type_name: str) -> torch.Tensor:
    memory = (ctypes.c_char * length).from_address(address)
    return torch.frombuffer(memory, dtype=_TYPES.get(type_name, torch.uint8))


def _computed(
    library: ctypes.CDLL,
    name: str,
    inputs: Sequence[NDArray[Any]],
    expected: NDArray[Any],
    errors: list[Exception],
) -> Callable[[], torch.Tensor]:
    def compute() -> torch.Tensor:
        errors.clear()
        output = np.zeros_like(expected)
        buffers = [_buffer(array) for array in (*inputs, output)]
        status = getattr(library, name)(*[ctypes.byref(buffer) for buffer in buffers])
        if errors or status:
            raise errors[0] if errors else RuntimeError(f"Halide's error {status}")
        library.halide_copy_to_host(None, ctypes.byref(buffers[-1]))
        return torch.from_numpy(output)

    return compute


def _buffer(array: NDArray[Any]) -> _Buffer:
    """The host holds what counts; dimensions are Halide's, innermost first."""
    sizes = zip(reversed(array.shape), reversed(array.strides), strict=True)
    dimensions = [_Dimension(0, n, step // array.itemsize, 0) for n, step in sizes]
    code = {"i": 0, "u": 1, "f": 2}[array.dtype.kind]
    return _Buffer(0, None, array.ctypes.data, 1, code, array.itemsize * 8, 1, array.ndim,
                   (_Dimension * array.ndim)(*dimensions), None)  # fmt: skip

"""One case for two compilers: Apple's kernel against PyTorch, then ours against Apple's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from apple_metallib import apple_metallib, kernel_headers
from samples_of import every
from torch import Tensor

import metalgen
from metalgen.compiler import CompileOptions

Size = int | tuple[int, ...]

METAL = {
    torch.float32: "float",
    torch.float16: "half",
    torch.bfloat16: "bfloat16_t",
    torch.int32: "int",
    torch.uint32: "uint",
    torch.int64: "int64_t",
    torch.uint8: "uint8_t",
    torch.bool: "bool",
    torch.complex64: "complex64_t",
}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
# One rounding to the type, and a few more in float.
ROUNDING = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.complex64: 2e-6}

_KERNELS = "mlx/backend/metal/kernels"
_PRELUDE = (
    "#include <metal_stdlib>",
    "#include <metal_simdgroup>",
    "using namespace metal;",
    "#define instantiate(name, ...) "
    "template [[host_name(name)]] [[kernel]] decltype(__VA_ARGS__) __VA_ARGS__;",
)
_UNWRITTEN = 77  # what outputs hold before


@dataclass(frozen=True)
class Launch:
    """What a kernel is given, by buffer index, and what it then must have written."""

    arguments: Mapping[int, object]
    expected: Mapping[int, Tensor]
    group_size: Size = 64
    threads: Size | None = None
    groups: Size | None = None
    constants: Mapping[str, int | float | bool] = field(default_factory=dict)
    tolerance: float = 0.0  # relative, and absolute for values around 1
    held: Mapping[int, Tensor] = field(default_factory=dict)  # outputs' values before, if it counts


@dataclass(frozen=True)
class Case:
    """A kernel of Apple's: how our compiler instantiates it, and one launch.

    Kernels that only work one after the other have none: their test makes each from the last.
    """

    ours: str  # "template<arguments>", or the header's own kernel; empty: no source in the wheel
    launch: Callable[[], Launch] | None = None
    same_bits: bool = True  # false where the compilers may order or fuse operations differently


@dataclass(frozen=True, eq=False)
class Family:
    """Kernels that the same headers instantiate."""

    headers: Sequence[str]
    cases: Mapping[str, Case]
    one_in: int = 6  # the share of the cases that are the fixed sample, tested by default
    before: str = ""  # Metal to stand in front of the headers
    extra: str = ""  # Metal to stand between the headers and the instances

    def number(self, name: str) -> int:
        """Which of `one_in` parts a case belongs to; the first is the sample."""
        return list(self.cases).index(name) % self.one_in

    def check(self, name: str) -> None:
        """Apple's kernel computes what is expected, and ours the same as Apple's."""
        launch = self.launch(name)
        results = self.run_both(name, launch)
        for index, expected in launch.expected.items():
            assert_close(results[index], expected, launch.tolerance)

    def run_both(self, name: str, launch: Launch) -> dict[int, Tensor]:
        """What Apple's kernel writes, which ours must write too."""
        case = self.cases[name]
        results = run(apple(), name, launch)
        if case.ours:
            compare(
                run(_ours(self, self.number(name)), name, launch), results, launch, case.same_bits
            )
        return results

    def launch(self, name: str) -> Launch:
        """The launch of a kernel that has one of its own."""
        make = self.cases[name].launch
        assert make is not None, f"{name} is launched by a test of its own"
        return make()

    def check_ours(self, name: str) -> None:
        """Our build computes what is expected: for kernels that MLX compiles when it needs them."""
        launch = self.launch(name)
        results = run(_ours(self, self.number(name)), name, launch)
        for index, expected in launch.expected.items():
            assert_close(results[index], expected, launch.tolerance)


@functools.cache
def _ours(family: Family, part: int) -> metalgen.Library:
    """Our compiler's build of one part of a family's kernels, from the same headers."""
    lines = [
        *_PRELUDE,
        family.before,
        *(f'#include "{_KERNELS}/{header}"' for header in family.headers),
    ]
    lines.append(family.extra)
    chosen = list(family.cases.items())[part :: family.one_in]
    lines += [f'instantiate("{name}", {case.ours})' for name, case in chosen if "<" in case.ours]
    return metalgen.compile_shader(
        "\n".join(lines),
        include_dirs=[kernel_headers()],
        options=CompileOptions(math="safe"),  # as these kernels were compiled
    )


def kernels(families: Mapping[str, Family]) -> pytest.MarkDecorator:
    """Parametrizes `family` and `kernel`; all but a fixed sample wait for --all-kernels."""
    listed = [
        case
        for name, family in families.items()
        for case in every(family.one_in, ((name, kernel) for kernel in family.cases))
    ]
    return pytest.mark.parametrize(("family", "kernel"), listed)


@functools.cache
def apple() -> metalgen.Library:
    """Every kernel that Apple's compiler made for MLX."""
    return metalgen.load_metallib(apple_metallib())


def run(library: metalgen.Library, name: str, launch: Launch) -> dict[int, Tensor]:
    """The outputs after one launch, by buffer index."""
    kernel = library.kernel(name)
    outputs = {
        index: launch.held[index].clone() if index in launch.held else _unwritten(expected)
        for index, expected in launch.expected.items()
    }
    given = {**launch.arguments, **outputs}
    indices = sorted({argument.index for argument in kernel.info.buffers})
    assert set(given) <= set(indices), f"{name} has buffers {indices}, not {sorted(given)}"
    kernel(
        *(_plain(given.get(index)) for index in indices),
        threads=launch.threads,
        threadgroups=launch.groups,
        group_size=launch.group_size,
        constants=launch.constants or None,
    )
    return outputs


def _unwritten(expected: Tensor) -> Tensor:
    value = True if expected.dtype == torch.bool else _UNWRITTEN
    return torch.full(expected.shape, value, dtype=expected.dtype)


def _plain(argument: object) -> object:
    """Complex numbers are structs of two floats to Metal."""
    is_complex = isinstance(argument, Tensor) and argument.is_complex()
    return torch.view_as_real(argument) if is_complex else argument


def assert_close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def compare(
    ours: Mapping[int, Tensor], theirs: Mapping[int, Tensor], launch: Launch, same_bits: bool
) -> None:
    """Bit for bit, or within the rounding that the launch allows."""
    for index, expected in theirs.items():
        if same_bits:
            assert torch.equal(_bits(ours[index]), _bits(expected)), f"buffer {index} differs"
        else:
            assert_close(ours[index], expected, launch.tolerance)


def _bits(tensor: Tensor) -> Tensor:
    """Equal NaNs compare equal as integers."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    whole = {2: torch.int16, 4: torch.int32}
    return tensor.view(whole[tensor.element_size()]) if tensor.is_floating_point() else tensor


def named(dtype: torch.dtype) -> str:
    """A type as MLX's kernel names spell it."""
    return "bool_" if dtype == torch.bool else str(dtype).removeprefix("torch.")


def listed(values: Sequence[int], dtype: torch.dtype = torch.int64) -> Tensor:
    """A buffer of integers: shapes are int32, strides int64."""
    return torch.tensor(list(values), dtype=dtype)

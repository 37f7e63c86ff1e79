"""What a module computes on given inputs: in its own dtype, and in float64 to measure errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metalgen.generation.shapes import tensors_in
from metalgen.problem import LoadedProblem
from metalgen.problem.description import copied, copied_module
from metalgen.problem.loaded import described, module_tensors

# Beyond this, float64 (several times slower, far more where vendors' kernels lack it) is not worth
# the wait at full size; smaller shapes are still compared with it.
FLOAT64_BUDGET_S = 3.0
FLOAT64_BYTES = 512 << 20


# Float32's spacing: kernels accumulate in float32 whatever they read and write.
_ROUNDING = 2.0**-23


@dataclass(frozen=True, slots=True)
class Expected:
    """What a module gives: in its own dtype, in float64, and how far that moves with its inputs.

    `note` says why float64 was not used, where it was not.
    """

    eager: tuple[Tensor, ...]
    precise: tuple[Tensor, ...]
    moved: tuple[Tensor | None, ...]
    note: str | None = None

    @property
    def is_finite(self) -> bool:
        """Whether every output of both is finite."""
        return all(bool(t.isfinite().all()) for t in (*self.eager, *self.precise))


def expect(problem: LoadedProblem, module: nn.Module, inputs: tuple[object, ...]) -> Expected:
    """Run the module on copies of the inputs; whatever `forward` raises comes through."""
    started = time.perf_counter()
    # A copy: running may change buffers (running statistics) and remember things in attributes.
    eager = _cpu(problem.run(copied(inputs), copied_module(module)))
    if time.perf_counter() - started > FLOAT64_BUDGET_S:
        slow = "float64 skipped at full size: the module is too slow for it"
        return Expected(eager, _doubled(eager), (None,) * len(eager), slow)
    if sum(tensor.nbytes for tensor in (*tensors_in(inputs), *eager)) > FLOAT64_BYTES:
        large = "float64 skipped at full size: the tensors are too large for it"
        return Expected(eager, _doubled(eager), (None,) * len(eager), large)
    precise, note = in_double(problem, module, inputs)
    if precise is None or [t.shape for t in precise] != [t.shape for t in eager]:
        moved = _moved(problem, module, inputs, eager, _same)
        note = note or "compared with eager's own dtype: float64 gives other shapes"
        return Expected(eager, _doubled(eager), moved, note)
    return Expected(eager, _doubled(precise), _moved(problem, module, inputs, precise, _to_double))


def in_double(
    problem: LoadedProblem, module: nn.Module, inputs: tuple[object, ...]
) -> tuple[tuple[Tensor, ...] | None, str | None]:
    """What the module computes in float64, or why that is not known."""
    try:
        doubled = tuple(_to_double(each) for each in inputs)
        return _cpu(problem.run(doubled, _converted(module, _to_double))), None
    except Exception as error:
        return None, f"compared with eager's own dtype: float64 raised {described(error)}"


def _moved(
    problem: LoadedProblem,
    module: nn.Module,
    inputs: tuple[object, ...],
    outputs: tuple[Tensor, ...],
    convert: Callable[[object], object],
) -> tuple[Tensor | None, ...]:
    """How far each output moves, at most, when inputs and weights move by a rounding error."""
    largest: list[Tensor | None] = [None] * len(outputs)
    # There and back: what is exactly at an edge (equal values, a whole number) crosses it once.
    for direction in (1.0, -1.0):
        generator = torch.Generator().manual_seed(0)

        def move(
            value: object, generator: torch.Generator = generator, direction: float = direction
        ) -> object:
            return _rounded_otherwise(convert(value), generator, direction)

        try:
            others = _cpu(problem.run(tuple(map(move, inputs)), _converted(module, move)))
        except Exception:
            return (None,) * len(outputs)
        for i, (other, output) in enumerate(zip(others, outputs, strict=True)):
            if other.shape == output.shape:
                distance = (other.double() - output.double()).abs()
                known = largest[i]
                largest[i] = distance if known is None else torch.maximum(known, distance)
    return tuple(largest)


def _rounded_otherwise(value: object, generator: torch.Generator, direction: float) -> object:
    if isinstance(value, Tensor) and value.is_floating_point():
        noise = torch.rand(value.shape, generator=generator, dtype=torch.float64) * 2 - 1
        noise *= direction
        factor = 1 + noise.to(value.device) * max(_ROUNDING, torch.finfo(value.dtype).eps)
        return (value.double() * factor).to(value.dtype)
    if isinstance(value, list | tuple):
        return type(value)(_rounded_otherwise(item, generator, direction) for item in value)
    if isinstance(value, dict):
        return {key: _rounded_otherwise(item, generator, direction) for key, item in value.items()}
    return value


def _cpu(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(output.detach().cpu() for output in outputs)


def _doubled(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.double() if t.is_floating_point() else t for t in outputs)


def _converted(module: nn.Module, convert: Callable[[object], object]) -> nn.Module:
    """A copy whose tensors, plain attributes included, went through `convert`."""
    copy = copied_module(module)
    with torch.no_grad():
        for tensor in {id(t): t for _, t in module_tensors(copy)}.values():
            converted = convert(tensor.detach())
            assert isinstance(converted, Tensor)
            tensor.data = converted
    return copy


def _same(value: object) -> object:
    return value


def _to_double(value: object) -> object:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value.clone()
    if isinstance(value, list | tuple):
        return type(value)(_to_double(item) for item in value)
    if isinstance(value, dict):
        return {key: _to_double(item) for key, item in value.items()}
    return value

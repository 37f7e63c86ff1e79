"""Which dimensions of a module's inputs are free: found by running the module at other sizes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from metalgen.problem import LoadedProblem
from metalgen.problem.description import copied_module

PROBE_BUDGET_S = 10.0
# Problems with larger inputs are tried at smaller sizes only, besides their own.
LARGE_BYTES = 64 << 20

Axis = tuple[int, int]  # (position among the tensors, dimension)
Sizes = dict[Axis, int]


@dataclass(frozen=True, slots=True)
class Variation:
    """New sizes for some dimensions; equal sizes that belong together change together."""

    sizes: Sizes
    seed: int

    def apply(self, inputs: tuple[object, ...]) -> tuple[object, ...]:
        """Inputs of the new shapes whose elements are drawn from the old ones'."""
        generator = torch.Generator().manual_seed(self.seed)
        positions = iter(range(10**6))
        return tuple(self._resized(value, positions, generator) for value in inputs)

    def _resized(
        self, value: object, positions: Iterator[int], generator: torch.Generator
    ) -> object:
        if isinstance(value, list | tuple):
            return type(value)(self._resized(item, positions, generator) for item in value)
        if isinstance(value, dict):
            return {k: self._resized(item, positions, generator) for k, item in value.items()}
        if not isinstance(value, Tensor):
            return value
        position = next(positions)
        shape = [self.sizes.get((position, d), size) for d, size in enumerate(value.shape)]
        return value if shape == list(value.shape) else _drawn(value, shape, generator)


def _drawn(values: Tensor, shape: list[int], generator: torch.Generator) -> Tensor:
    """A tensor of `shape` with elements picked from `values`: same dtype, range, distribution."""
    count = 1
    for size in shape:
        count *= size
    picks = torch.randint(values.numel(), (count,), generator=generator).to(values.device)
    return values.reshape(-1)[picks].reshape(shape)


def tensors_in(inputs: Iterable[object]) -> Iterator[Tensor]:
    """Every tensor among the inputs, in the order in which variations number them."""
    for value in inputs:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
        elif isinstance(value, dict):
            yield from tensors_in(value.values())


def is_large(problem: LoadedProblem) -> bool:
    """Whether the inputs are so large that most cases should have smaller ones."""
    return _bytes(problem) > LARGE_BYTES


def _bytes(problem: LoadedProblem) -> int:
    return sum(tensor.nbytes for tensor in tensors_in(problem.inputs))


def find_variations(problem: LoadedProblem, count: int = 2) -> list[Variation]:
    """Up to `count` sets of other sizes that the module accepts, all free dimensions at once."""
    deadline = time.perf_counter() + PROBE_BUDGET_S
    free = list(_free_groups(problem, deadline))
    found: list[Variation] = []
    for seed in range(count):
        together = _combined(free, problem, seed)
        if together and _accepts(problem, together):
            found.append(Variation(together, seed))
        elif free:
            group = free[seed % len(free)]
            found.append(Variation(_combined([group], problem, seed), seed))
    return [variation for variation in found if variation.sizes]


def _combined(groups: list[list[Axis]], problem: LoadedProblem, seed: int) -> Sizes:
    """New sizes for each group, different from every other group's where possible."""
    shapes = [tensor.shape for tensor in tensors_in(problem.inputs)]
    # By how much each free size must shrink for all of it to become small enough.
    shrink = min(1.0, LARGE_BYTES / max(1, _bytes(problem))) ** (1 / max(1, len(groups)))
    sizes: Sizes = {}
    taken: set[int] = set()
    for group in groups:
        old = shapes[group[0][0]][group[0][1]]
        new = _other_size(old, seed, shrink)
        while new in taken:
            new += 2  # odd stays odd, where most sizes are even
        taken.add(new)
        sizes.update(dict.fromkeys(group, new))
    return sizes


def _other_size(size: int, seed: int, shrink: float) -> int:
    """An odd size below the old one, then one just above it, or further below if sizes must shrink.

    The smallest only grow.
    """
    if size <= 3:
        return size + 1 + seed
    if seed == 0:
        return max(3, int(size * min(5 / 8, shrink)) | 1)
    return size + 3 if shrink == 1 else max(3, int(size * min(1 / 3, shrink * 2 / 3)) | 1)


def _free_groups(problem: LoadedProblem, deadline: float) -> Iterator[list[Axis]]:
    """Dimensions that may change, those that must change together in one group.

    Dimensions of one size are tried together, then by their place, then each alone. Those of size 1
    stay: another size would change what they are broadcast against.
    """
    by_size: dict[int, list[Axis]] = {}
    for position, tensor in enumerate(tensors_in(problem.inputs)):
        for dimension, size in enumerate(tensor.shape):
            if size > 1:
                by_size.setdefault(size, []).append((position, dimension))
    for axes in by_size.values():
        if time.perf_counter() > deadline:
            return
        yield from _split(problem, axes)


def _split(problem: LoadedProblem, axes: list[Axis]) -> Iterator[list[Axis]]:
    """The finest of three partitions of `axes` whose parts the module accepts changed alone."""
    by_dimension: dict[int, list[Axis]] = {}
    for axis in axes:
        by_dimension.setdefault(axis[1], []).append(axis)
    parts = [part for part in by_dimension.values() if _is_free(problem, part)]
    if parts and len(parts) == len(by_dimension):
        yield from parts
    elif _is_free(problem, axes):
        yield axes
    elif parts:
        yield from parts
    else:
        yield from ([axis] for axis in axes if len(axes) > 1 and _is_free(problem, [axis]))


def _is_free(problem: LoadedProblem, axes: list[Axis]) -> bool:
    return _accepts(problem, _combined([axes], problem, 0))


def _accepts(problem: LoadedProblem, sizes: Sizes) -> bool:
    """Whether the module runs at the new sizes: whatever it raises means that it does not."""
    inputs = Variation(sizes, 0).apply(problem.inputs)
    try:
        outputs = problem.run(inputs, copied_module(problem.module))
    except Exception:
        return False
    return all(output.numel() > 0 for output in outputs)

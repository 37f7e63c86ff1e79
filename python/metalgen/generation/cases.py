"""The inputs that a candidate must get right: other seeds, weights, values and shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from metalgen.errors import ProblemError
from metalgen.generation.reference import Expected, expect
from metalgen.generation.shapes import Variation, find_variations, is_large, tensors_in
from metalgen.problem import LoadedProblem
from metalgen.problem.description import copied
from metalgen.problem.loaded import described, module_tensors

# A module so slow that its references take longer is not tried with other values as well.
REFERENCE_BUDGET_S = 60.0
# Cases that fit are kept for the next attempts; larger ones are computed again.
KEPT_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Case:
    """One set of inputs and weights with what the module computes from them."""

    name: str
    module: nn.Module
    inputs: tuple[object, ...]
    expected: Expected


@dataclass
class CaseBook:
    """Makes a problem's cases one by one, keeping those that are small for the next attempt."""

    problem: LoadedProblem
    notes: list[str] = field(default_factory=list)
    _kept: dict[str, Case | None] = field(default_factory=dict)
    _kept_bytes: int = 0
    _spent_s: float = 0.0
    _makers: list[tuple[str, Callable[[], Case | None]]] | None = None

    def __iter__(self) -> Iterator[Case]:
        """The case as the file has it first, then everything else that the module accepts."""
        if self._makers is None:
            self._makers = list(_makers(self.problem))
        for name, make in self._makers:
            if name in VALUE_CHANGES and self._spent_s > REFERENCE_BUDGET_S:
                self._note("other values were not tried: the module is too slow")
                return
            case = self._kept[name] if name in self._kept else self._made(name, make)
            if case is not None:
                yield case

    def _made(self, name: str, make: Callable[[], Case | None]) -> Case | None:
        started = time.perf_counter()
        case = make()
        self._spent_s += time.perf_counter() - started
        size = 0 if case is None else _bytes(case)
        if self._kept_bytes + size <= KEPT_BYTES:
            self._kept[name] = case
            self._kept_bytes += size
        if case is not None and case.expected.note:
            self._note(case.expected.note)
        return case

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _bytes(case: Case) -> int:
    expected = case.expected
    results = (*expected.eager, *expected.precise, *expected.moved)
    return sum(t.nbytes for t in (*tensors_in(case.inputs), *results) if t is not None)


def _makers(problem: LoadedProblem) -> Iterator[tuple[str, Callable[[], Case | None]]]:
    weights = perturbed(problem, seed=1)
    variations = find_variations(problem)
    smaller = variations[0] if variations and is_large(problem) else None

    def fresh_inputs(seed: int) -> tuple[object, ...]:
        """In the file's shapes, or smaller where those are large and others will do."""
        inputs = problem.fresh_inputs(seed)
        return inputs if smaller is None else smaller.apply(inputs)

    def as_given() -> Case:
        try:
            expected = expect(problem, problem.module, problem.inputs)
        except (RuntimeError, MemoryError) as error:
            raise ProblemError(f"'{problem.path}': forward raised {described(error)}") from error
        return Case("the inputs as given", problem.module, problem.inputs, expected)

    def other_seed() -> Case | None:
        return _valid(problem, "fresh inputs and weights", weights, fresh_inputs(1))

    yield "given", as_given
    for number, variation in enumerate(variations):
        yield f"shape {number}", _shape_maker(problem, weights, variation)
    yield "seed", other_seed
    for name, change in VALUE_CHANGES.items():
        yield name, _value_maker(problem, weights, name, change, fresh_inputs)


def _shape_maker(
    problem: LoadedProblem, module: nn.Module, variation: Variation
) -> Callable[[], Case | None]:
    def make() -> Case | None:
        inputs = variation.apply(problem.fresh_inputs(2))
        shapes = ", ".join(
            f"{name} {list(value.shape)}"
            for name, value in problem.named_inputs(inputs).items()
            if isinstance(value, Tensor)
        )
        return _valid(problem, f"other shapes ({shapes})", module, inputs)

    return make


def _value_maker(
    problem: LoadedProblem,
    module: nn.Module,
    name: str,
    change: Callable[[Tensor], Tensor],
    fresh_inputs: Callable[[int], tuple[object, ...]],
) -> Callable[[], Case | None]:
    def make() -> Case | None:
        inputs = tuple(changed(value, change) for value in copied(fresh_inputs(3)))
        case = _valid(problem, name, module, inputs)
        # Whole numbers that rounding decides (an argmax of equal values) prove nothing.
        discrete = case and any(not t.is_floating_point() for t in case.expected.eager)
        return None if discrete else case

    return make


def _valid(
    problem: LoadedProblem, name: str, module: nn.Module, inputs: tuple[object, ...]
) -> Case | None:
    """The case, or None where the module refuses it or gives no finite, well-conditioned result."""
    try:
        expected = expect(problem, module, inputs)
    except Exception:
        return None
    if not expected.is_finite or not _is_well_conditioned(expected):
        return None
    return Case(name, module, inputs, expected)


def _is_well_conditioned(expected: Expected) -> bool:
    """Whether eager agrees with float64 well enough that a candidate can be judged by it."""
    for eager, precise in zip(expected.eager, expected.precise, strict=True):
        if not eager.is_floating_point() or eager.numel() == 0:
            continue
        error = float((eager.double() - precise).abs().max())
        if error > 0.02 * float(precise.abs().max()):
            return False
    return True


def _centred(values: Tensor) -> Tensor:
    """Both signs, a spread of about 1: what relu and abs do shows only then."""
    spread = values.float().std().clamp_min(1e-3) if values.numel() > 1 else 1.0
    return ((values.float() - values.float().mean()) / spread).to(values.dtype)


def _levels(values: Tensor) -> Tensor:
    """A random number for each row."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((*values.shape[:-1], 1), generator=generator)
    return rows.to(values.device, values.dtype)


VALUE_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "inputs of both signs": _centred,
    # exp overflows beyond 88: a softmax that does not subtract the maximum first fails here.
    "inputs 50 times as large": lambda values: _centred(values) * 50,
    # A result that takes another row's maximum or mean shows only where rows differ.
    "rows far apart": lambda values: _centred(values) + 100 * _levels(values),
    "inputs 1000 times as small": lambda values: _centred(values) * 1e-3,
    "all inputs zero": torch.zeros_like,
}


def changed(value: object, change: Callable[[Tensor], Tensor]) -> object:
    """An input with `change` made to every floating-point tensor in it."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(changed(item, change) for item in value)
    if isinstance(value, dict):
        return {key: changed(item, change) for key, item in value.items()}
    return value


def perturbed(problem: LoadedProblem, seed: int) -> nn.Module:
    """A module with other weights, in which none is constant any more.

    A layer norm's weight of ones and bias of zeros would hide that a kernel leaves them out. Each
    constant tensor c becomes c + d with d in (-0.5, 0.5) around zero, else c * f, f in (0.5, 1.5).
    """
    module = problem.fresh_module(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in module_tensors(module):
            if _is_constant(tensor):
                _perturb(tensor, generator)
    return module


def _is_constant(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return False
    first = tensor.reshape(-1)[0]
    return bool(first.isfinite()) and bool((tensor == first).all())


def _perturb(tensor: Tensor, generator: torch.Generator) -> None:
    noise = torch.rand(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
    if float(tensor.reshape(-1)[0]) == 0:
        tensor.copy_(noise - 0.5)
    else:
        tensor.mul_(noise + 0.5)

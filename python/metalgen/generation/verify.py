"""Is a candidate right? Run it on every case between guards, twice, and compare with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metalgen.generation.cases import Case
from metalgen.generation.guarded import POISONS, GuardedMemory
from metalgen.generation.mismatch import Output, find_mismatch
from metalgen.generation.threadgroup_poison import poison_threadgroup_memory
from metalgen.library import Library
from metalgen.plan import BoundPlan, CompiledPlan
from metalgen.problem import LoadedProblem


@dataclass(frozen=True, slots=True)
class Checked:
    """A case that the candidate got right, and whether two runs gave the same bits."""

    case: str
    is_deterministic: bool


@dataclass(frozen=True, slots=True)
class Harm:
    """What the candidate did to memory that is not its own."""

    what: str


@dataclass(frozen=True)
class Verification:
    """Runs one candidate; `device` is where the tensors are put ("cpu", "mps")."""

    problem: LoadedProblem
    compiled: CompiledPlan
    library: Library
    device: torch.device
    # Told before each run ("launch", the case's name): whoever waits knows which one hangs.
    progress: Callable[[str, str], None] = lambda step, detail: None

    def check(self, case: Case) -> Checked | Harm | str:
        """What is wrong on this case, or that nothing is; LaunchError and PlanError pass."""
        runs = []
        for poison in POISONS:
            self.progress("launch", case.name)
            runs.append(self._run(case, poison))
            if runs[-1].harm is not None:
                return Harm(runs[-1].harm)
        self.progress("compare", case.name)
        if reason := self._mismatch(case, runs[0], runs[1]):
            return reason
        same = (torch.equal(_bits(a), _bits(b)) for a, b in _paired(runs[0], runs[1]))
        return Checked(case.name, all(same))

    def _mismatch(self, case: Case, first: _Run, second: _Run) -> str | None:
        expected = case.expected
        if len(first.outputs) != len(expected.eager):
            return (
                f"forward gives {len(expected.eager)} outputs, the plan declares"
                f" {len(first.outputs)}"
            )
        references = zip(
            first.outputs, expected.eager, expected.precise, expected.moved, strict=True
        )
        for name, eager, precise, moved in references:
            got, again = first.outputs[name], second.outputs[name]
            output = Output(name, got, eager, precise, _unwritten(got, again), moved)
            for each in (output, replace(output, got=again)):
                if reason := find_mismatch(each):
                    return reason
        return None

    def _run(self, case: Case, poison: int) -> _Run:
        memory = GuardedMemory(poison)
        inputs = {
            name: self._placed(memory, name, value)
            for name, value in self.problem.named_inputs(case.inputs).items()
        }
        parameters = {
            name: memory.copy(value.detach().to(self.device), name)
            for name, value in self.problem.named_parameters(case.module).items()
        }
        bound = BoundPlan(self.compiled, self.library, parameters, allocate=memory.allocate)
        before = {**inputs, **parameters}
        snapshot = {n: t.clone() for n, t in before.items() if isinstance(t, Tensor)}
        poison_threadgroup_memory(poison, self.device)
        outputs = {name: value.cpu() for name, value in bound.run(inputs).items()}
        return _Run(outputs, _harm(before, snapshot) or memory.overrun())

    def _placed(
        self, memory: GuardedMemory, name: str, value: Tensor | bool | int | float
    ) -> Tensor | bool | int | float:
        if not isinstance(value, Tensor):
            return value
        return memory.copy(value.detach().to(self.device), name)


@dataclass(frozen=True, slots=True)
class _Run:
    outputs: dict[str, Tensor]
    harm: str | None


def _harm(before: Mapping[str, object], snapshot: Mapping[str, Tensor]) -> str | None:
    for name, kept in snapshot.items():
        now = before[name]
        if isinstance(now, Tensor) and not torch.equal(_bits(now), _bits(kept)):
            changed = int((_bits(now) != _bits(kept)).sum())
            return f"changed '{name}', which is an input or parameter ({changed} bytes differ)"
    return None


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _paired(first: _Run, second: _Run) -> list[tuple[Tensor, Tensor]]:
    return list(zip(first.outputs.values(), second.outputs.values(), strict=True))


def _unwritten(first: Tensor, second: Tensor) -> Tensor | None:
    """Elements that still hold the poison of both runs."""
    if first.shape != second.shape or first.dtype == torch.bool or first.numel() == 0:
        return (first & ~second) if first.shape == second.shape and first.numel() else None
    held = torch.ones(first.numel(), dtype=torch.bool)
    for tensor, poison in zip((first, second), POISONS, strict=True):
        held &= (_bits(tensor).view(first.numel(), -1) == poison).all(dim=1)
    return held.reshape(first.shape)

"""Judge one candidate: does it compile, does its plan fit, is it right, how fast is it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from metalgen.compiler import CompileOptions, compile_source
from metalgen.device import open_device
from metalgen.errors import (
    CompileError,
    LaunchError,
    MetallibError,
    PlanError,
    UnsupportedError,
)
from metalgen.generation.baseline import Refused, compiled_module
from metalgen.generation.candidate import Candidate
from metalgen.generation.cases import Case, CaseBook
from metalgen.generation.controls import control_reason
from metalgen.generation.guarded import POISONS
from metalgen.generation.room import Room
from metalgen.generation.threadgroup_poison import poison_threadgroup_memory
from metalgen.generation.timing import Timing, measure
from metalgen.generation.verify import Checked, Harm, Verification
from metalgen.generation.watched_library import WatchedLibrary
from metalgen.library import Library
from metalgen.plan import BoundPlan, CompiledPlan, compile_plan, kernels_of
from metalgen.problem import LoadedProblem
from metalgen.problem.description import copied, copied_module
from metalgen.proposers import Rejected

# Told before each step, so that whoever waits knows what takes so long: (step, detail).
Progress = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """A candidate that is right, ready to be timed."""

    metallib: bytes
    library: Library
    compiled: CompiledPlan
    checks: tuple[Checked, ...]
    aten_steps: int


@dataclass(frozen=True, slots=True)
class Judged:
    """An accepted candidate with its evidence."""

    metallib: bytes
    timing: Timing
    checks: tuple[Checked, ...]
    aten_steps: int
    notes: tuple[str, ...]
    is_control: bool


@dataclass(frozen=True, slots=True)
class Overrun:
    """A rejection after which this process is not to be trusted: memory was overwritten."""

    rejected: Rejected


@dataclass
class Judge:
    """Judges candidates for one problem, keeping reference results from one to the next."""

    problem: LoadedProblem
    device: torch.device
    progress: Progress
    room: Room
    on_warnings: Callable[[list[str]], None]  # the compiler's, about each candidate that compiles
    baseline_s: float = 0.0  # how long torch.compile may take to be a baseline; 0: it is none
    _cases: CaseBook = field(init=False)
    _control: tuple[str | None] | None = None  # the reason, once it was looked for
    _baseline: Callable[[], object] | Refused | None = None  # once it was tried

    def __post_init__(self) -> None:
        self._cases = CaseBook(self.problem)

    def judge(self, candidate: Candidate, *, allow_aten: bool) -> Judged | Overrun | Rejected:
        """Compile, check, run, compare and time; Rejected says what to repair."""
        checked = self.check(candidate, allow_aten=allow_aten)
        return self._accept(checked) if isinstance(checked, Verified) else checked

    def check(self, candidate: Candidate, *, allow_aten: bool) -> Verified | Overrun | Rejected:
        """All that `judge` does, less the timing."""
        warnings: list[str] = []
        try:
            with self.room.working():
                self.progress("compile", "")
                metallib = compile_source(
                    candidate.source,
                    name="kernels.metal",
                    options=CompileOptions(untrusted=True),
                    on_warning=warnings.append,
                )
            # At once, so that they are told of also where the candidate ends this process.
            self.on_warnings(warnings)
            library = WatchedLibrary(metallib, self.progress)
            kernels = kernels_of(library)
        except (CompileError, MetallibError, UnsupportedError) as error:
            return Rejected("compile", str(error))
        try:
            compiled = compile_plan(
                candidate.plan,
                kernels,
                inputs=tuple(self.problem.named_inputs()),
                parameters=tuple(self.problem.named_parameters()),
                allow_aten=allow_aten,
            )
        except PlanError as error:
            return Rejected("plan", str(error))
        checks = self._verify(compiled, library)
        if isinstance(checks, Overrun | Rejected):
            return checks
        aten_steps = len(candidate.plan.aten_steps)
        return Verified(metallib, library, compiled, tuple(checks), aten_steps)

    def _verify(
        self, compiled: CompiledPlan, library: WatchedLibrary
    ) -> list[Checked] | Overrun | Rejected:
        verification = Verification(self.problem, compiled, library, self.device, library.progress)
        checks: list[Checked] = []
        cases = iter(self._cases)
        while True:
            # Left after every case, so that nobody who measures waits for long.
            with self.room.working():
                self.progress("reference", "")
                if not checks:
                    # Compiled and translated here, so that no candidate's time limit counts it.
                    poison_threadgroup_memory(POISONS[0], self.device)
                case = next(cases, None)
                if case is None:
                    return checks
                found = _checked(verification, case)
            if not isinstance(found, Checked):
                return found
            checks.append(found)

    def _accept(self, verified: Verified) -> Judged:
        with self.room.measuring():
            timing = self._time(verified.compiled, verified.library)
        notes = list(self._cases.notes)
        if isinstance(self._baseline, Refused):
            notes.append(self._baseline.reason)
        unsteady = [check.case for check in verified.checks if not check.is_deterministic]
        if unsteady:
            notes.append(f"two runs differ in their last bits on {unsteady[0]}")
        control = self.control_reason()
        if control is not None:
            notes.append(f"{control}: a control, not a win")
        return Judged(
            metallib=verified.metallib,
            timing=timing,
            checks=verified.checks,
            aten_steps=verified.aten_steps,
            notes=tuple(notes),
            is_control=control is not None,
        )

    def control_reason(self) -> str | None:
        """Why accepting a candidate proves nothing here, None where it does; see `controls`."""
        if self._control is None:
            with self.room.working():
                self.progress("reference", "")
                self._control = (control_reason(self.problem),)
        return self._control[0]

    def _time(self, compiled: CompiledPlan, library: Library) -> Timing:
        inputs = tuple(_moved(value, self.device) for value in copied(self.problem.inputs))
        # A copy: in training mode eager runs change running statistics.
        module = copied_module(self.problem.module).to(self.device)
        named = self.problem.named_inputs(inputs)
        bound = BoundPlan(compiled, library, self.problem.named_parameters(module))
        rival = self._compiled(inputs)
        self.progress("time", "")
        return measure(
            lambda: bound.run(named),
            lambda: self.problem.run(inputs, module),
            self.device,
            rival,
        )

    def _compiled(self, inputs: tuple[object, ...]) -> Callable[[], object] | None:
        """torch.compile's run, where it was asked for and works."""
        if self._baseline is None and self.baseline_s > 0:
            self.progress("baseline", "")
            module = copied_module(self.problem.module).to(self.device)
            self._baseline = compiled_module(self.problem, module, inputs, self.baseline_s)
        return None if isinstance(self._baseline, Refused) else self._baseline


def _checked(verification: Verification, case: Case) -> Checked | Overrun | Rejected:
    try:
        found = verification.check(case)
    except PlanError as error:
        return Rejected("plan", f"{error} (on {case.name})")
    except (LaunchError, UnsupportedError) as error:
        return Rejected("launch", f"{error} (on {case.name})")
    if isinstance(found, Harm):
        return Overrun(Rejected("verify", f"{found.what} (on {case.name})"))
    if isinstance(found, str):
        return Rejected("verify", f"{found} (on {case.name})")
    return found


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value


def described_device(device: torch.device) -> dict[str, Any]:
    """Which device this is and what PyTorch ran beside it."""
    import platform

    return {
        "name": open_device(device.type).name,
        "tensors": device.type,
        "host": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }

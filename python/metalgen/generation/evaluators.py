"""Sandboxed evaluators of this machine, as many as asked for; timing is done by one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from metalgen.generation.candidate import Candidate
from metalgen.generation.evaluator import Evaluation, Evaluator
from metalgen.generation.sandbox import Limits
from metalgen.problem import Problem
from metalgen.profile import Profile
from metalgen.runs import Job

T = TypeVar("T")
OnStep = Callable[[Job, str, str], None]


class Evaluators(Protocol):
    """Whoever opens problems and judges candidates for a study, here or on other machines."""

    @property
    def device(self) -> dict[str, Any]:
        """What figures are measured on; empty until a problem was opened."""
        ...

    @property
    def places(self) -> int:
        """How many candidates can be judged at once."""
        ...

    async def open(self, job: Job, path: Path) -> Problem:
        """Load and describe a problem file; ProblemError where it is bad."""
        ...

    async def control_reason(self, job: Job, problem: Problem) -> str | None:
        """Why accepting a candidate would prove nothing; ProblemError where it fails."""
        ...

    async def evaluate(
        self, job: Job, problem: Problem, candidate: Candidate, *, allow_aten: bool
    ) -> Evaluation:
        """The verdict on a candidate; ProblemError where the reference itself fails."""
        ...

    async def profile(
        self, job: Job, problem: Problem, candidate: Candidate, metallib: bytes
    ) -> Profile:
        """The profile of an accepted candidate."""
        ...

    async def leave(self) -> None:
        """Let go of what belongs to the study's event loop."""
        ...

    def close(self) -> None:
        """Stop, whatever is under way."""
        ...


@dataclass(eq=False)
class _Place:
    """One evaluator, whom it works for, and which problem it holds."""

    evaluator: Evaluator
    job: Job | None = None
    problem: str = ""


class LocalEvaluators:
    """Evaluators in child processes of this one; whoever makes them closes them."""

    def __init__(
        self,
        limits: Limits,
        device: str,
        places: int = 1,
        on_step: OnStep = lambda job, step, detail: None,
    ) -> None:
        self.places = places
        self.on_step = on_step
        self.device: dict[str, Any] = {}
        self._limits = limits
        self._device_name = device
        self._room = TemporaryDirectory(prefix="metalgen-room-", ignore_cleanup_errors=True)
        self._threads = ThreadPoolExecutor(places, thread_name_prefix="metalgen-evaluator")
        self._free = [self._place() for _ in range(places)]
        self._busy: set[_Place] = set()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []  # for which problem

    def __enter__(self) -> LocalEvaluators:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def leave(self) -> None:
        """Stay warm for the next study."""

    def close(self) -> None:
        """Stop, whatever is under way."""
        for place in (*self._free, *self._busy):
            place.evaluator.close()
        self._threads.shutdown()
        for place in (*self._free, *self._busy):
            place.evaluator.stop()
        self._room.cleanup()

    async def open(self, job: Job, path: Path) -> Problem:
        """Load and describe a problem file; ProblemError where it is bad."""

        def opened(evaluator: Evaluator) -> Problem:
            problem = evaluator.open(path)
            self.device = evaluator.device
            return problem

        return await self._do(job, opened)

    async def control_reason(self, job: Job, problem: Problem) -> str | None:
        """Why accepting a candidate would prove nothing; ProblemError where it fails."""
        return await self._do(job, lambda evaluator: evaluator.control_reason(problem))

    async def evaluate(
        self, job: Job, problem: Problem, candidate: Candidate, *, allow_aten: bool
    ) -> Evaluation:
        """The verdict on a candidate; ProblemError where the reference itself fails."""
        return await self._do(
            job, lambda evaluator: evaluator.evaluate(problem, candidate, allow_aten=allow_aten)
        )

    async def profile(
        self, job: Job, problem: Problem, candidate: Candidate, metallib: bytes
    ) -> Profile:
        """The profile of an accepted candidate."""
        return await self._do(
            job, lambda evaluator: evaluator.profile(problem, candidate, metallib)
        )

    def _place(self) -> _Place:
        def step(name: str, detail: str) -> None:
            if place.job is not None:
                self.on_step(place.job, name, detail)

        evaluator = Evaluator(
            self._limits, device=self._device_name, on_step=step, room=Path(self._room.name)
        )
        place = _Place(evaluator)
        return place

    async def _do(self, job: Job, work: Callable[[Evaluator], T]) -> T:
        place = await self._take(job)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, place.evaluator)
        except asyncio.CancelledError:
            place.evaluator.close()  # its thread waits for the worker, which ends now
            place = self._replaced(place)
            raise
        finally:
            self._give(place)

    async def _take(self, job: Job) -> _Place:
        """A free place, one that holds the job's problem if there is one."""
        while not self._free:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((job.problem, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # the turn may have come already: it is the next one's
                raise
        place = next((p for p in self._free if p.problem == job.problem), self._free[0])
        self._free.remove(place)
        self._busy.add(place)
        place.job, place.problem = job, job.problem
        return place

    def _give(self, place: _Place) -> None:
        self._busy.discard(place)
        self._free.insert(0, place)  # taken first: its process is warm
        self._wake()

    def _wake(self) -> None:
        """Give a free place's turn to who waits for its problem, else to who waits longest."""
        self._waiting = [each for each in self._waiting if not each[1].done()]
        if not (self._free and self._waiting):
            return
        held = {place.problem for place in self._free}
        chosen = next((each for each in self._waiting if each[0] in held), self._waiting[0])
        chosen[1].set_result(None)

    def _replaced(self, place: _Place) -> _Place:
        self._busy.discard(place)
        return self._place()

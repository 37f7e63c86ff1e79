"""Evaluators on many machines: the workers of a Dask scheduler, which `metalgen worker` starts.

Workers on Macs announce the resource METAL=1. Where there are such workers and others, the others
compile and verify, and only what is right goes to a Mac, which verifies it on its own GPU and times
it. Where all are alike, each candidate is judged in one go. A worker that dies is replaced by
another one; the run's store lies with whoever asked, so nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalgen.errors import ProblemError, ToolchainError, UnsupportedError
from metalgen.generation.candidate import Candidate
from metalgen.generation.evaluator import Evaluation
from metalgen.generation.remote import evaluation_of, work
from metalgen.generation.sandbox import Limits
from metalgen.problem import Problem
from metalgen.problem.source import read_problem_file
from metalgen.profile import Profile
from metalgen.runs import Job

if TYPE_CHECKING:
    from distributed import Client

METAL = "METAL"
_CONNECT_S = 5
_WATCH_S = 5  # between looks at whether those who are to do some work are still there
_ERRORS: dict[str, type[Exception]] = {
    "ProblemError": ProblemError,
    "UnsupportedError": UnsupportedError,
}


class ClusterEvaluators:
    """Evaluators behind a scheduler's address, such as tcp://studio:8786.

    Raises ToolchainError where Dask is not installed, nobody answers or there are no workers.
    """

    def __init__(self, address: str, limits: Limits, device: str | None = None) -> None:
        self.device: dict[str, Any] = {}
        self._address = address
        self._how = {"limits": asdict(limits), "device": device}
        self._client: Client | None = None
        self.places = len(_workers(address))

    def close(self) -> None:
        """Nothing of the cluster is this object's."""

    async def leave(self) -> None:
        """Let go of the scheduler."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def open(self, job: Job, path: Path) -> Problem:
        """Load and describe a problem file; ProblemError where it is bad."""
        request = {"do": "open", "path": str(path), "source": read_problem_file(path)}
        answer = await self._do(request, is_timed=True)
        self.device = answer["device"]
        problem = Problem.from_json(answer["problem"])
        return Problem.from_json({**problem.to_json(), "path": str(path)})

    async def control_reason(self, job: Job, problem: Problem) -> str | None:
        """Why accepting a candidate would prove nothing; ProblemError where it fails."""
        answer = await self._do(_about("control", problem), is_timed=False)
        reason: str | None = answer["reason"]
        return reason

    async def evaluate(
        self, job: Job, problem: Problem, candidate: Candidate, *, allow_aten: bool
    ) -> Evaluation:
        """The verdict on a candidate; ProblemError where the reference itself fails."""
        about = {**_of_candidate(candidate), "allow_aten": allow_aten}
        if await self._is_mixed():
            answer = await self._do({**_about("check", problem), **about}, is_timed=False)
            if answer["evaluation"] is not None:
                return evaluation_of(answer["evaluation"])
        answer = await self._do({**_about("evaluate", problem), **about}, is_timed=True)
        return evaluation_of(answer["evaluation"])

    async def profile(
        self, job: Job, problem: Problem, candidate: Candidate, metallib: bytes
    ) -> Profile:
        """The profile of an accepted candidate."""
        about = {**_of_candidate(candidate), "metallib": base64.b64encode(metallib).decode()}
        answer = await self._do({**_about("profile", problem), **about}, is_timed=True)
        return Profile.from_json(answer["profile"])

    async def _do(self, request: Mapping[str, Any], *, is_timed: bool) -> dict[str, Any]:
        while True:
            answer = await self._try({**request, **self._how}, is_timed=is_timed)
            if answer is not None:
                break
        if "error" in answer:
            raise _ERRORS[answer["kind"]](answer["error"])
        return answer

    async def _try(self, request: Mapping[str, Any], *, is_timed: bool) -> dict[str, Any] | None:
        """The answer of one of those workers that the work is for; None once all those are gone."""
        from distributed import KilledWorker

        client = await self._connected()
        metal, others = await self._kinds()
        meant = metal if is_timed and metal else others or metal
        future = client.submit(work, request, pure=False, workers=meant or None)
        answer = asyncio.ensure_future(_awaited(future))
        try:
            while not (await asyncio.wait({answer}, timeout=_WATCH_S))[0]:
                metal, others = await self._kinds()
                if not {*metal, *others} & set(meant):
                    return None
            return await answer
        except KilledWorker as error:
            raise ToolchainError(
                f"every worker of '{self._address}' that took a candidate of '{request['path']}' "
                f"died; look at their logs, then resume"
            ) from error
        finally:
            answer.cancel()
            future.release()

    async def _kinds(self) -> tuple[list[str], list[str]]:
        """The addresses of workers that announce METAL, and of the others."""
        client = await self._connected()
        known = (await client.scheduler.identity())["workers"]  # type: ignore[union-attr]
        metal = [name for name, about in known.items() if about.get("resources", {}).get(METAL)]
        return metal, [name for name in known if name not in metal]

    async def _is_mixed(self) -> bool:
        return all(await self._kinds())

    async def _connected(self) -> Client:
        if self._client is None:
            from distributed import Client

            self._client = await Client(
                self._address, asynchronous=True, timeout=_CONNECT_S, set_as_default=False
            )
        return self._client


async def _awaited(future: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await future
    return answer


def _workers(address: str) -> list[str]:
    """The workers' addresses."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ToolchainError(
            "--scheduler needs Dask's distributed: pip install 'metalgen[dask]'"
        ) from error
    try:
        with Client(address, timeout=_CONNECT_S, set_as_default=False) as client:
            workers = list(client.scheduler_info(n_workers=-1)["workers"])
    except (OSError, ValueError) as error:
        raise ToolchainError(
            f"no Dask scheduler answers at '{address}' ({' '.join(str(error).split())[:120]}); "
            f"start one with: dask scheduler"
        ) from error
    if not workers:
        raise ToolchainError(
            f"the scheduler at '{address}' has no workers; start some: metalgen worker {address}"
        )
    return workers


def _about(deed: str, problem: Problem) -> dict[str, Any]:
    return {
        "do": deed,
        "path": str(problem.path),
        "source": problem.source,
        "problem": problem.to_json(),
    }


def _of_candidate(candidate: Candidate) -> dict[str, Any]:
    plan = candidate.plan.model_dump(mode="json", exclude_defaults=True)
    return {"kernels": candidate.source, "plan": plan}

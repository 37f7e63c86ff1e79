"""The engine of a study: all jobs side by side, each problem opened once, everything kept."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metalgen.errors import ProblemError
from metalgen.files import write_whole
from metalgen.generation.asking import chat_of
from metalgen.generation.board import Board, Workshop
from metalgen.generation.cuda import cuda_reference
from metalgen.generation.job import JobRun
from metalgen.generation.keep import files_of
from metalgen.generation.record import RunDirectory, sha256
from metalgen.generation.result import Best, Stopped
from metalgen.generation.rows import best_of, record_of
from metalgen.problem import Problem
from metalgen.proposers import Chat, Proposer
from metalgen.runs import Job, JobRow, ProblemRow, RunStore


@dataclass
class StudyRun:
    """Does what a run's store has not finished yet."""

    store: RunStore
    proposers: Mapping[str, Proposer]
    hint_proposer: Proposer | None
    shop: Workshop
    at_once: int  # jobs under way
    stopped: list[Stopped] = field(default_factory=list)
    _boards: dict[str, Board | None] = field(default_factory=dict)
    _opening: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def run(self) -> None:
        """All jobs; the first failure of the run itself (disk, replay) ends the others."""
        jobs = self.store.jobs()
        kept = self.store.attempts(with_prompts=False)
        self.shop.report.began([row.job for row in jobs], kept)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.shop.evaluators.leave)
            for chat in self._chats():
                await stack.enter_async_context(chat)
            places = asyncio.Semaphore(self.at_once)
            await _all([self._run(row, places) for row in jobs if row.state != "finished"])

    def _chats(self) -> list[Chat]:
        everybody = [*self.proposers.values(), self.hint_proposer]
        chats = [chat_of(proposer) for proposer in everybody if proposer is not None]
        return [chat for chat in chats if chat is not None]

    async def _run(self, row: JobRow, places: asyncio.Semaphore) -> None:
        job = row.job
        async with places:
            try:
                board = await self._board(job)
                if board is None:
                    return
                await self._work(job, board)
            except ProblemError as error:
                self._give_up(job.problem, str(error))
            self.shop.report.finished(job)

    async def _work(self, job: Job, board: Board) -> None:
        proposer = self.proposers[job.model]
        stopped = await JobRun(
            job, proposer, board, self.shop, self.hint_proposer or proposer
        ).run()
        if stopped is not None:
            self._note(job, stopped)

    def _note(self, job: Job, stopped: Stopped) -> None:
        self.stopped.append(stopped)
        self.shop.report.stopped(job, stopped)
        directory = self._directory(job.problem)
        if directory is not None:
            directory.append({"model": stopped.model, "stopped": stopped.reason})

    async def _board(self, job: Job) -> Board | None:
        """The problem of a job, opened once; None where it cannot be used."""
        lock = self._opening.setdefault(job.problem, asyncio.Lock())
        async with lock:
            if job.problem not in self._boards:
                try:
                    self._boards[job.problem] = await self._open(job)
                except ProblemError as error:
                    self._give_up(job.problem, str(error))
        return self._boards[job.problem]

    async def _open(self, job: Job) -> Board:
        row = next(row for row in self.store.problems() if row.name == job.problem)
        if row.failure is not None:
            raise ProblemError(row.failure)
        path = self._placed(row)
        if row.description is None:
            problem = await self.shop.evaluators.open(job, path)
            row = await self._described(job, row, problem)
            self.store.opened(row)
            self.store.update(device=self.shop.evaluators.device)
        else:
            problem = replace(Problem.from_json(row.description), path=path.resolve())
        self.shop.report.opened(row.name, problem)
        return self._new_board(row, problem)

    async def _described(self, job: Job, row: ProblemRow, problem: Problem) -> ProblemRow:
        row = replace(row, description=problem.to_json(), notes=(*row.notes, *problem.notes))
        if row.is_control or not self.shop.settings.is_nested:
            return row  # of a single problem the verdict says it
        try:
            reason = await self.shop.evaluators.control_reason(job, problem)
        except ProblemError:
            return row  # not decided: the first candidate's verdict will tell
        return replace(row, is_control=reason is not None, control_reason=reason)

    def _new_board(self, row: ProblemRow, problem: Problem) -> Board:
        folder = self.shop.settings.cuda
        cuda = cuda_reference(Path(row.path), row.name, None if folder is None else Path(folder))
        attempts = [
            attempt
            for each in self.store.jobs()
            if each.job.problem == row.name
            for attempt in self.store.attempts(each.job)
        ]
        directory = self._directory(row.name)
        board = Board(problem, cuda)
        if directory is not None:
            directory.begin([record_of(attempt).to_json() for attempt in attempts])
        accepted = [attempt for attempt in attempts if attempt.is_accepted]
        if accepted:
            board.best = best_of(max(accepted, key=lambda a: a.speedup or 0.0), self.store)
            self._keep(row.name, board, board.best)
        board.on_best = lambda best: self._keep(row.name, board, best)
        if directory is not None:
            board.on_judged = lambda record: directory.append(record.to_json())
        return board

    def _keep(self, name: str, board: Board, best: Best) -> None:
        directory = self._directory(name)
        if directory is not None:
            attempts = [record_of(row) for row in self.store.attempts_at(name)]
            device = self.store.info.device
            directory.keep(files_of(best, board.problem, device, attempts))

    def _directory(self, name: str) -> RunDirectory | None:
        """Where a problem's readable files go."""
        if not self.store.is_kept:
            return None
        folder = self.store.folder
        return RunDirectory(folder / name if self.shop.settings.is_nested else folder)

    def _placed(self, row: ProblemRow) -> Path:
        """The problem's file: where it lay, or anew where it has changed or is gone."""
        # As it was typed, and where that was, if the run goes on from another folder.
        known = [row.path] if row.description is None else [row.path, row.description["path"]]
        for path in map(Path, known):
            if path.is_file() and sha256(path.read_bytes()) == row.sha256:
                return path
        if not self.store.is_kept:
            raise ProblemError(f"'{row.path}' has changed since the run began")
        path = self.store.folder / "problems" / f"{row.name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, row.source.encode())
        return path

    def _give_up(self, name: str, reason: str) -> None:
        """Note that a problem cannot be used, for all its jobs."""
        self._boards[name] = None
        row = next(row for row in self.store.problems() if row.name == name)
        self.store.opened(replace(row, failure=reason))
        for job in self.store.jobs():
            if job.job.problem == name and job.state == "waiting":
                self.store.settle(job.job, "finished", reason)
        self.shop.report.failed(name, reason)


async def _all(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Every coroutine; where one fails, the others are cancelled and waited for."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

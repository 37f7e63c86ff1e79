"""Run tasks in worker processes, and live on when a task kills its worker or never ends."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
_POLL = 1.0  # seconds between two looks at the clock


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose worker died or was ended because it took too long."""

    reason: str


@dataclass(slots=True)
class _Worker(Generic[Task]):
    process: SpawnProcess
    pipe: Connection
    task: Task | None = None
    since: float = 0.0


class Pool(Generic[Task, Result]):
    """`workers` processes that each import `run` and call it on one task after the other."""

    def __init__(self, run: Callable[[Task], Result], workers: int, limit: float) -> None:
        self._run = run
        self._count = workers
        self._limit = limit  # seconds a task may take
        self._context = multiprocessing.get_context("spawn")

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Lost]]:
        """Every task with its result, in the order in which they end."""
        waiting = iter(tasks)
        workers = [worker for _ in range(self._count) if (worker := self._start(waiting))]
        try:
            while workers:
                ready = wait([worker.pipe for worker in workers], timeout=_POLL)
                for worker in list(workers):
                    outcome = self._outcome(worker, worker.pipe in ready)
                    if outcome is None:
                        continue
                    task = worker.task
                    if isinstance(outcome, Lost) or not self._give(worker, waiting):
                        workers.remove(worker)
                        self._stop(worker)
                        if isinstance(outcome, Lost) and (fresh := self._start(waiting)):
                            workers.append(fresh)
                    assert task is not None
                    yield task, outcome
        finally:
            for worker in workers:
                self._stop(worker)

    def _start(self, waiting: Iterator[Task]) -> _Worker[Task] | None:
        task = next(waiting, None)
        if task is None:
            return None
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._run), daemon=True)
        process.start()
        theirs.close()
        worker: _Worker[Task] = _Worker(process, ours, task, time.monotonic())
        ours.send(task)
        return worker

    def _give(self, worker: _Worker[Task], waiting: Iterator[Task]) -> bool:
        worker.task, worker.since = next(waiting, None), time.monotonic()
        if worker.task is None:
            return False
        worker.pipe.send(worker.task)
        return True

    def _outcome(self, worker: _Worker[Task], is_ready: bool) -> Result | Lost | None:
        if is_ready:
            try:
                result: Result = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                return Lost(f"the worker died: {_death(worker.process.exitcode)}")
            return result
        if time.monotonic() - worker.since > self._limit:
            return Lost(f"took longer than {self._limit:.0f} s")
        return None

    def _stop(self, worker: _Worker[Task]) -> None:
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Connection, run: Callable[[Task], Result]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(run(task))


def _death(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"

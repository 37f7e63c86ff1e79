"""Optimised translations in processes beside this one, which goes on with quick code meanwhile.

Threads alone would not do: llvmlite lets one at a time into LLVM, so that the next kernel's first
launch would wait until this one is optimised.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from metalgen.errors import ToolchainError
from metalgen.software import Variant
from metalgen.software.function_constants import Constants
from metalgen.software.ir.passes import ThreadgroupMemory
from metalgen.software.translating_process import TranslatingProcess

_MOST = 4  # processes, of which each takes some 150 MB
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A kernel to optimise; `done` is called with its object code, in a thread of Background's."""

    bitcode: bytes
    kernel: str
    constants: Constants
    variant: Variant
    done: Callable[[bytes, ThreadgroupMemory], None]


class Background:
    """Threads that each have a process translate, job after job; they end with this process."""

    def __init__(self) -> None:
        self._most = max(1, min(_MOST, (os.cpu_count() or 1) // 2))
        self._failures: list[str] = []
        self._open: set[Job] = set()
        self._inherited: list[TranslatingProcess] = []
        self._is_closing = False
        # Held by whoever is in LLVM, which has locks of its own, and by whoever forks.
        self._delivering = threading.Lock()
        self._begin()
        atexit.register(self._close)
        os.register_at_fork(
            before=self._delivering.acquire,
            after_in_parent=self._delivering.release,
            after_in_child=self._go_on_in_child,
        )

    def submit(self, job: Job) -> None:
        """Have `job` done sooner or later; at once where the system gives no thread for it."""
        self._open.add(job)
        self._jobs.put(job)
        self._hire()

    def settle(self) -> None:
        """Wait until all jobs are done; raises ToolchainError where one could not be."""
        self._hire()
        self._jobs.join()
        failures, self._failures = self._failures, []
        if failures:
            raise ToolchainError("; ".join(failures))

    def process_ids(self) -> tuple[int, ...]:
        """The processes that translate for this one now."""
        ids = (process.id() for process in self._processes)
        return tuple(number for number in ids if number is not None)

    def _begin(self) -> None:
        self._hiring = threading.Lock()
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._processes: list[TranslatingProcess] = []

    def _hire(self) -> None:
        """One more thread if there are jobs for it, and may be."""
        with self._hiring:
            if len(self._threads) >= min(self._most, len(self._open)):
                return
            process = TranslatingProcess()
            thread = threading.Thread(target=self._serve, args=(process,), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: those there are do the work
                if not self._threads:
                    self._jobs.put(None)
                    self._serve(process)
                return
            self._threads.append(thread)
            self._processes.append(process)

    def _serve(self, process: TranslatingProcess) -> None:
        """Do jobs until there is none but None."""
        while (job := self._jobs.get()) is not None:
            try:
                made = process.translate(job.bitcode, job.kernel, job.constants, job.variant)
                with self._delivering:
                    job.done(*made)
            except Exception as error:
                self._report(f"kernel {job.kernel!r} keeps its quick code: {error}")
            finally:
                self._open.discard(job)
                self._jobs.task_done()

    def _report(self, failure: str) -> None:
        if not self._is_closing:
            self._failures.append(failure)
            _log.warning(failure)

    def _close(self) -> None:
        """At exit, give up what is not done."""
        self._is_closing = True
        for process in self._processes:
            process.close()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _go_on_in_child(self) -> None:
        """A fork leaves threads behind, and processes that are the parent's to ask."""
        self._delivering.release()
        self._inherited.extend(self._processes)  # which are not to be ended here either
        self._begin()
        for job in self._open:
            self._jobs.put(job)


@functools.cache
def background() -> Background:
    """This process's."""
    return Background()

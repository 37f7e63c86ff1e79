"""Describe many kernels of one metallib, over all cores where there are enough of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar, cast

from metalgen.air.kernel_info import KernelInfo
from metalgen.air.metallib import Metallib

Result = TypeVar("Result")

# Starting a process takes as long as describing about as many kernels.
_WORTH_A_PROCESS = 400
_CHUNK = 250


def survey(
    metallib: Metallib,
    names: Sequence[str],
    describe: Callable[[KernelInfo], Result],
    *,
    processes: int | None = None,
) -> Iterator[Result]:
    """`describe` of each kernel in `names`, in that order.

    With more than one process (by default as many as there are cores and work for them),
    `describe` and what it returns must be picklable. Raises MetallibError at the first kernel
    that is damaged.
    """
    if processes is None:
        processes = min(_usable_cores(), len(names) // _WORTH_A_PROCESS)
    if processes < 2 or metallib.path is None:
        yield from (describe(metallib.kernel(name)) for name in names)
        return
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    executor = ProcessPoolExecutor(
        max_workers=processes,
        # Not forked: the caller may hold threads, and locks of libraries that use them.
        mp_context=get_context("spawn"),
        initializer=_Worker.start,
        initargs=(metallib.path, metallib.offset, describe),
    )
    try:
        for results in executor.map(_Worker.describe_all, chunks):
            yield from cast(list[Result], results)
    finally:
        executor.shutdown(cancel_futures=True)


class _Worker:
    """One process's own view of the file, opened once."""

    metallib: Metallib
    describe: Callable[[KernelInfo], object]

    @classmethod
    def start(cls, path: str, offset: int, describe: Callable[[KernelInfo], object]) -> None:
        # Ctrl-C reaches every process of the terminal; only the first is to answer.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cls.metallib = Metallib.open(path, offset=offset)
        cls.describe = staticmethod(describe)

    @classmethod
    def describe_all(cls, names: Sequence[str]) -> list[object]:
        return [cls.describe(cls.metallib.kernel(name)) for name in names]


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # absent on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

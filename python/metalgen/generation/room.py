"""A room in which many may work at once, but who measures is alone: locks that processes share.

    with room.working(): ...      # shared; waits while somebody measures or waits to
    with room.measuring(): ...    # alone; waits until those who work have left

Locks of the operating system (flock) on two files: they end with the process that holds them. Who
wants to measure holds the door, so that a stream of workers cannot keep it waiting for ever.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Room:
    """The room in a folder; without one nobody is ever disturbed."""

    def __init__(self, folder: Path | None, on_wait: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._on_wait = on_wait  # told where one has to

    @contextmanager
    def working(self) -> Iterator[None]:
        """Be one of many."""
        with self._held("door", fcntl.LOCK_SH):
            inside = self._lock("inside", fcntl.LOCK_SH)
        try:
            yield
        finally:
            _unlock(inside)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Be alone."""
        with self._held("door", fcntl.LOCK_EX), self._held("inside", fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, name: str, how: int) -> Iterator[None]:
        descriptor = self._lock(name, how)
        try:
            yield
        finally:
            _unlock(descriptor)

    def _lock(self, name: str, how: int) -> int | None:
        if self._folder is None:
            return None
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _flock(self, descriptor: int, how: int) -> None:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            self._on_wait()
            fcntl.flock(descriptor, how)


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)  # and with it the lock

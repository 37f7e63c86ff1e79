"""One writer per run: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from metalgen.errors import RunError

_NAME = "run.lock"


class RunLock:
    """Held while a run is written; RunError where another process holds it.

    Two that continue one run would pay for everything twice.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._descriptor = self._acquire()

    def release(self) -> None:
        """Let others write; may be called twice."""
        if self._descriptor is None:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _acquire(self) -> int | None:
        while True:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise RunError(
                    f"run '{self._path.parent}' cannot be written: {error.strerror}"
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise RunError(
                    f"run '{self._path.parent}' is locked: process {holder or 'unknown'} is writing"
                    " it; wait for it or end it"
                ) from None
            if self._is_still_there(descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
            os.close(descriptor)  # its holder removed it while this one waited: try the new one

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

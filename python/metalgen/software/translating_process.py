"""A child process that optimises kernels, and the parent's end of it.

Request and answer are pickled: (bitcode, kernel, constants, variant) → (object code, threadgroup
memory), or why there is none.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import metalgen
from metalgen.errors import ToolchainError
from metalgen.software import Variant, object_code
from metalgen.software.function_constants import Constants
from metalgen.software.ir.passes import ThreadgroupMemory

# Nothing is imported from where the user happens to be.
_MAIN = (
    "import sys; sys.path = [path for path in sys.path if path] + sys.argv[1:]; "
    "from metalgen.software.translating_process import main; main()"
)


class TranslatingProcess:
    """Started when first asked, and again if it ended; where none can be, this process serves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def translate(
        self, bitcode: bytes, kernel: str, constants: Constants, variant: Variant
    ) -> tuple[bytes, ThreadgroupMemory]:
        """As `object_code`; raises ToolchainError where that failed or the process ended."""
        request = (bitcode, kernel, constants, variant)
        process = self._running()
        if process is None:
            return object_code(*request)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self._end()
            raise ToolchainError("the process that optimised it ended") from None
        if isinstance(answer, str):
            raise ToolchainError(answer)
        code, memory = answer
        return code, memory

    def id(self) -> int | None:
        """The process's number, if it runs."""
        with self._lock:
            return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process, whatever it does, and let it not start again."""
        self._is_closed = True
        self._end()

    def _end(self) -> None:
        """Wait until the process is gone: its pipes close earlier."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def _running(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._is_closed:
                raise ToolchainError("this process ends")
            if self._process is None or self._process.poll() is not None:
                self._process = _start()
            return self._process


def _start() -> subprocess.Popen[bytes] | None:
    packages = Path(metalgen.__file__).resolve().parent.parent
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(packages)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    except OSError:
        return None


def main() -> None:
    """Serve the parent until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the parent's terminal
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed by accident is no answer
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            answer: object = object_code(*request)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        try:
            pickle.dump(answer, answers)
            answers.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody waits for it any more


def _end_with(parent: int) -> None:
    """End this process once the parent is gone, whatever LLVM is doing."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)

"""The parent's side of a worker process: start it, ask it, stop it when it crashes or hangs."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import metalgen
from metalgen.errors import ToolchainError
from metalgen.generation.limits import default_memory_bytes, scrubbed
from metalgen.generation.messages import split_message, write_message

START_LIMIT_S = 120.0
# For others to finish what they measure; whoever holds the room has limits of its own.
WAIT_LIMIT_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Wall-clock limits in seconds, memory in bytes; `launch_s` is for one run of a candidate."""

    launch_s: float = 30.0
    compile_s: float = 120.0  # also for one kernel's translation by the device
    problem_s: float = 600.0  # loading the problem and running its reference
    memory_bytes: int = field(default_factory=default_memory_bytes)
    baseline_s: float = 0.0  # for torch.compile to be a baseline; 0: it is not measured

    def of_step(self, step: str) -> float:
        """How long a worker may stay in one step."""
        if step == "launch":
            return self.launch_s
        if step in ("compile", "translate"):
            return self.compile_s
        if step == "wait":
            return WAIT_LIMIT_S
        if step == "baseline":
            return self.baseline_s + self.problem_s
        # Timing repeats the candidate and eager a few times.
        return 20 * self.launch_s if step == "time" else self.problem_s


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker that gave no answer: in which step, on what, and how it ended."""

    step: str
    detail: str
    reason: str  # "timed out after 30 s", "crashed (SIGSEGV)"


class WorkerGoneError(Exception):
    """The worker ended or was stopped before it answered; never leaves this package."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class Worker:
    """One child process that is kept warm, and replaced after a crash or a hang."""

    def __init__(
        self,
        limits: Limits,
        *,
        device: str = "cpu",
        on_step: Callable[[str, str], None],
        room: Path | None = None,
    ) -> None:
        self.limits = limits
        self.device = device
        self.room = room  # shared with those that must not work while it measures; see `room`
        self._is_closed = False
        self.on_step = on_step
        self.warnings: tuple[str, ...] = ()  # of the compiler, about what was asked last
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._received = bytearray()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | Failed:
        """The worker's answer, or how it failed to give one; a new worker serves the next."""
        self.warnings = ()
        try:
            if self._process is None:
                self._start()
            return self._exchange(request, first_step="start")
        except WorkerGoneError as gone:
            self.stop()
            return gone.failed
        except BaseException:
            self.stop()
            raise

    def close(self) -> None:
        """End the process for good, from any thread; what is being asked then fails."""
        self._is_closed = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process and everything it started."""
        if self._process is not None:
            _kill_group(self._process)
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._received.clear()

    def _start(self) -> None:
        if self._is_closed:
            raise WorkerGoneError(Failed("start", "", "was ended"))
        self._folder = tempfile.TemporaryDirectory(prefix="metalgen-", ignore_cleanup_errors=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from metalgen.generation.worker import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder.name,
                env=_environment(),
                start_new_session=True,  # its own group, so that all of it can be ended
            )
        if self._is_closed:  # meanwhile, by another thread
            raise WorkerGoneError(Failed("start", "", "was ended"))
        settings = {
            "do": "start",
            "memory_bytes": self.limits.memory_bytes,
            "device": self.device,
            "room": None if self.room is None else str(self.room),
            "baseline_s": self.limits.baseline_s,
        }
        try:
            self._exchange(settings, first_step="start")
        except WorkerGoneError as gone:
            raise ToolchainError(
                f"the worker process did not start: {gone.failed.reason}; {self._last_words()}"
            ) from None

    @property
    def _log(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "worker.log"

    def _last_words(self) -> str:
        """The last line of its error log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote no error"

    def _exchange(self, request: Mapping[str, Any], first_step: str) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        step, detail = first_step, ""
        deadline = time.monotonic() + START_LIMIT_S
        try:
            write_message(process.stdin, request)  # type: ignore[arg-type]
        except OSError:
            raise WorkerGoneError(Failed(step, detail, self._ending(process))) from None
        while True:
            message = self._receive(process.stdout, deadline, step, detail)
            if message.get("done"):
                return message
            if "warnings" in message:
                self.warnings = tuple(str(line) for line in message["warnings"])
                continue
            step, detail = str(message.get("step")), str(message.get("detail"))
            deadline = time.monotonic() + self.limits.of_step(step)
            self.on_step(step, detail)

    def _receive(
        self, stream: IO[bytes], deadline: float, step: str, detail: str
    ) -> dict[str, Any]:
        process = self._process
        assert process is not None
        limit = self.limits.of_step(step) if step != "start" else START_LIMIT_S
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                try:
                    message = split_message(self._received)
                except ValueError as error:
                    raise WorkerGoneError(Failed(step, detail, f"answered with {error}")) from None
                if message is not None:
                    return message
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise WorkerGoneError(Failed(step, detail, f"timed out after {limit:.0f} s"))
                data = os.read(stream.fileno(), 1 << 16)
                if not data:
                    raise WorkerGoneError(Failed(step, detail, self._ending(process)))
                self._received += data

    def _ending(self, process: subprocess.Popen[bytes]) -> str:
        """How the process ended, in a few words."""
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if code >= 0:
            return f"ended with exit code {code} ({self._last_words()})"
        if -code == signal.SIGXCPU:
            return "used up its processor time"
        if -code == signal.SIGKILL:
            return "was killed (out of memory?)"
        return f"crashed ({signal.Signals(-code).name})"


def _environment() -> dict[str, str]:
    """The parent's environment without credentials; imports find the same packages."""
    environment = scrubbed(os.environ)
    package = str(Path(metalgen.__file__).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH")
    # Idle threads of PyTorch's that spin would take the cores from the kernels timed beside it.
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (package, inherited) if p)
    return environment


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # of what was not yet sent to a process that is gone
                stream.close()
    process.wait()

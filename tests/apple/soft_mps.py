"""Tests on mps tensors without a Mac: `@on_soft_mps` runs a test where the software Metal is."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apple import build

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """How a test ended in its own process."""

    status: int  # of the process; negative: the signal that ended it
    output: str


class Children:
    """A process with everything loaded, which forks one for each test."""

    def __init__(self, core: Path | None) -> None:
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "apple.child",
            *([str(core)] if core else []),
        ]
        self._process = subprocess.Popen(
            command,
            cwd=TESTS,
            env={**os.environ, **build.sanitizer_environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the software Metal does not load"

    def run(self, request: dict[str, object]) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def __del__(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]


def need_linux() -> None:
    """Skip where the software Metal cannot be."""
    if sys.platform != "linux":
        pytest.skip("the software Metal is for Linux: a Mac has its own")


@functools.cache
def children() -> Children:
    """Of the backend as it is."""
    need_linux()
    with ThreadPoolExecutor() as pool:
        tensors = pool.submit(build.tensors)
        core = build.core()
        tensors.result()
    return Children(core)


@functools.cache
def children_of_any_core() -> Children:
    """Which load the core that a request names."""
    return Children(None)


def outcome_with(core: Path, test: Callable[..., None], **arguments: Any) -> Outcome:
    """Run `test` with the core at `core`."""
    request = _request(test.in_child, arguments)  # type: ignore[attr-defined]
    return children_of_any_core().run({**request, "core": str(core)})


def on_soft_mps(test: Callable[..., None]) -> Callable[..., None]:
    """Run the test in a process of its own, where mps tensors and Metal are software's."""
    return _in_child(test, lambda outcome: outcome.status == 0)


def on_mps(test: Callable[..., None]) -> Callable[..., None]:
    """On a Mac, run the test on its GPU; elsewhere as `on_soft_mps` does."""
    if sys.platform != "darwin":
        return on_soft_mps(test)

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        import torch

        if not torch.backends.mps.is_available():
            pytest.skip("this Mac has no GPU that Metal can use")
        test(**arguments)

    return run


def ended_by_validation(message: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same for tests that Metal's validation ends with `message`."""
    return functools.partial(
        _in_child,
        passed=lambda outcome: outcome.status == -signal.SIGABRT and message in outcome.output,
    )


def _in_child(test: Callable[..., None], passed: Callable[[Outcome], bool]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        outcome = children().run(_request(test, arguments))
        assert passed(outcome), f"status {outcome.status}\n{outcome.output}"

    run.in_child = test  # type: ignore[attr-defined]
    return run


def _request(test: Callable[..., None], arguments: dict[str, Any]) -> dict[str, object]:
    file = test.__code__.co_filename
    return {"file": file, "function": test.__name__, "arguments": arguments}

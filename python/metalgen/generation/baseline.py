"""The second baseline: what torch.compile's default backend makes of a problem's module."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import cast

import torch
from torch import Tensor, nn

from metalgen.problem import LoadedProblem
from metalgen.problem.loaded import described


@dataclass(frozen=True, slots=True)
class Refused:
    """Why torch.compile has no time here."""

    reason: str


def compiled_module(
    problem: LoadedProblem, module: nn.Module, inputs: tuple[object, ...], seconds: float
) -> Callable[[], object] | Refused:
    """Runs the module as torch.compile has it, compiled already; or why that is not possible.

    Compiling may take `seconds`. What it gives must be what eager gives, within the loose bounds of
    torch.testing.assert_close: a baseline that computes something else is none.
    """
    from torch._inductor import config

    # One process, and the sandbox's: a pool of others would outlive it.
    config.compile_threads = 1
    torch._dynamo.reset()
    compiled = cast(nn.Module, torch.compile(module))
    try:
        with _at_most(seconds):
            found = problem.run(inputs, compiled)
        _compare(found, problem.run(inputs, module))
    except Exception as error:
        return Refused(f"torch.compile did not run: {described(error)}")
    return lambda: problem.run(inputs, compiled)


def _compare(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-2, atol=1e-2, equal_nan=True)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError inside after `seconds`; for the main thread of a process of its own."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

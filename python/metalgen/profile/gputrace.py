"""Captures of an Apple GPU's work: `.gputrace` files, which Xcode opens.

torch begins and ends the capture around its command queue, which metalgen's launches use too. Metal
only captures in processes that were started with MTL_CAPTURE_ENABLED=1.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from metalgen.errors import ToolchainError, UnsupportedError

VARIABLE = "MTL_CAPTURE_ENABLED"
FOLDER = "METALGEN_CAPTURE"  # where profiles keep a capture; none is made where it is not set


def capture_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a process that may capture."""
    return {**environment, VARIABLE: "1"}


def require_capture(environment: Mapping[str, str] = os.environ) -> None:
    """Raise UnsupportedError, with the remedy, where this process cannot capture."""
    if sys.platform != "darwin":
        raise UnsupportedError("not supported: a capture of the GPU, which needs a Mac")
    if environment.get(VARIABLE) != "1":
        raise UnsupportedError(
            f"not supported: a capture in a process that was started without {VARIABLE}=1; set it "
            f"and start again"
        )
    if not hasattr(torch.mps.profiler, "metal_capture"):
        raise UnsupportedError(
            f"not supported: a capture with torch {torch.__version__}; install torch 2.6 or later"
        )


def capture_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where a profile's capture is to be kept; None where none is wanted."""
    asked = environment.get(FOLDER)
    return Path(asked) if asked else None


def capture(trace: Path, work: Callable[[], object]) -> Path:
    """Run `work` on the GPU and write what it did to `trace`, a .gputrace.

    Raises UnsupportedError where this process cannot capture, ToolchainError where Metal does not
    write one.
    """
    require_capture()
    if trace.suffix != ".gputrace":
        raise UnsupportedError(f"not supported: '{trace}'; a capture's name ends in .gputrace")
    name = f"metalgen-{os.getpid()}-{trace.stem}"
    try:
        with torch.mps.profiler.metal_capture(name):
            work()
            torch.mps.synchronize()
    except RuntimeError as error:
        raise ToolchainError(f"Metal made no capture: {str(error).splitlines()[0]}") from error
    # torch numbers its captures and writes them where the process is: "%04d-%s.gputrace".
    made = sorted(Path.cwd().glob(f"*-{name}.gputrace"))
    if not made:
        raise ToolchainError(f"Metal made no capture in '{Path.cwd()}'; is there room on the disk?")
    shutil.rmtree(trace, ignore_errors=True)
    trace.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made[-1], trace)
    return trace

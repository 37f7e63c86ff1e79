"""Joules of a few operators by this machine's counters, and how far repeated windows differ.

    python benchmarks/joules.py [--device cuda]

Shows what policy="energy" would see. Any torch device does: the counters are the machine's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from metalgen.optimize.meters import energy_meter, joules_per_call

WINDOWS = 4


def main() -> None:
    """Print one line for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    meter = energy_meter()
    if meter is None:
        raise SystemExit("no counter of energy can be read here; see docs/optimize.md")
    wait = getattr(torch, device).synchronize if device != "cpu" else _nothing
    print(f"{meter.name}, windows of {meter.window_s} s, torch {torch.__version__}")
    for name, run in work(device).items():
        joules = [joules_per_call(meter, run, wait) for _ in range(WINDOWS)]
        middle, seconds = statistics.median(joules), _seconds(run, wait)
        spread = (max(joules) - min(joules)) / middle if middle else 0.0
        print(f"{name:16} {1e3 * middle:10.4g} mJ  {middle / seconds:6.0f} W  spread {spread:5.1%}")


def work(device: str) -> dict[str, Callable[[], object]]:
    """Products large and small, and doing nothing."""
    large, narrow, small = (
        torch.randn(n, n, device=device, dtype=dtype)
        for n, dtype in ((2048, torch.float32), (2048, torch.bfloat16), (128, torch.float32))
    )
    return {
        "float32 2048": partial(torch.mm, large, large),
        "bfloat16 2048": partial(torch.mm, narrow, narrow),
        "float32 128": partial(torch.mm, small, small),
        "10 ms of nothing": partial(time.sleep, 0.01),
    }


def _seconds(run: Callable[[], object], wait: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(10):
        run()
    wait()
    return (time.perf_counter() - started) / 10


def _nothing() -> None:
    """The processor is done when a call returns."""


if __name__ == "__main__":
    main()

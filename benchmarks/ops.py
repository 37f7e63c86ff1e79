"""The operations beside eager PyTorch, on the samples that the tests share: ratio to eager.

Usage: python benchmarks/ops.py [--operation NAME] [--dtype float32] [--device cpu] [--rounds 9]
                                [--threads N] [--cpu-time]

On mps, eager is PyTorch on the Apple GPU. Every result is checked before it is timed.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from metalgen.device import settle
from metalgen.errors import MetalgenError
from metalgen.ops.references import REFERENCES
from metalgen.ops.sample_table import samples
from metalgen.ops.samples import Sample, find_mismatch
from metalgen.ops.winners import device_name

Call = Callable[[tuple[Any, ...]], object]
Clock = Callable[[], float]


def best_ms(
    calls: Sequence[Call], arguments: tuple[Any, ...], device: str, rounds: int, clock: Clock
) -> list[float]:
    """The least milliseconds of each, called in turns so that a slow moment strikes all alike."""
    times = [[math.inf] for _ in calls]
    for number in range(rounds + 1):
        for call, taken in zip(calls, times, strict=True):
            start = clock()
            call(arguments)
            if device == "mps":
                torch.mps.synchronize()
            if number > 0:  # the first warms up
                taken.append(clock() - start)
    return [min(taken) * 1e3 for taken in times]


def line(sample: Sample, dtype: torch.dtype, device: str, rounds: int, clock: Clock) -> str:
    """One row of the table."""
    try:
        wrong = find_mismatch(sample, dtype, device_type=device)
    except MetalgenError as error:
        wrong = str(error)
    if wrong is not None:
        return f"{sample!s:<84.84}  {wrong}"
    settle()
    arguments = tuple(argument.to(device) for argument in sample.make(dtype))
    ours, eager = best_ms((sample.run, sample.eager), arguments, device, rounds, clock)
    return f"{sample!s:<84.84}{ours:>10.2f}{eager:>10.2f}{ours / eager:>8.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operation", choices=REFERENCES)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "mps"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cpu-time", action="store_true", help="of the processor, for machines that are busy"
    )
    chosen = parser.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    torch.set_num_threads(chosen.threads)
    os.environ["METALGEN_NUM_THREADS"] = str(chosen.threads)
    print(f"{device_name(chosen.device)}, {chosen.dtype}, torch {torch.__version__}")
    print(f"{'':<84}{'metalgen':>10}{'eager':>10}{'ratio':>8}  (ms, ms; below 1 is faster)")
    for sample in samples(chosen.operation, large=True):
        dtype = getattr(torch, chosen.dtype)
        print(line(sample, dtype, chosen.device, chosen.rounds, clock), flush=True)


if __name__ == "__main__":
    main()

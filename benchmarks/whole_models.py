"""Whole models through metalgen beside eager PyTorch, at their real sizes, on any device.

    python benchmarks/whole_models.py [--device cpu|mps] [--small] [--policy metal|fastest]
                                      [--budget SECONDS] [--threads N] [NAME ...]

Random weights. Each model is checked against eager before it is timed. `first-s` is the first call:
capture, kernels, checks and races; `runs` is what is chosen for the graph as a whole.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import metalgen
from examples.models.catalogue import EXAMPLES, Example
from metalgen.device import synchronize

SECONDS = 4.0  # of measuring each model


def moved(inputs: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) for name, value in inputs.items()}


def medians(runs: tuple[Callable[[], object], ...], device: str) -> list[float]:
    """Milliseconds of each, taking turns.

    PyTorch's threads stay as they are: Dynamo captures anew where their number changes.
    """
    series: list[list[float]] = [[] for _ in runs]
    ends = time.perf_counter() + SECONDS
    while len(series[0]) < 3 or time.perf_counter() < ends:
        for run, times in zip(runs, series, strict=True):
            synchronize(device)
            started = time.perf_counter()
            run()
            synchronize(device)
            times.append(time.perf_counter() - started)
    return [statistics.median(times) * 1e3 for times in series]


def measure(
    example: Example, device: str, small: bool, policy: str, budget_s: float | None
) -> tuple[object, ...]:
    """One line of the table."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, inputs = example.make(small)
    model, inputs = model.eval().to(device), moved(inputs, device)
    fast = metalgen.optimize_for_metal(model, policy=policy, budget_s=budget_s)
    with torch.no_grad():
        expected, started = model(**inputs), time.perf_counter()
        found, first = fast(**inputs), time.perf_counter() - started
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        ours, eager = medians((lambda: fast(**inputs), lambda: model(**inputs)), device)
    report = fast.metal_report
    before, after = report.launches
    share = f"{report.flops_share:.1%}", f"{report.operators_share:.1%}"
    runs = "+".join(dict.fromkeys(graph.choice for graph in report.graphs))
    times = first, ours, eager, ours / eager
    return example.name, *times, runs, *share, before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="the tests' sizes")
    parser.add_argument("--policy", default="metal", choices=("metal", "fastest"))
    parser.add_argument("--budget", type=float, help="seconds for kernels, the heaviest first")
    parser.add_argument("--threads", type=int, help="PyTorch's; 1 on a busy machine")
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    warnings.filterwarnings("ignore")
    known = {example.name: example for example in EXAMPLES}
    name = metalgen.device.open_device("mps" if chosen.device == "mps" else "cpu").name
    print(
        f"{name}, {platform.machine()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, policy {chosen.policy}"
    )
    heads = "model first-s metalgen-ms eager-ms ratio runs FLOPs operators before after".split()
    print("  ".join(f"{head:>11}" for head in heads))
    for wanted in chosen.names or known:
        row = measure(known[wanted], chosen.device, chosen.small, chosen.policy, chosen.budget)
        cells = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
        print("  ".join(f"{cell:>11}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()

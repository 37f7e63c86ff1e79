"""Whole models through metalgen beside eager PyTorch, at their real sizes, on any device.

    python benchmarks/whole_models.py [--device cpu|mps] [--small] [--policy metal|fastest] [NAME]

Random weights. Each model is checked against eager before it is timed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import metalgen
from examples.models.catalogue import EXAMPLES, Example
from metalgen.optimize.race import race


def moved(inputs: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) for name, value in inputs.items()}


def measure(example: Example, device: str, small: bool, policy: str) -> tuple[object, ...]:
    """One line of the table."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, inputs = example.make(small)
    model, inputs = model.eval().to(device), moved(inputs, device)
    fast = metalgen.optimize_for_metal(model, policy=policy)
    with torch.no_grad():
        expected, found = model(**inputs), fast(**inputs)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        ours, eager = race(lambda: fast(**inputs), lambda: model(**inputs), torch.device(device))
    report = fast.metal_report
    before, after = report.launches
    share = f"{report.flops_share:.1%}", f"{report.operators_share:.1%}"
    return example.name, ours / 1e3, eager / 1e3, ours / eager, *share, before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="the tests' sizes")
    parser.add_argument("--policy", default="metal", choices=("metal", "fastest"))
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    known = {example.name: example for example in EXAMPLES}
    name = metalgen.device.open_device("mps" if chosen.device == "mps" else "cpu").name
    print(f"{name}, {platform.machine()}, torch {torch.__version__}, policy {chosen.policy}")
    heads = "model metalgen-ms eager-ms ratio FLOPs operators before after".split()
    print("  ".join(f"{head:>11}" for head in heads))
    for wanted in chosen.names or known:
        row = measure(known[wanted], chosen.device, chosen.small, chosen.policy)
        cells = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
        print("  ".join(f"{cell:>11}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()

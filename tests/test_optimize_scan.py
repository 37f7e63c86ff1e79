"""Mamba with its scan as a loop and as metalgen.ops.selective_scan, which is captured once."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import metalgen

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.models.mamba import Mamba


def test_a_parallel_scan_is_captured_once_for_all_lengths_and_gives_what_the_loop_gives():
    torch._dynamo.reset()
    torch.manual_seed(0)
    loop = Mamba(vocabulary=32, width=16, layers=1).eval()
    parallel = Mamba(vocabulary=32, width=16, layers=1, parallel=True).eval()
    parallel.load_state_dict(loop.state_dict())
    fast = metalgen.optimize_for_metal(parallel, policy="metal")
    with torch.no_grad():
        for length in (6, 11, 40):
            tokens = torch.randint(0, 32, (2, length))
            torch.testing.assert_close(fast(tokens), loop(tokens), rtol=1e-4, atol=1e-5)
    (graph,) = fast.metal_report.graphs
    assert ("metalgen.selective_scan", "is a Metal kernel of metalgen.ops already") in graph.left
    assert all(region.choice == "metal" for region in graph.regions), str(fast.metal_report)
    assert fast.metal_report.flops_share == 1.0

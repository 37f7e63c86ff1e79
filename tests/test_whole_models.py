"""Whole models through verified kernels: equal to eager, compiled once, nearly all in Metal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import metalgen

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.models.catalogue import EXAMPLES

QUICK = ("resnet50", "gpt2", "mamba")


def _marked(example):
    marks = () if example.name in QUICK else (pytest.mark.thorough,)
    return pytest.param(example, id=example.name, marks=marks)


@pytest.mark.filterwarnings("ignore")  # of what transformers and Dynamo deprecate
@pytest.mark.parametrize("example", [*map(_marked, EXAMPLES)])
def test_a_model_gives_what_eager_gives_with_its_arithmetic_in_metal(example, capsys):
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model, inputs = example.make(True)
    model.eval()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    with torch.no_grad():
        expected = model(**inputs)
        torch.testing.assert_close(fast(**inputs), expected)
        report = fast.metal_report
        compiled = report.compilations
        torch.testing.assert_close(fast(**inputs), expected)
    assert not counters["graph_break"]
    assert report.compilations == compiled > 0
    before, after = report.launches
    with capsys.disabled():
        print(
            f"\n{example.name}: {report.flops_share:.1%} of FLOPs and {report.operators_share:.1%}"
            f" of operators in Metal, {before} operators in {after} launches"
        )
    assert report.flops_share > 0.95
    assert after < before / 1.5

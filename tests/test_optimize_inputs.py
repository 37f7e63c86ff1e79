"""Inputs and dtypes that models meet: autocast, half, strided views, a model moved to a dtype."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import metalgen


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.LayerNorm(24), nn.Linear(24, 8)).eval()


def compare(model: nn.Module, fast: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Eager's result; `fast`, partly in Metal at least, must be near it.

    Eager rounds between operators and a fused kernel does not, so that in half and bfloat16 the
    model in float64 is the judge: kernels may be twice as far from it as eager is.
    """
    with torch.no_grad():
        expected, found = model(x), fast(x)
        assert found.dtype == expected.dtype
        if expected.dtype == torch.float32:
            torch.testing.assert_close(found, expected)
        else:
            with torch.autocast("cpu", enabled=False):
                precise = copy.deepcopy(model).double()(x.double())
            assert (found - precise).abs().max() <= 2 * (expected - precise).abs().max()
    report = vars(fast)["metal_report"]
    assert any(region.choice == "metal" for region in report.graphs[-1].regions), str(report)
    return expected


def test_autocast_is_followed():
    model, x = small_model(), torch.randn(5, 16)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    with torch.autocast("cpu", torch.bfloat16):
        assert compare(model, fast, x).dtype == torch.bfloat16
    assert compare(model, fast, x).dtype == torch.float32


def test_a_half_model_runs_in_kernels():
    model, x = small_model().half(), torch.randn(5, 16).half()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    assert compare(model, fast, x).dtype == torch.float16


def test_inputs_that_are_not_contiguous_are_read_right():
    model = small_model()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    compare(model, fast, torch.randn(16, 5).t())
    compare(model, fast, torch.randn(10, 32)[::2, 1::2])


def test_a_model_moved_to_another_dtype_is_noticed():
    model, x = small_model(), torch.randn(5, 16)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    compare(model, fast, x)
    model.to(torch.bfloat16)
    assert compare(model, fast, x.bfloat16()).dtype == torch.bfloat16

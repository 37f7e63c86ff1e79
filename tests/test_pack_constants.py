"""Packs of modules with numbers and tensors of their own: found again where those are the same."""

from __future__ import annotations

import json
import math

import pytest
import torch
from command_line import metalgen as run_metalgen
from torch import nn

import metalgen
from metalgen.optimize.packing import build_pack

PROBLEM = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = 0.75
        self.register_buffer("shift", torch.randn(4))

    def forward(self, x, gain):
        factors = torch.tensor([1.0, -2.0, 3.0, 0.5])
        return gain * (torch.tanh(x * self.alpha + self.shift) * factors)

def get_inputs():
    return [torch.randn(6, 4), 1.5]

def get_init_inputs():
    return []
"""
KERNELS = """
#include <metal_stdlib>
using namespace metal;

constant float factors[] = {1.0f, -2.0f, 3.0f, 0.5f};

kernel void shifted_tanh(device float* out [[buffer(0)]], device const float* x [[buffer(1)]],
                         device const float* shift [[buffer(2)]],
                         constant float& gain [[buffer(3)]],
                         uint i [[thread_position_in_grid]]) {
  out[i] = precise::tanh(fma(x[i], 0.75f, shift[i % 4])) * factors[i % 4] * gain;
}
"""
PLAN = {
    "outputs": {"out": {"dtype": "x.dtype", "shape": ["x.shape[0]", 4]}},
    "steps": [
        {
            "kernel": "shifted_tanh",
            "args": ["out", "x", "shift", {"float": "gain"}],
            "threads": ["x.numel()"],
            "group_size": [64],
        }
    ],
}


class Other(nn.Module):
    """The same mathematics, the factors held where a model may hold them."""

    def __init__(
        self, slope: float, factors: list[float], *, gain: float = 1.5, as_buffer: bool = False
    ) -> None:
        super().__init__()
        self.gain = gain
        self.slope = slope
        self.offset = nn.Parameter(torch.randn(4))
        self.values = factors
        if as_buffer:
            self.register_buffer("held", torch.tensor(factors))

    def forward(self, x):
        factors = self.held if hasattr(self, "held") else torch.tensor(self.values)
        bent = torch.tanh(torch.sin(x) * self.slope + self.offset)
        return torch.exp(self.gain * (bent * factors))


FACTORS = [1.0, -2.0, 3.0, 0.5]


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "shifted_tanh.py").write_text(PROBLEM)
    reply = f"```metal\n{KERNELS}```\n```json\n{json.dumps(PLAN)}\n```\n"
    (folder / "reply.md").write_text(reply)
    done = run_metalgen(
        *("generate", folder / "shifted_tanh.py", "--out", folder / "run"),
        *("--model", f"scripted:{folder / 'reply.md'}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return build_pack([folder / "run"], folder / "pack", "acme").pack


@pytest.fixture(autouse=True)
def _no_times_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path / "times"))


def outcome(pack, model, *, dynamic=True):
    """Whether the pack's kernel computed, after it was held against eager; else why not."""
    torch._dynamo.reset()
    fast = metalgen.optimize_for_metal(model.eval(), policy="metal", packs=pack, dynamic=dynamic)
    with torch.no_grad():
        for rows in (6, 9):
            x = torch.randn(rows, 4)
            torch.testing.assert_close(fast(x), model(x))
    found = [each for region in fast.metal_report.regions for each in region.classes.values()]
    used = any(each.us.get("pack acme 1.0: shifted_tanh", math.inf) < math.inf for each in found)
    return fast, used, " ".join(reason for each in found for reason in each.refused)


@pytest.mark.parametrize(("dynamic", "as_buffer"), [(True, False), (False, True)])
def test_a_kernel_with_constants_is_used_where_they_are_the_same(pack, dynamic, as_buffer):
    _, used, refused = outcome(pack, Other(0.75, FACTORS, as_buffer=as_buffer), dynamic=dynamic)
    assert used, refused


@pytest.mark.parametrize(
    "other",
    [
        Other(0.5, FACTORS),
        Other(0.75, FACTORS, gain=1.25),
        Other(0.75, [1.0, -2.0, 3.0, 0.25]),
        Other(0.75, [1.0, -2.0, 3.0, 0.25], as_buffer=True),
    ],
    ids=["attribute", "argument", "tensor in code", "buffer"],
)
def test_a_kernel_is_not_used_where_a_constant_is_another(pack, other):
    _, used, _ = outcome(pack, other)
    assert not used


def test_constants_that_change_later_are_noticed(pack):
    model = Other(0.75, FACTORS, as_buffer=True).eval()
    fast, used, _ = outcome(pack, model)
    assert used
    x = torch.randn(6, 4)
    with torch.no_grad():
        model.held.mul_(2)
        torch.testing.assert_close(fast(x), model(x))
        model.held.div_(2)
        model.slope = 0.25
        torch.testing.assert_close(fast(x), model(x))

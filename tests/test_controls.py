"""Problems whose answer hardly depends on what they are given are found out, and only those."""

from __future__ import annotations

import pytest
from problem_files import write_problem

from metalgen.generation.controls import (
    CONSTANT,
    IGNORES_INPUTS,
    IGNORES_WEIGHTS,
    control_reason,
)
from metalgen.problem import load_problem

HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"


def reason(tmp_path, forward, inputs="[torch.rand(8, 12)]", init="pass"):
    text = f"""{HEAD}
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
    def forward(self, x): {forward}
def get_inputs(): return {inputs}
def get_init_inputs(): return []
"""
    return control_reason(load_problem(write_problem(tmp_path, text)))


LINEAR = "self.fc = nn.Linear(12, 12)"


def test_a_maximum_less_its_own_mean_is_constant(tmp_path):
    forward = "y = self.fc(x).amax(1, keepdim=True); return F.gelu(y - y.mean(1, keepdim=True))"
    assert reason(tmp_path, forward, init=LINEAR) == CONSTANT


def test_values_clamped_from_both_sides_are_constant(tmp_path):
    forward = "return self.norm(self.conv(x)).clamp(max=0).clamp(0, 1)"
    init = "self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)"
    assert reason(tmp_path, forward, "[torch.rand(2, 3, 9, 9)]", init) == CONSTANT


def test_the_mean_of_what_was_normalised_is_rounding_noise_at_default_weights(tmp_path):
    forward = "return self.norm(self.conv(x)).mean(dim=[1, 2, 3])"
    init = "self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)"
    assert reason(tmp_path, forward, "[torch.rand(2, 3, 9, 9)]", init) == IGNORES_INPUTS


def test_a_softmax_over_one_element_is_constant(tmp_path):
    init = "self.fc = nn.Linear(12, 1)"
    assert reason(tmp_path, "return F.softmax(self.fc(x), dim=1)", init=init) == CONSTANT


def test_a_part_below_the_tolerance_does_not_count(tmp_path):
    forward = "return x + 1e-9 * self.fc(x)"
    assert reason(tmp_path, forward, init=LINEAR) == IGNORES_WEIGHTS


def test_results_of_the_weights_alone_ignore_the_inputs(tmp_path):
    forward = "return self.fc.weight.softmax(1) + 0 * x.sum()"
    assert reason(tmp_path, forward, init=LINEAR) == IGNORES_INPUTS


@pytest.mark.parametrize(
    ("forward", "inputs", "init"),
    [
        ("return x + 1", "[torch.rand(8, 12)]", "pass"),
        ("return x + 1", "[torch.ones(8, 12)]", "pass"),  # the same for every seed
        ("return x // 2", "[torch.arange(12)]", "pass"),  # nothing to be changed: not known
        ("return x.argmax(1)", "[torch.rand(8, 12)]", "pass"),
        ("return F.relu(x - 3)", "[torch.rand(8, 12)]", "pass"),  # zero until inputs are larger
        ("return self.fc(x)", "[torch.rand(8, 12)]", LINEAR),
        # In training mode a batch norm's own buffers do not count, and its bias does.
        ("return self.bn(x)", "[torch.rand(8, 12)]", "self.bn = nn.BatchNorm1d(12)"),
        ("return self.bn(x)", "[torch.rand(8, 12)]", "self.bn = nn.BatchNorm1d(12, affine=False)"),
    ],
)
def test_problems_with_an_answer_are_no_controls(tmp_path, forward, inputs, init):
    assert reason(tmp_path, forward, inputs, init) is None


def test_an_evaluator_tells_why_a_problem_is_a_control(evaluator, tmp_path):
    head, tail = "class Model(nn.Module):\n    def forward(self, x): return ", "\n"
    tail += "def get_inputs(): return [torch.rand(9)]\ndef get_init_inputs(): return []\n"
    zero = evaluator.open(write_problem(tmp_path, f"{HEAD}{head}x * 0{tail}", "zero.py"))
    double = evaluator.open(write_problem(tmp_path, f"{HEAD}{head}x * 2{tail}", "double.py"))
    assert evaluator.control_reason(zero) == IGNORES_INPUTS
    assert evaluator.control_reason(double) is None

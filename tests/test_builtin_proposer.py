"""The built-in proposer's replies: their form, their sizes, and what it says it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from builtin_runs import OfOne, OfTwo, agree, reply_for
from torch import nn

from metalgen.errors import UnsupportedError
from metalgen.generation.candidate import parse_reply
from metalgen.problem import open_problem
from metalgen.proposers import Attempt, Rejected
from metalgen.proposers.builtin import BuiltinProposer
from metalgen.proposers.builtin.lower import supported_operators
from metalgen.proposers.builtin.variants import VARIANTS

PROBLEM = '''"""Rows scaled to their largest entry."""
import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return x / x.abs().amax(dim=-1, keepdim=True)


def get_inputs():
    return [torch.randn(5, 40)]


def get_init_inputs():
    return []
'''


@pytest.fixture
def problem(tmp_path: Path):
    path = tmp_path / "scale_rows.py"
    path.write_text(PROBLEM)
    return open_problem(path)


def test_the_same_problem_gets_the_same_reply(problem):
    proposer = BuiltinProposer()
    assert proposer.propose(problem, []).text == proposer.propose(problem, []).text


def test_after_a_rejection_comes_another_variant_and_in_the_end_none(problem):
    proposer = BuiltinProposer()
    history: list[Attempt] = []
    for _ in VARIANTS:
        reply = proposer.propose(problem, history)
        history.append(Attempt(reply, Rejected("verify", "wrong")))
    assert len({attempt.reply.text for attempt in history}) == len(VARIANTS)
    with pytest.raises(UnsupportedError, match="no further variant after 3 attempts"):
        proposer.propose(problem, history)


def test_the_reply_explains_each_kernel_in_a_formula(problem):
    text = BuiltinProposer().propose(problem, []).text
    assert "// amax = max(fabs(x))\n// div_out = x / amax\n" in text
    assert "// One SIMD-group per row" in text


def test_sizes_are_expressions_over_the_inputs_shapes():
    plan = parse_reply(reply_for(OfOne(lambda x: x.mean(1)), torch.randn(6, 7, 8))).plan
    (output,) = plan.outputs.values()
    assert [size.text for size in output.shape] == ["x.shape[0]", "x.shape[2]"]


def test_operators_without_a_template_are_named():
    module = OfOne(lambda x: torch.linalg.det(x) + torch.linalg.svdvals(x))
    with pytest.raises(UnsupportedError, match=r"not supported: .*_linalg_det.*_linalg_svd"):
        reply_for(module, torch.randn(4, 4))


def test_sorting_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="topk"):
        reply_for(OfOne(lambda x: torch.topk(x, 2).values), torch.randn(4, 8))


def test_control_flow_that_depends_on_data_is_refused():
    def function(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x

    with pytest.raises(UnsupportedError, match=r"torch\.export cannot capture"):
        reply_for(OfOne(function), torch.randn(4))


def test_a_loop_too_long_to_unroll_is_refused():
    def function(x: torch.Tensor) -> torch.Tensor:
        for _ in range(257):
            x = x.cumsum(0)
        return x

    with pytest.raises(UnsupportedError, match="257 kernels would be needed, a plan holds 256"):
        reply_for(OfOne(function), torch.randn(8))


def test_running_statistics_left_alone_are_mentioned():
    text = reply_for(nn.BatchNorm1d(8), torch.randn(6, 8))
    assert "running_mean" in text.split("```")[0]


def test_inputs_named_like_metal_s_words_are_renamed():
    class Awkward(nn.Module):
        def forward(self, kernel: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
            return torch.exp(kernel) * half

    agree(Awkward(), torch.randn(4, 5), torch.randn(5))


def test_plainer_variants_compute_the_same():
    module = OfTwo(lambda x, y: torch.softmax(x @ y + 1, dim=-1))
    for variant in VARIANTS:
        agree(module, torch.randn(40, 24), torch.randn(24, 36), variant=variant)


def test_the_documentation_lists_every_operator():
    text = (Path(__file__).parents[1] / "docs" / "builtin-proposer.md").read_text()
    refused = {"logcumsumexp", "cummax", "cummin", "sort", "topk", "median", "kthvalue", "mode"}
    missing = [name for name in supported_operators() if f"`{name}`" not in text]
    assert set(missing) <= refused

"""nn.LSTM, nn.GRU and nn.RNN whole, step by step in kernels, one graph for all lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import metalgen
from metalgen.optimize import Backend
from metalgen.optimize.means import Means

CASES = {
    "lstm": lambda: nn.LSTM(5, 7),
    "lstm both ways, two layers, batch first": lambda: nn.LSTM(
        5, 9, 2, batch_first=True, bidirectional=True, dropout=0.3
    ),
    "lstm without bias": lambda: nn.LSTM(5, 7, bias=False),
    "gru": lambda: nn.GRU(5, 7, 2),
    "gru both ways": lambda: nn.GRU(5, 33, batch_first=True, bidirectional=True),
    "rnn": lambda: nn.RNN(5, 7, 2, bias=False),
    "rnn with relu": lambda: nn.RNN(5, 7, nonlinearity="relu"),
}


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    torch.manual_seed(0)


def flat(result):
    out, state = result
    return (out, *(state if isinstance(state, tuple) else (state,)))


def recurrent(report):
    return [region for region in report.regions if "recurrent" in region.operators]


def assert_same(fast, model, *inputs):
    with torch.no_grad():
        for ours, theirs in zip(flat(fast(*inputs)), flat(model(*inputs)), strict=True):
            torch.testing.assert_close(ours, theirs)
            assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("name", CASES)
def test_a_recurrent_module_is_one_region_for_every_length(name):
    model = CASES[name]().eval()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    for length in (4, 9, 2):
        assert_same(fast, model, torch.randn(length, 3, 5))
    report = fast.metal_report
    assert len(report.graphs) == 1, "another length must not be captured anew"
    assert [region.choice for region in recurrent(report)] == ["metal"], str(report)
    assert report.flops_share == 1.0


def test_a_state_that_is_given_is_begun_with():
    model = nn.LSTM(5, 7, 2).eval()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    state = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    assert_same(fast, model, torch.randn(4, 3, 5), state)
    assert [region.choice for region in recurrent(fast.metal_report)] == ["metal"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_recurrent_modules_match(dtype):
    model = nn.GRU(5, 40).eval().to(dtype)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    with torch.no_grad():
        fast(torch.randn(6, 3, 5, dtype=dtype))
    (region,) = recurrent(fast.metal_report)
    assert region.choice == "metal", region.reason


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_what_is_trained_packed_or_projected_stays_with_eager():
    model = nn.LSTM(5, 7, proj_size=3).eval()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    assert_same(fast, model, torch.randn(4, 3, 5))
    assert recurrent(fast.metal_report) == []
    model = nn.GRU(5, 7)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    fast(torch.randn(4, 3, 5))[0].sum().backward()
    assert model.weight_hh_l0.grad is not None
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(5, 2, 5), torch.tensor([5, 3]))
    with torch.no_grad():
        torch.testing.assert_close(fast(packed)[0].data, model(packed)[0].data)
    assert recurrent(fast.metal_report) == []


def test_recurrent_modules_are_allowed_for_our_models_alone():
    fast = metalgen.optimize_for_metal(nn.GRU(5, 7).eval())
    with torch.no_grad():
        fast(torch.randn(4, 3, 5))
    assert not torch._dynamo.config.allow_rnn


def test_by_name_they_are_captured_whole_where_pytorch_is_told_to():
    backend = Backend(Means(policy="metal"))
    model = nn.GRU(5, 7).eval()
    fast = torch.compile(model, backend=backend, dynamic=True)
    with torch.no_grad():
        fast(torch.randn(4, 3, 5))
        assert backend.report.graphs == []
        torch._dynamo.reset()
        with torch._dynamo.config.patch(allow_rnn=True):
            for length in (4, 6):
                assert_same(fast, model, torch.randn(length, 3, 5))
    assert len(recurrent(backend.report)) == len(backend.report.graphs) > 0

"""Regions as ML programs: what they hold, and that it is right; Core ML itself needs a Mac."""

from __future__ import annotations

import mil_interpreter
import pytest
import torch
from region_contenders import captured
from torch import nn
from torch.nn import functional

from metalgen.chips import find_chip, predict_neural_engine
from metalgen.errors import LaunchError, UnsupportedError
from metalgen.generation.guarded import GuardedMemory
from metalgen.optimize.backend import Backend
from metalgen.optimize.contender import Offer
from metalgen.optimize.means import Means
from metalgen.optimize.neural_engine import neural_engine
from metalgen.optimize.neural_engine.conversion import convert
from metalgen.optimize.neural_engine.source import made
from metalgen.optimize.neural_engine.suitable import is_suitable

pytest.importorskip("coremltools", reason="the extra neural-engine is not installed")


def interpreted(region):
    """A source of programs that are interpreted rather than run by Core ML."""
    if is_suitable(region):
        yield Offer("neural engine", lambda: made(region, load=mil_interpreter.load))


def optimized(model, *, policy="metal"):
    """The model with programs as the only contenders, and the report."""
    torch._dynamo.reset()
    backend = Backend(Means(policy=policy), sources=(interpreted,))
    return torch.compile(model, backend=backend, dynamic=True), backend.report


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(32, 96)

    def forward(self, x):
        q, k, v = self.heads(x).reshape(2, 8, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind()
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 8, 32)


MODELS = {
    "convolution": (
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)),
        (2, 3, 12, 10),
    ),
    "layers": (
        nn.Sequential(nn.Linear(48, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 8)),
        (5, 48),
    ),
    "attention": (Attention(), (2, 8, 32)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_half_precision_is_right_as_an_ml_program(name):
    model, shape = MODELS[name]
    model = model.eval().half()
    x = torch.randn(shape, dtype=torch.float16)
    with torch.no_grad():
        fast, report = optimized(model)
        torch.testing.assert_close(fast(x), model(x), rtol=1e-2, atol=1e-2)
    found = [each for region in report.regions for each in region.classes.values()]
    assert "neural engine" in {each.contender for each in found}
    assert not any(each.refused for each in found), found


def test_the_program_has_the_regions_sizes_and_its_weights_as_constants():
    weight = torch.randn(40, 48)
    region = captured(lambda x, w: (torch.relu(x @ w.t()),), torch.randn(7, 48), weight)
    region = with_parameters(region, "x_1")
    program = convert(region, (torch.randn(7, 48), weight))
    assert mil_interpreter.operations(program.model) == ["cast", "linear", "relu", "cast"]
    description = program.model.get_spec().description
    assert [list(each.type.multiArrayType.shape) for each in description.input] == [[7, 48]]
    assert [list(each.type.multiArrayType.shape) for each in description.output] == [[7, 40]]
    assert [place for _, place in program.inputs] == [0]


def with_parameters(region, *names):
    object.__setattr__(region, "parameters", frozenset(names))
    return region


def test_float16_is_too_coarse_for_a_region_of_float32_and_the_reason_is_told():
    model, x = nn.Linear(512, 16).eval(), torch.randn(4, 512)
    with torch.no_grad():
        fast, report = optimized(model)
        torch.testing.assert_close(fast(x), model(x))
    (found,) = (each for region in report.regions for each in region.classes.values())
    assert found.choice == "aten"
    assert "neural engine: wrong" in found.reason


def product():
    """A product with a parameter, its contender, and arguments."""
    arguments = [torch.randn(6, 32).half(), torch.randn(32, 8).half()]
    region = with_parameters(captured(lambda x, w: (x @ w,), *arguments), "x_1")
    return made(region, load=mil_interpreter.load), arguments


def checked(contender, arguments):
    return contender.run_in(GuardedMemory(1).allocate, arguments)


def test_a_changed_parameter_is_in_the_next_result_until_they_keep_changing():
    contender, (x, w) = product()
    checked(contender, (x, w))

    def is_seen(weight):
        for _ in range(2):
            (result,) = contender.run((x, weight))
            torch.testing.assert_close(result, x @ weight, rtol=1e-2, atol=1e-2)

    w.copy_(torch.randn(32, 8).half())
    is_seen(w)
    w.data = torch.randn(32, 8).half()
    is_seen(w)
    is_seen(torch.randn(32, 8).half())
    assert contender.conversions == 4
    with pytest.raises(UnsupportedError, match="keep changing"):
        is_seen(w)


def test_a_size_without_a_program_is_computed_in_aten_and_converts_nothing():
    contender, (x, w) = product()
    checked(contender, (x, w))
    other = torch.randn(5, 32).half()
    (result,) = contender.run((other, w))
    assert torch.equal(result, other @ w)
    assert contender.conversions == 1


def test_results_lie_in_memory_as_atens_do():
    region = captured(lambda x, y: ((x @ y).transpose(0, 1),), torch.randn(6, 4), torch.randn(4, 5))
    arguments = torch.randn(6, 4), torch.randn(4, 5)
    (result,) = checked(made(region, load=mil_interpreter.load), arguments)
    (expected,) = region.eager(*arguments)
    assert result.stride() == expected.stride()
    torch.testing.assert_close(result, expected, rtol=1e-2, atol=1e-2)


def test_without_core_ml_the_contender_fails_with_the_reason():
    contender, arguments = product()
    contender.load = lambda model: model.predict
    with pytest.raises(LaunchError, match=r"Core ML cannot run the program: .*macOS"):
        checked(contender, arguments)


def test_an_operator_that_core_ml_has_not_is_named():
    region = captured(lambda x: (torch.special.i1(x @ x),), torch.randn(4, 4))
    with pytest.raises(UnsupportedError, match=r"does not know aten::special_i1"):
        made(region)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: (x + 1,), torch.randn(4, 4)),
        (lambda x: (x @ x,), torch.randn(4, 4).bfloat16()),
        (lambda x: (x @ x,), torch.randn(1, 1, 1, 1, 4, 4)),
        (lambda x: ((x @ x) > 0,), torch.randn(4, 4)),
    ],
    ids=["no product", "bfloat16", "six dimensions", "bool result"],
)
def test_what_does_not_suit_the_neural_engine_is_not_offered(function, x):
    assert not is_suitable(captured(function, x))


def test_nothing_is_offered_where_there_is_no_mac(monkeypatch):
    from metalgen.optimize.neural_engine import source

    region = captured(lambda x: (x @ x,), torch.randn(4, 4))
    monkeypatch.setattr(source.sys, "platform", "linux")
    source._is_here.cache_clear()
    assert list(neural_engine(region)) == []
    source._is_here.cache_clear()


def test_too_little_work_for_a_call_is_not_converted():
    contender, arguments = product()
    contender.chip = find_chip("M4")
    with pytest.raises(UnsupportedError, match="a call of the Neural Engine alone"):
        checked(contender, arguments)
    assert contender.conversions == 0


def test_the_cost_model_knows_the_engines_rate_and_what_a_call_takes():
    chip = find_chip("M4")
    small = predict_neural_engine(1e3, 1e3, chip)
    large = predict_neural_engine(19e12, 1e3, chip)
    assert (small.bound_by, large.bound_by) == ("latency", "compute")
    assert small.seconds == pytest.approx(95e-6, rel=0.01)
    assert large.seconds == pytest.approx(1, rel=0.01)
    assert "8 bits" in str(predict_neural_engine(1, 1, find_chip("M3")).notes)
    with pytest.raises(UnsupportedError, match="unknown"):
        predict_neural_engine(1, 1, find_chip("M3 Ultra"))

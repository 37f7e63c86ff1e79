"""Half and bfloat16 regions: honest kernels pass the check, slightly wrong ones do not."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import gelu, layer_norm

import metalgen
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.region_check import Expected, wrong_result
from metalgen.optimize.region_plan import plan_region
from metalgen.proposers.builtin.exportable import decompositions

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.models.catalogue import EXAMPLES

NARROW = (torch.float16, torch.bfloat16)
WIDTH = 384


def block(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor]:
    y = gelu(x @ w + b)
    return (layer_norm(y + x[:, : w.shape[1]], [w.shape[1]]),)


def product(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor]:
    return (x @ w + b,)


def average(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor]:
    return (torch.softmax(x, -1) @ w,)


HONEST = {"block": block, "product": product, "average": average}
WRONG = {
    "a term is dropped": lambda function: lambda x, w, b: function(x, w, torch.zeros_like(b)),
    "the scale is wrong by 1 %": lambda function: lambda x, w, b: (function(x, w, b)[0] * 1.01,),
    "rows are off by one": lambda function: lambda x, w, b: (function(x, w, b)[0].roll(1, 0),),
    "the sum misses its last element": lambda function: (
        lambda x, w, b: function(x * (torch.arange(x.shape[1]) < x.shape[1] - 1), w, b)
    ),
}


def inputs(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    x, w, b = torch.randn(48, WIDTH), torch.randn(WIDTH, 64) / WIDTH**0.5, torch.randn(64)
    return [value.to(dtype) for value in (x, w, b)]


def region(function, given) -> RegionGraph:
    def cast(*values):  # a mutation may have widened
        return tuple(result.to(given[0].dtype) for result in function(*values))

    table = decompositions().materialize()
    return RegionGraph(make_fx(cast, decomposition_table=table, tracing_mode="fake")(*given))


def verdict(honest, function, dtype) -> str | None:
    given = inputs(dtype)
    expected = Expected.of(region(honest, given), given)
    return wrong_result(plan_region(region(function, given)), given, expected)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("function", HONEST.values(), ids=HONEST)
def test_honest_kernels_are_right(function, dtype):
    assert verdict(function, function, dtype) is None


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("change", WRONG)
@pytest.mark.parametrize("function", [block, product], ids=["block", "product"])
def test_slightly_wrong_kernels_are_refused(function, change, dtype):
    assert verdict(function, WRONG[change](function), dtype) is not None


def test_a_result_that_only_rounding_moves_is_allowed_to_move_that_far():
    """Near zero, where large terms cancel: one element, with neighbours that are exact."""

    def cancelling(x: Tensor) -> tuple[Tensor]:
        return ((x * 3.001) - (x * 3),)

    x = torch.randn(512).half()
    expected = Expected.of(region(cancelling, [x]), [x])
    assert wrong_result(plan_region(region(cancelling, [x])), [x], expected) is None
    (moved,) = expected.moved
    assert moved is not None
    assert float(moved.mean()) > float(expected.precise[0].abs().mean()) / 10


CASES = [(e, dtype, is_cast) for e in EXAMPLES for dtype in NARROW for is_cast in (False, True)]
QUICK = (("gpt2", torch.bfloat16, True),)


def _marked(case):
    example, dtype, is_cast = case
    marks = () if (example.name, dtype, is_cast) in QUICK else (pytest.mark.thorough,)
    return pytest.param(*case, id=f"{example.name}-{dtype}-{is_cast}", marks=marks)


@pytest.mark.filterwarnings("ignore")  # of what transformers and Dynamo deprecate
@pytest.mark.parametrize(("example", "dtype", "is_cast"), [*map(_marked, CASES)])
def test_every_region_of_a_narrow_model_matches(example, dtype, is_cast):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, given = example.make(True)
    if not is_cast:
        model = model.to(dtype)
        given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in given.items()}
    fast = metalgen.optimize_for_metal(model.eval(), policy="metal")
    with torch.no_grad(), torch.autocast("cpu", dtype) if is_cast else nullcontext():
        fast(**given)
    regions = vars(fast)["metal_report"].regions
    assert regions
    assert [region.reason for region in regions if region.choice != "metal"] == []

"""Strategies: the table is sound, each computes what eager computes, and regions stay whole."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as draw
from region_cases import Case, cases_of
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from metalgen import resources
from metalgen.errors import LaunchError
from metalgen.kernel_table import families
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.strategies import strategies
from metalgen.optimize.strategies.source import CONVOLUTIONS, PRODUCTS
from metalgen.strategy_table import parse_strategies, strategies_for, strategy_table

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TEXT = (resources.metal_sources() / "strategies.json").read_text()
SAMPLED = settings(derandomize=True, deadline=None, max_examples=12)


def test_every_strategy_of_the_table_can_be_launched_and_every_launch_is_in_it():
    named = {(each.operator, each.name) for each in strategy_table().strategies}
    convolutions = {("convolution", name) for name in CONVOLUTIONS}
    assert convolutions | {("product", name) for name in PRODUCTS} <= named
    ours = {pair for pair in named if pair[0] in ("convolution", "product")}
    assert ours == convolutions | {("product", name) for name in PRODUCTS}


def test_the_families_of_convolutions_and_products_are_all_used():
    used = {name for each in strategy_table().strategies for name in each.families}
    kinds = {name for name, each in families().items() if each.kind == "convolution"}
    assert kinds | {"gemm", "gemv_rows", "gemv_columns"} <= used


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"stride == 1"', '"stride is 1"', "expected a condition such as 'stride == 1'"),
        ('"kernel == 1"', '"seeds == 1"', "convolution has no 'seeds'"),
        ('["gemm"]', '["gem"]', "no kernel family 'gem'"),
        ('"operator": "product"', '"operator": "quotient"', "no operator 'quotient'"),
        ('"depthwise"', '"implicit gemm"', "is there twice"),
        ('"text"', '"words"', "field required"),
    ],
)
def test_a_faulty_table_is_refused_with_the_place(old, new, expected):
    assert old in TEXT
    with pytest.raises(LaunchError, match=f"(?i){expected}"):
        parse_strategies(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({}, "winograd 2x2"),
        ({"stride": 2}, "implicit gemm"),
        ({"groups": 2}, "implicit gemm"),
        ({"kernel": 1, "kernel_height": 1, "kernel_width": 1, "padding": 0}, "1x1 convolution"),
        ({"kernel": 1, "padding": 0, "channels_last": 1}, "1x1 convolution as gemm, channels last"),
        ({"groups": 32, "channels": 1, "outputs": 1}, "depthwise"),
        ({"dimensions": 3, "kernel": 27}, "im2col"),
    ],
)
def test_the_first_strategy_for_a_convolution_is_the_fitting_one(changed, first):
    sizes = {
        "dimensions": 2, "kernel": 9, "kernel_height": 3, "kernel_width": 3, "stride": 1,
        "padding": 1, "dilation": 1, "groups": 1, "channels": 32, "outputs": 32,
        "positions": 196, "images": 1, "channels_last": 0,
    }  # fmt: skip
    found = strategies_for("convolution", {**sizes, **changed})
    assert found[0].name.startswith(first)
    assert json.dumps([each.name for each in found])


def region_of(function, *arguments, parameters=(), mode="fake"):
    """A function of ATen operators as a region; `parameters` are positions."""
    module = make_fx(lambda *given: (function(*given),), tracing_mode=mode)(*arguments)
    names = [node.name for node in module.graph.find_nodes(op="placeholder")]
    kept = frozenset(names[position] for position in parameters)
    return Case(RegionGraph(module, kept), arguments)


def verify(case, least=1):
    """Hold every offer against float64, and say which there were."""
    with torch.no_grad():
        names = []
        for offer in strategies(case.region):
            made = offer.make()
            assert case.wrong(made) is None, offer.name
            names.append(offer.name)
    assert len(names) >= least
    return names


ONE_TO_THREE = draw.integers(1, 3)
CHANNELS = draw.sampled_from([1, 2, 3, 8, 17, 33])


@draw.composite
def convolutions(pick):
    """Sizes of a convolution: input, weight and the rest of ATen's arguments."""
    rank = pick(ONE_TO_THREE)
    groups = pick(draw.sampled_from([1, 1, 1, 2, 5]))
    depthwise = groups > 1 and pick(draw.booleans())
    inputs = 1 if depthwise else pick(CHANNELS)
    outputs = pick(draw.sampled_from([1, 2])) if depthwise else pick(CHANNELS)
    kernel = [pick(draw.sampled_from([1, 2, 3, 3, 5])) for _ in range(rank)]
    if rank == 2 and pick(draw.booleans()):
        kernel = pick(draw.sampled_from([[3, 3], [1, 1]]))
    is_plain = pick(draw.booleans())
    stride = [1 if is_plain else pick(ONE_TO_THREE) for _ in range(rank)]
    dilation = [1 if is_plain else pick(draw.integers(1, 2)) for _ in range(rank)]
    padding = [pick(draw.integers(0, 2)) for _ in range(rank)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [r + pick(draw.integers(0, 9)) for r in reach]
    x = (pick(ONE_TO_THREE), groups * inputs, *size)
    return x, (groups * outputs, inputs, *kernel), (stride, padding, dilation, groups)


@SAMPLED
@given(convolutions(), draw.sampled_from(DTYPES), draw.booleans(), draw.integers(0, 3))
def test_every_strategy_for_a_convolution_is_right(sizes, dtype, has_bias, after):
    x_shape, weight_shape, (stride, padding, dilation, groups) = sizes
    generator = torch.Generator().manual_seed(sum(x_shape))
    x, weight, bias = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in (x_shape, weight_shape, weight_shape[:1])
    )

    def convolve(x, weight, bias):
        zeros = [0] * len(stride)
        y = torch.ops.aten.convolution(
            x, weight, bias if has_bias else None, stride, padding, dilation, False, zeros, groups
        )
        return (y, torch.relu(y), torch.ops.aten.gelu(y), y.sigmoid() * y)[after]

    case = region_of(convolve, x, weight, bias, parameters=(1, 2))
    verify(case)


@SAMPLED
@given(
    draw.tuples(*[draw.sampled_from([1, 2, 7, 33, 70])] * 2),
    draw.sampled_from([1, 2, 5, 64, 131, 1025]),
    draw.sampled_from(DTYPES),
    draw.sampled_from(["", "bias", "residual", "both", "relu last"]),
    draw.tuples(draw.booleans(), draw.booleans()),
)
def test_every_strategy_for_a_product_is_right(shape, k, dtype, following, transposed):
    m, n = shape
    generator = torch.Generator().manual_seed(m * n + k)
    sizes = ((k, m) if transposed[0] else (m, k), (n, k) if transposed[1] else (k, n))
    a, b, bias, residual = (
        torch.randn(size, generator=generator).to(dtype) for size in (*sizes, (n,), (m, n))
    )

    def multiply(a, b, bias, residual):
        left, right = a.t() if transposed[0] else a, b.t() if transposed[1] else b
        if following in ("bias", "both"):
            y = torch.ops.aten.gelu(torch.ops.aten.addmm(bias, left, right))
        else:
            y = torch.ops.aten.mm(left, right)
        if following in ("residual", "both", "relu last"):
            y = y + residual
        return torch.relu(y) if following == "relu last" else y

    verify(region_of(multiply, a, b, bias, residual, parameters=(1, 2)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_whose_heads_lie_apart_are_read_in_place(dtype):
    def scores(q, k):
        queries = q.view(2, 9, 3, 8).transpose(1, 2).reshape(6, 9, 8)
        keys = k.view(2, 9, 3, 8).permute(0, 2, 3, 1).reshape(6, 8, 9)
        return torch.ops.aten.bmm(queries, keys)

    case = region_of(scores, torch.randn(2, 9, 24).to(dtype), torch.randn(2, 9, 24).to(dtype))
    (offer,) = strategies(case.region)
    made = offer.make()
    assert case.wrong(made) is None
    assert made.kernels == 1


def test_a_bottleneck_with_norm_residual_and_relu_is_one_launch():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24)

        def forward(self, x, residual):
            return torch.relu(self.norm(self.layer(x)) + residual)

    (case,) = cases_of(Block().eval(), torch.randn(2, 16, 7, 5), torch.randn(2, 24, 7, 5))
    launches = {offer.name: offer.make().kernels for offer in strategies(case.region)}
    assert launches["1x1 convolution as gemm"] == 1


def is_image(argument):
    return isinstance(argument, torch.Tensor) and argument.shape[:2] == (2, 16)


def test_one_plan_serves_every_batch_and_image_size():
    layer = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2)).eval()
    (case, *_) = cases_of(layer, torch.randn(2, 16, 10, 14), dynamic=True)
    names = []
    for offer in strategies(case.region):
        made = offer.make()
        for images, height, width in ((1, 6, 18), (3, 11, 7)):
            x = torch.randn(images, 16, height, width)
            arguments = [x if is_image(each) else each for each in case.arguments]
            numbers = iter((images, height, width))
            arguments = [next(numbers) if isinstance(a, int) else a for a in arguments]
            assert Case(case.region, tuple(arguments)).wrong(made) is None, offer.name
        names.append(offer.name)
    assert {"winograd 2x2", "implicit gemm", "im2col and gemm"} <= set(names)


def test_an_operand_that_must_be_computed_is_computed_before():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 16))

        def forward(self, x, gate):
            return torch.softmax((x * gate.sigmoid()) @ (self.weight * 2), -1)

    cases = cases_of(Gated(), torch.randn(6, 16), torch.randn(6, 16))
    case = next(c for c in cases if any("mm" in n.name for n in c.region.module.graph.nodes))
    assert verify(case) == ["gemm"]


def test_two_products_of_a_region_are_left_to_templates():
    case = region_of(lambda a, b: (a @ b) @ b, torch.randn(5, 5), torch.randn(5, 5))
    assert list(strategies(case.region)) == []

"""What the table of strategies offers for a region."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from metalgen.errors import UnsupportedError
from metalgen.optimize.contender import Contender, Offer, RegionGraph
from metalgen.optimize.rewritten import rewritten
from metalgen.optimize.strategies import convolution as convolutions
from metalgen.optimize.strategies import product as products
from metalgen.optimize.strategies.assembly import Frame, contender
from metalgen.optimize.strategies.convolution import Convolution
from metalgen.optimize.strategies.heavy import Heavy, channels_last, find_heavy
from metalgen.optimize.strategies.product import Product, product_of
from metalgen.optimize.strategies.steps import Following, Steps
from metalgen.proposers.builtin.capture import SizeError
from metalgen.strategy_table import Strategy, strategies_for

LAST = "1x1 convolution as gemm, channels last"
IN_PLACE = (LAST, "1x1 convolution as gemm")  # read operands in whatever order they lie
# What each strategy of the table launches; a test holds them against the table.
CONVOLUTIONS: Mapping[str, Callable[[Convolution, Following, Steps], None]] = {
    "1x1 convolution as gemm": convolutions.as_product,
    LAST: convolutions.as_product_channels_last,
    "depthwise": convolutions.depthwise,
    "winograd 2x2": partial(convolutions.winograd, 2),
    "winograd 4x4": partial(convolutions.winograd, 4),
    "implicit gemm": convolutions.implicit,
    "im2col and gemm": convolutions.im2col,
    "direct": convolutions.direct,
    "direct, ungrouped": convolutions.direct,
    "direct, depthwise volume": convolutions.direct,
}
PRODUCTS: Mapping[str, Callable[[Product, Following, Steps], None]] = {
    "gemm": products.tiles,
    "split-K gemm": products.split_tiles,
    "gemv": products.vector,
    "gemv, vector on the left": products.vector,
}


def strategies(region: RegionGraph) -> Iterator[Offer]:
    """Offers for a region around one product or convolution, in the table's order."""
    region = rewritten(region)
    heavy = find_heavy(region)
    if heavy is None:
        return
    try:
        sizes = _sizes(Frame(region, heavy))
    except (UnsupportedError, SizeError):
        return
    operator = "convolution" if heavy.is_convolution else "product"
    for strategy in strategies_for(operator, sizes):
        yield Offer(strategy.name, partial(_make, region, heavy, strategy))


def _sizes(frame: Frame) -> Mapping[str, int]:
    if not frame.heavy.is_convolution:
        return _product(frame).sizes
    return {**_convolution(frame).sizes, "channels_last": int(_lies_last(frame))}


def _lies_last(frame: Frame) -> bool:
    """Whether input and result of a convolution lie channels last."""
    if channels_last(frame.heavy, frame.region.outputs) is None:
        return False
    try:
        frame.permuted(frame.heavy.operands[0], _last(frame.heavy))
    except UnsupportedError:
        return False
    return True


def _last(heavy: Heavy) -> list[int]:
    return [0, *range(2, heavy.node.meta["val"].dim()), 1]


def _make(region: RegionGraph, heavy: Heavy, strategy: Strategy) -> Contender:
    """The region by one strategy; UnsupportedError where it cannot be launched that way."""
    order = None
    if strategy.name == LAST and (longer := channels_last(heavy, region.outputs)) is not None:
        order, heavy = _last(heavy), longer
    frame = Frame(region, heavy)
    steps = Steps(heavy.end.name)
    try:
        following = frame.following(order)
        if heavy.is_convolution:
            in_place = strategy.name in IN_PLACE
            CONVOLUTIONS[strategy.name](_convolution(frame, in_place), following, steps)
        else:
            PRODUCTS[strategy.name](_product(frame), following, steps)
        return contender(frame, strategy.name, steps)
    except SizeError as error:
        raise UnsupportedError(f"not supported: {error}") from error


def _convolution(frame: Frame, in_place: bool = False) -> Convolution:
    """`in_place`: operands may lie in another order than their own."""
    node, read = frame.heavy.node, frame.operand if in_place else frame.ordered
    x, weight = frame.heavy.operands
    stride, padding, dilation, groups = (node.args[at] for at in (3, 4, 5, 8))
    assert isinstance(groups, int)
    return Convolution(
        read(x),
        read(weight),
        frame.capture.shape_of(node),
        _numbers(stride),
        _numbers(padding),
        _numbers(dilation),
        groups,
        x.meta["val"],
    )


def _numbers(given: object) -> tuple[int, ...]:
    assert isinstance(given, Sequence)
    return tuple(int(each) for each in given)


def _product(frame: Frame) -> Product:
    """Operands are read where they lie, in order where the kernels cannot follow."""
    left, right = frame.heavy.operands
    like = left.meta["val"]
    try:
        return product_of(frame.operand(left), frame.operand(right), like)
    except UnsupportedError:
        return product_of(frame.ordered(left), frame.ordered(right), like)

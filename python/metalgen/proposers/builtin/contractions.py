"""Matrix products and convolutions, each as one product over index functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from metalgen.proposers.builtin.division import flatten, unflatten
from metalgen.proposers.builtin.expressions import (
    Constant,
    Expr,
    IndexValue,
    apply,
    convert,
    number,
)
from metalgen.proposers.builtin.gathers import all_of, guarded, inside
from metalgen.proposers.builtin.graph import pointwise, reshaped
from metalgen.proposers.builtin.indexing import Index, product
from metalgen.proposers.builtin.reductions import broadcast_channels
from metalgen.proposers.builtin.registry import Call, Result, fixed, lowers
from metalgen.proposers.builtin.split import split_reduction
from metalgen.proposers.builtin.tensors import (
    AxisNames,
    Idx,
    Matmul,
    Pointwise,
    Read,
    Reduction,
    Stored,
    Tensor,
    View,
    base,
    positions,
)
from metalgen.proposers.builtin.variants import uses_tiles

# Below this a tile of the matrix product would be mostly empty: a reduction per element is better.
SMALL = 8


def matrix_product(name: str, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """left [..., m, k] times right [..., k, n]; few rows or columns become row reductions."""
    *batch, m, depth = left.shape
    n = right.shape[-1]
    shape = (*batch, m, n)
    if min(m.hint, n.hint) < SMALL or not uses_tiles():
        return _as_reduction(name, left, right, shape, dtype)
    right = packed(right)
    return Matmul(
        name,
        shape,
        dtype,
        depth=depth,
        sources=(left, right),
        left=lambda index, read: convert(read(left, index), "float"),
        right=lambda index, read: convert(read(right, index), "float"),
        label="matmul",
    )


def packed(right: Tensor) -> Tensor:
    """`right`, or where it is a transposed parameter a copy laid out as a product reads it.

    The copy is made once, when the module's parameters are given.
    """
    source = base(right)
    if not isinstance(source, Stored) or not source.is_parameter or len(right.shape) != 2:
        return right
    k, n = AxisNames().fresh(right.shape)
    if _place(right, positions((k, n))).coefficient(k) != 1 or n.extent.hint < SMALL:
        return right
    copy = pointwise(
        f"{source.name}_packed", right.shape, right.dtype, [right], lambda x: x, label="pack"
    )
    copy.keep = True
    return copy


def _place(tensor: Tensor, index: Idx) -> Index:
    """Where in memory an element of a view of a stored tensor lies."""
    while isinstance(tensor, View):
        index, tensor = tensor.transform(index), tensor.source
    return flatten(index, tensor.shape)


def _as_reduction(
    name: str, left: Tensor, right: Tensor, shape: Idx, dtype: torch.dtype
) -> Reduction:
    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        *batch, row, column = outer
        a = read(left, (*batch, row, *inner))
        b = read(right, (*batch, *inner, column))
        return apply("mul", convert(a, "float"), convert(b, "float"))

    return split_reduction(
        Reduction(
            name,
            shape,
            dtype,
            kind="sum",
            inner=(left.shape[-1],),
            sources=(left, right),
            body=body,
            label="matmul",
        )
    )


@lowers("mm", "bmm")
def lower_mm(call: Call) -> Result:
    return matrix_product(call.name, call.args[0], call.args[1], call.dtype)


@lowers("mv", "dot", "vdot")
def lower_mv(call: Call) -> Result:
    left, right = call.args
    rows = reshaped(left, (product(left.shape[:-1]), left.shape[-1]))
    column = reshaped(right, (*right.shape, Index.of(1)))
    return reshaped(matrix_product(call.name, rows, column, call.dtype), call.shape)


@lowers("addmm", "baddbmm", "addmv")
def lower_addmm(call: Call) -> Result:
    bias, left, right = call.args
    if len(right.shape) == 1:
        right = reshaped(right, (*right.shape, Index.of(1)))
        shape = (*call.shape, Index.of(1))
        result = matrix_product(call.name, left, right, torch.float32)
        return _with_bias(call, reshaped(result, shape[:-1]), bias)
    return _with_bias(
        call, matrix_product(f"{call.name}_product", left, right, torch.float32), bias
    )


def _with_bias(call: Call, result: Tensor, bias: Tensor) -> Tensor:
    alpha, beta = call.kwargs.get("alpha", 1), call.kwargs.get("beta", 1)

    def function(value: Expr, added: Expr) -> Expr:
        value = value if alpha == 1 else apply("mul", number(float(alpha)), value)
        added = convert(added, "float")
        added = added if beta == 1 else apply("mul", number(float(beta)), added)
        return apply("add", value, added)

    operands = [result, bias]
    return pointwise(call.name, call.shape, call.dtype, operands, function, label="bias")


@dataclass(frozen=True)
class Window:
    """How a convolution's window lies over one spatial dimension."""

    size: int
    stride: int
    padding: int
    dilation: int

    def place(self, output: Index, offset: Index) -> Index:
        """The input coordinate under the window's `offset` at an output coordinate."""
        return output * self.stride + offset * self.dilation - self.padding


def windows(kernel: Sequence[int | Index], *settings: Sequence[int]) -> tuple[Window, ...]:
    """One window per spatial dimension; short settings are repeated."""
    rank = len(kernel)
    columns = [list(values) * (rank if len(values) == 1 else 1) for values in settings]
    return tuple(
        Window(fixed(size, "a window"), *(fixed(column[i], "a window") for column in columns))
        for i, size in enumerate(kernel)
    )


@lowers("convolution", "_convolution")
def lower_convolution(call: Call) -> Result:
    source, weight, bias, stride, padding, dilation, transposed, _, groups = call.args[:9]
    window = windows(weight.shape[2:], stride, padding, dilation)
    kernel = _Convolution(call, source, weight, window, groups, bool(transposed))
    result = kernel.lower()
    if bias is None:
        return result
    channels = broadcast_channels(bias, len(call.shape))

    def add(value: Expr, added: Expr) -> Expr:
        return apply("add", value, added)

    return pointwise(call.name, call.shape, call.dtype, [result, channels], add, label="bias")


@dataclass(frozen=True)
class _Convolution:
    """out[n, c, o] = sum over input channels and window of x[n, channel, place(o)] * weight."""

    call: Call
    source: Tensor
    weight: Tensor
    window: tuple[Window, ...]
    groups: int
    transposed: bool

    def lower(self) -> Tensor:
        outputs = self.call.shape[1] // self.groups
        space = product(self.call.shape[2:])
        small = min(outputs.hint, space.hint, self._window_depth.hint) < SMALL
        if small or not uses_tiles():
            return self._direct()
        return self._as_matmul(outputs, space)

    @property
    def _inputs(self) -> Index:
        return self.source.shape[1] // self.groups

    @property
    def _window_shape(self) -> Idx:
        return (self._inputs, *(Index.of(window.size) for window in self.window))

    @property
    def _window_depth(self) -> Index:
        return product(self._window_shape)

    def _as_matmul(self, outputs: Index, space: Index) -> Tensor:
        """Weights [outputs, depth] times gathered input [depth, places], for each n and group."""
        batch = self.call.shape[0]
        shape = (batch, Index.of(self.groups), outputs, space)

        def left(index: Idx, read: Read) -> Expr:
            _, group, channel, depth = index
            channel_in, *offset = unflatten(depth, self._window_shape)
            return self._weight(group, channel, channel_in, tuple(offset), read)

        def right(index: Idx, read: Read) -> Expr:
            n, group, depth, place = index
            channel_in, *offset = unflatten(depth, self._window_shape)
            output = unflatten(place, self.call.shape[2:])
            return self._input(n, group, channel_in, output, tuple(offset), read)

        result = Matmul(
            f"{self.call.name}_product",
            shape,
            torch.float32,
            depth=self._window_depth,
            sources=(self.weight, self.source),
            left=left,
            right=right,
            label="conv",
        )
        return reshaped(result, self.call.shape)

    def _direct(self) -> Tensor:
        """One sum per output element: for few channels, as in depthwise convolutions."""
        outputs = self.call.shape[1] // self.groups

        def body(outer: Idx, inner: Idx, read: Read) -> Expr:
            n, channel, *output = outer
            channel_in, *offset = inner
            group, within = channel // outputs, channel % outputs
            weight = self._weight(group, within, channel_in, tuple(offset), read)
            value = self._input(n, group, channel_in, tuple(output), tuple(offset), read)
            return apply("mul", weight, value)

        return Reduction(
            f"{self.call.name}_product",
            self.call.shape,
            torch.float32,
            kind="sum",
            inner=self._window_shape,
            sources=(self.weight, self.source),
            body=body,
            overlaps=True,
            label="conv",
        )

    def _weight(
        self, group: Index, channel: Index, channel_in: Index, offset: Idx, read: Read
    ) -> Expr:
        outputs = self.call.shape[1] // self.groups
        if self.transposed:
            place = (group * self._inputs + channel_in, channel, *offset)
        else:
            place = (group * outputs + channel, channel_in, *offset)
        return convert(read(self.weight, place), "float")

    def _input(
        self, n: Index, group: Index, channel_in: Index, output: Idx, offset: Idx, read: Read
    ) -> Expr:
        locate: Callable[..., tuple[Idx, list[Expr]]]
        locate = self._transposed_place if self.transposed else self._place
        place, tests = locate(output, offset)
        value = read(self.source, (n, group * self._inputs + channel_in, *place))
        return guarded(all_of(tests), convert(value, "float"), number(0.0))

    def _place(self, output: Idx, offset: Idx) -> tuple[Idx, list[Expr]]:
        places: list[Index] = []
        tests: list[Expr] = []
        for window, o, k, size in zip(
            self.window, output, offset, self.source.shape[2:], strict=True
        ):
            place = window.place(o, k)
            test = inside(place, size) if window.padding else None
            places.append(place)
            tests += [test] if test is not None else []
        return tuple(places), tests

    def _transposed_place(self, output: Idx, offset: Idx) -> tuple[Idx, list[Expr]]:
        """Where output o got input from: i with i * stride = o + padding - offset * dilation."""
        places: list[Index] = []
        tests: list[Expr] = []
        for window, o, k, size in zip(
            self.window, output, offset, self.source.shape[2:], strict=True
        ):
            # Multiples of the stride are added so that nothing divided is below zero.
            extra = math.ceil(window.dilation * (window.size - 1) / window.stride)
            shifted = o + window.padding + extra * window.stride - k * window.dilation
            rest = shifted % window.stride
            place = shifted // window.stride - extra
            places.append(place)
            if rest != 0:
                zero = Constant("uint", 0)
                tests.append(apply("eq", IndexValue("uint", rest), zero, type_="bool"))
            test = inside(place, size)
            tests += [test] if test is not None else []
        return tuple(places), tests


def windowed(
    call: Call,
    source: Tensor,
    window: tuple[Window, ...],
    kind: str,
    outside: Expr,
    *,
    shape: Idx,
    ragged: bool = False,
) -> Reduction:
    """`kind` over the window of each output place of the trailing dimensions, as pooling does."""
    lead = len(source.shape) - len(window)

    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        tests: list[Expr] = []
        places: list[Index] = []
        for w, o, k, size in zip(window, outer[lead:], inner, source.shape[lead:], strict=True):
            place = w.place(o, k)
            test = inside(place, size) if w.padding or ragged else None
            places.append(place)
            tests += [test] if test is not None else []
        value = read(source, (*outer[:lead], *places))
        return guarded(all_of(tests), value, outside)

    return Reduction(
        call.name,
        shape,
        source.dtype,
        kind=kind,
        inner=tuple(Index.of(w.size) for w in window),
        sources=(source,),
        body=body,
        overlaps=True,
        label=call.name.removesuffix("_with_indices"),
    )


def scaled(call: Call, total: Tensor, shape: Idx, factor: Callable[[Idx], Expr]) -> Pointwise:
    """total * factor(place)"""

    def body(index: Idx, read: Read) -> Expr:
        return apply("mul", read(total, index), factor(index))

    return Pointwise(call.name, shape, total.dtype, (total,), body, cost=1)

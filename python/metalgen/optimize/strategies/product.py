"""Matrix products by the library's kernels: tiles, tiles that split the sum, matrix and vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from metalgen.errors import UnsupportedError
from metalgen.kernel_table import Variant, family
from metalgen.ops.arguments import DTYPES
from metalgen.ops.library import ceil_div
from metalgen.optimize.strategies.steps import (
    SIMDGROUP,
    Following,
    Steps,
    chosen,
    covering,
    number,
    struct,
    times,
)
from metalgen.optimize.strategies.strided import Dimension, Strided
from metalgen.proposers.builtin.indexing import ONE, ZERO, Index

_COLUMNS_OF_GROUP = 128  # of gemv_columns, as in metal/gemv.metal


@dataclass(frozen=True)
class Matrices:
    """An operand as kernels read it: lines of `pitch` elements, two levels of batches."""

    name: str
    transposed: bool
    pitch: Index
    outer: Index
    inner: Index
    row_stride: Index
    column_stride: Index


@dataclass(frozen=True)
class Product:
    """c = a b in `outer` x `inner` batches; `like` has the operands' dtype and device."""

    a: Matrices
    b: Matrices
    outer: Index
    inner: Index
    m: Index
    n: Index
    k: Index
    like: torch.Tensor
    bias_along: int = 1  # 0: an entry for each row of the result, 1: for each column

    @property
    def batch(self) -> Index:
        """How many products there are."""
        return self.outer * self.inner

    @property
    def sizes(self) -> Mapping[str, int]:
        """As the table of strategies names them."""
        return {
            "batch": self.batch.hint,
            "m": self.m.hint,
            "n": self.n.hint,
            "k": self.k.hint,
        }


def product_of(left: Strided, right: Strided, like: torch.Tensor, bias_along: int = 1) -> Product:
    """The product of (batch, m, k) or (m, k) with (batch, k, n) or (k, n), read in place.

    Raises UnsupportedError where the kernels cannot follow the strides.
    """
    m, k, n = left.size(-2), left.size(-1), right.size(-1)
    dimensions = [x.dimensions[0] if len(x.dimensions) == 3 else () for x in (left, right)]
    batch = left.size(0) if len(left.dimensions) == 3 else ONE
    if batch == ONE and len(right.dimensions) == 3:
        batch = right.size(0)
    (outer, inner), steps = _batches(dimensions[0], dimensions[1], batch)
    a = _matrices(left, *steps[0])
    b = _matrices(right, *steps[1])
    return Product(a, b, outer, inner, m, n, k, like, bias_along)


def _matrices(x: Strided, outer: Index, inner: Index) -> Matrices:
    down, across = x.stride(-2), x.stride(-1)
    rows, columns = x.size(-2), x.size(-1)
    if down is None or across is None:
        raise UnsupportedError(f"not supported: '{x.name}' has no one stride along its matrices")
    if across == 1 or columns == 1:
        pitch = down if rows != 1 else columns
        return Matrices(x.name, False, pitch, outer, inner, down, across)
    if down == 1 or rows == 1:
        pitch = across if columns != 1 else rows
        return Matrices(x.name, True, pitch, outer, inner, down, across)
    raise UnsupportedError(f"not supported: neither rows nor columns of '{x.name}' are contiguous")


_Steps = tuple[Index, Index]


def _batches(
    left: Dimension, right: Dimension, batch: Index
) -> tuple[tuple[Index, Index], tuple[_Steps, _Steps]]:
    """Batches in two levels, and each operand's strides along them."""
    whole = max((left, right), key=len)
    if len(whole) > 2:
        raise UnsupportedError("not supported: batches with more than two strides")
    if len(whole) < 2:
        steps = [factors[0][1] if factors else ZERO for factors in (left, right)]
        return (ONE, batch), ((ZERO, steps[0]), (ZERO, steps[1]))
    sizes = (whole[0][0], whole[1][0])
    return sizes, (_split(left, sizes), _split(right, sizes))


def _split(factors: Dimension, sizes: tuple[Index, Index]) -> _Steps:
    if not factors:
        return ZERO, ZERO
    if len(factors) == 1:
        return factors[0][1] * sizes[1], factors[0][1]
    if (factors[0][0], factors[1][0]) != sizes:
        raise UnsupportedError("not supported: batches that are divided in two ways")
    return factors[0][1], factors[1][1]


def tiles(product: Product, following: Following, steps: Steps) -> None:
    """Tiles of the result, each the work of a threadgroup."""
    variant = chosen("gemm", product.like, (product.m, product.n, product.k))
    if variant["splits"] > 1:  # a strategy of its own
        variant = next(v for v in family("gemm").variants if _same_tiles(v, variant))
    _launch_tiles(product, following, steps, variant, product.k, None)


def split_tiles(product: Product, following: Following, steps: Steps) -> None:
    """The same with parts of each sum added by different threadgroups, and joined."""
    variant = chosen("gemm", product.like, (product.m, product.n, product.k))
    if variant["splits"] == 1:
        variant = _split_variant(variant)
    depth, splits = variant["depth"], variant["splits"]
    part = Index.of(ceil_div(ceil_div(product.k.hint, splits), depth) * depth)
    name = steps.buffer("parts", "float32", _covered(product.k, part), product.m, product.n)
    _launch_tiles(product, following, steps, variant, part, name)
    join(product, following, steps, name, covering(product.k, part.hint))


def _covered(size: Index, part: Index) -> Index:
    return (size + part - 1) // part


def _same_tiles(one: Variant, other: Variant) -> bool:
    return one.instance == other.instance and one["splits"] == 1


def _split_variant(variant: Variant) -> Variant:
    """The same tiles in eight parts; the table lists the splits that the tuner tries."""
    return Variant(variant.name, variant.instance, {**variant.values, "splits": 8})


def _launch_tiles(
    product: Product,
    following: Following,
    steps: Steps,
    variant: Variant,
    part: Index,
    parts: str | None,
) -> None:
    a, b = product.a, product.b
    is_split = parts is not None
    splits = covering(product.k, part.hint) if is_split else 1
    batch = number(product.batch)
    along = (int(product.bias_along == 0), int(product.bias_along == 1))
    # An argument that the kernel has not in this form is named all the same.
    unused = parts if parts is not None else steps.buffer("no_parts", "float32", 1)
    shape = struct(
        *(("uint", value) for value in (product.m, product.n, product.k, a.pitch, b.pitch)),
        ("uint", part),
        ("uint", product.inner),
        ("int", following.activation),
        ("uint", along[0]),
        ("uint", along[1]),
        *(("ulong", value) for value in (a.outer, a.inner, b.outer, b.inner)),
    )
    steps.launch(
        following.kernel("gemm", variant),
        [a.name, b.name, *following.given, following.result, unused, shape],
        threadgroups=[
            covering(product.n, variant["columns"]),
            covering(product.m, variant["rows"]),
            f"({batch}) * ({splits})" if is_split else batch,
        ],
        group_size=[SIMDGROUP * variant["down"] * variant["across"], 1, 1],
        constants=following.flags
        | {"a_transposed": a.transposed, "b_transposed": b.transposed, "is_split": is_split},
    )


def join(
    product: Product, following: Following, steps: Steps, parts: str, splits: int | str
) -> None:
    """Adds the parts up and applies what follows."""
    along = (int(product.bias_along == 0), int(product.bias_along == 1))
    shape = struct(
        ("uint", product.m),
        ("uint", product.n),
        ("uint", splits),
        ("int", following.activation),
        ("uint", along[0]),
        ("uint", along[1]),
    )
    steps.launch(
        f"gemm_join_{DTYPES[following.dtype]}",
        [parts, *following.given, following.result, shape],
        threads=[product.n, product.m, product.batch],
        group_size=[256, 1, 1],
        constants=following.flags,
    )


def vector(product: Product, following: Following, steps: Steps) -> None:
    """A matrix times a vector; the vector may be the left operand, as a row."""
    is_left = product.n == 1
    if not is_left and product.m != 1:
        raise UnsupportedError("not supported: neither operand is a vector for every size")
    matrix, given = (product.a, product.b) if is_left else (product.b, product.a)
    by_rows = matrix.transposed != is_left  # whether its lines are what the results are sums along
    count = times(product.m, product.n)
    step = given.row_stride if is_left else given.column_stride
    name = "gemv_rows" if by_rows else "gemv_columns"
    variant = chosen(name, product.like, (count, product.k))
    group = variant["rows"] * variant["simdgroups"] if by_rows else _COLUMNS_OF_GROUP
    shape = struct(
        *(("uint", value) for value in (count, product.k, matrix.pitch, step, product.inner)),
        ("int", following.activation),
        ("uint", int(product.bias_along == (0 if is_left else 1))),
        *(("ulong", v) for v in (matrix.outer, matrix.inner, given.outer, given.inner)),
    )
    steps.launch(
        following.kernel(name, variant),
        [matrix.name, given.name, *following.given, following.result, shape],
        threadgroups=[covering(count, group), product.batch],
        group_size=[SIMDGROUP * variant["simdgroups"], 1],
        constants=following.flags,
    )

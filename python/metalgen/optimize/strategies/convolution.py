"""Convolutions by the library's kernels, a function for each strategy of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from metalgen.errors import UnsupportedError
from metalgen.kernel_table import family
from metalgen.ops.arguments import DTYPES
from metalgen.optimize.strategies.product import product_of, tiles
from metalgen.optimize.strategies.steps import (
    SIMDGROUP,
    Following,
    Steps,
    chosen,
    covering,
    struct,
    times,
)
from metalgen.optimize.strategies.strided import Strided, in_order, reshaped
from metalgen.proposers.builtin.indexing import Index

_GROUP = 64  # threads of a transform
_MOST_TAPS = 1 << 21  # as quotient() in metal/convolution.metal counts


@dataclass(frozen=True)
class Convolution:
    """x (images, groups * channels, *size), weight (groups * outputs, channels, *kernel)."""

    x: Strided
    weight: Strided
    result: tuple[Index, ...]  # its shape
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    like: torch.Tensor

    @property
    def images(self) -> Index:
        return self.result[0]

    @property
    def channels(self) -> Index:
        """Input channels of a group."""
        return self.weight.size(1)

    @property
    def outputs(self) -> Index:
        """Output channels of a group."""
        return self.result[1] // self.groups

    @property
    def kernel(self) -> tuple[Index, ...]:
        return tuple(self.weight.size(2 + axis) for axis in range(len(self.stride)))

    @property
    def size(self) -> tuple[Index, ...]:
        """Of the input, without images and channels."""
        return tuple(self.x.size(2 + axis) for axis in range(len(self.stride)))

    @property
    def positions(self) -> Index:
        """Of the result, in each image."""
        return times(*self.result[2:])

    @property
    def taps(self) -> Index:
        """Terms of each sum."""
        return times(self.channels, *self.kernel)

    @property
    def sizes(self) -> Mapping[str, int]:
        """As the table of strategies names them."""
        kernel = [size.hint for size in self.kernel]
        return {
            "dimensions": len(kernel),
            "kernel": times(*self.kernel).hint,
            "kernel_height": kernel[-2] if len(kernel) > 1 else 1,
            "kernel_width": kernel[-1],
            "stride": max(self.stride),
            "padding": max(self.padding),
            "dilation": max(self.dilation),
            "groups": self.groups,
            "channels": self.channels.hint,
            "outputs": self.outputs.hint,
            "positions": self.positions.hint,
            "images": self.images.hint,
        }

    def in_memory_order(self) -> Convolution:
        """Itself, whose operands lie in order; raises UnsupportedError where they do not."""
        for operand in (self.x, self.weight):
            if not operand.is_in_order:
                raise UnsupportedError(f"not supported: '{operand.name}' is not in order")
        return self

    def along(
        self, values: Sequence[Index] | Sequence[int], missing: int, count: int
    ) -> list[Index]:
        """One value for each of `count` dimensions; those that there are not come first."""
        return [Index.of(missing)] * (count - len(values)) + [Index.of(value) for value in values]


def as_product(given: Convolution, following: Following, steps: Steps) -> None:
    """Windows of one element: weights times each image, read where it lies."""
    outputs, channels = given.result[1], given.channels
    left = reshaped(given.weight, (outputs, channels))
    right = reshaped(given.x, (given.images, channels, given.positions))
    if left is None or right is None:
        raise UnsupportedError("not supported: the planes of the input have no one stride")
    tiles(product_of(left, right, given.like, bias_along=0), following, steps)


def as_product_channels_last(given: Convolution, following: Following, steps: Steps) -> None:
    """Windows of one element where channels lie last: all images times the turned weights."""
    outputs, channels = given.result[1], given.channels
    images, depth, *positions = given.x.dimensions
    pixels = Strided(given.x.name, (images, *positions, depth))
    left = reshaped(pixels, (times(given.images, given.positions), channels))
    weight = reshaped(given.weight, (outputs, channels))
    if left is None or weight is None:
        raise UnsupportedError("not supported: the channels of the input do not lie last")
    right = Strided(weight.name, weight.dimensions[::-1])
    tiles(product_of(left, right, given.like), following, steps)


def implicit(given: Convolution, following: Following, steps: Steps) -> None:
    """A product with windows that are gathered tile by tile."""
    if given.taps.hint >= _MOST_TAPS:
        raise UnsupportedError(f"not supported: {given.taps.hint} terms in each sum")
    variant = chosen("convolution", given.like, (given.outputs, given.positions, given.taps))
    steps.launch(
        following.kernel("convolution", variant),
        [given.x.name, given.weight.name, *following.given, following.result,
         _plane_shape(given.in_memory_order(), following)],
        threadgroups=[
            covering(given.positions, variant["columns"]),
            covering(given.outputs, variant["rows"]),
            given.images * given.groups,
        ],
        group_size=[SIMDGROUP * variant["down"] * variant["across"], 1, 1],
        constants=following.flags,
    )  # fmt: skip


def depthwise(given: Convolution, following: Following, steps: Steps) -> None:
    """A thread for each result, in planes."""
    height, width = given.along(given.result[2:], 1, 2)
    variant = chosen("convolution_direct", given.like, (width, height, given.taps))
    steps.launch(
        following.kernel("convolution_direct", None),
        [given.x.name, given.weight.name, *following.given, following.result,
         _plane_shape(given.in_memory_order(), following)],
        threads=[width, height, given.images * given.result[1]],
        group_size=[variant["across"], variant["down"], 1],
        constants=following.flags,
    )  # fmt: skip


def direct(given: Convolution, following: Following, steps: Steps) -> None:
    """A thread for each result, in volumes."""
    depth, height, width = given.along(given.result[2:], 1, 3)
    steps.launch(
        f"volume_direct_{DTYPES[following.dtype]}",
        [given.x.name, given.weight.name, *following.given, following.result,
         _volume_shape(given.in_memory_order(), following)],
        threads=[width, depth * height, given.images * given.result[1]],
        group_size=[16, 8, 1],
        constants=following.flags,
    )  # fmt: skip


def im2col(given: Convolution, following: Following, steps: Steps) -> None:
    """The windows in memory as the columns of a matrix, and a product."""
    dtype = DTYPES[following.dtype]
    shape = (given.images, given.taps, given.positions)
    windows = steps.buffer("windows", dtype, *shape)
    steps.launch(
        f"volume_patches_{dtype}",
        [given.x.name, windows, _volume_shape(given.in_memory_order(), following)],
        threads=[given.positions, given.taps, given.images],
        group_size=[_GROUP, 1, 1],
    )
    weight = in_order(given.weight.name, (given.result[1], given.taps))
    right = in_order(windows, shape)
    tiles(product_of(weight, right, given.like, bias_along=0), following, steps)


def winograd(tile: int, given: Convolution, following: Following, steps: Steps) -> None:
    """Tiles of tile x tile results by minimal filtering; between the transforms all is float32."""
    given.in_memory_order()
    variant = family("winograd").variant(str(tile))
    points = Index.of((tile + 2) ** 2)
    outputs, channels = given.result[1], given.channels
    down, across = (_covered(size, tile) for size in given.result[2:])
    count = times(given.images, down, across)
    sizes = (channels, outputs, *given.size, *given.result[2:], down, across, count)
    shape = struct(
        *(("uint", size) for size in sizes),
        *(("int", pad) for pad in given.padding),
        ("int", following.activation),
    )
    kernels = steps.buffer("kernels", "float32", points, outputs, channels)
    taken = steps.buffer("taken", "float32", points, channels, count)
    products = steps.buffer("products", "float32", points, outputs, count)
    steps.launch(
        following.kernel("winograd", variant, stage="weights"),
        # Of the shape this kernel reads the channels alone: open sizes would keep it from `once`.
        [given.weight.name, kernels, _weights_shape(channels, outputs)],
        threads=[outputs * channels],
        group_size=[_GROUP],
    )
    steps.launch(
        following.kernel("winograd", variant, stage="input"),
        [given.x.name, taken, shape],
        threads=[count, channels],
        group_size=[_GROUP, 1],
    )
    like = given.like.to(torch.float32)
    batches = product_of(
        in_order(kernels, (points, outputs, channels)),
        in_order(taken, (points, channels, count)),
        like,
    )
    plain = Following(products, None, None, 0, torch.float32)
    tiles(batches, plain, steps)
    steps.launch(
        following.kernel("winograd", variant, stage="output"),
        [products, *following.given, following.result, shape],
        threads=[count, outputs],
        group_size=[_GROUP, 1],
        constants=following.flags,
    )


def _weights_shape(channels: Index, outputs: Index) -> dict[str, object]:
    rest = [("uint", 0)] * 7 + [("int", 0)] * 3
    return struct(("uint", channels), ("uint", outputs), *rest)


def _covered(size: Index, step: int) -> Index:
    return (size + step - 1) // step


def _plane_shape(given: Convolution, following: Following) -> dict[str, object]:
    """ConvolutionShape of metal/convolution.metal; lines are planes of one line."""
    planes = [
        *given.along(given.size, 1, 2),
        *given.along(given.result[2:], 1, 2),
        *given.along(given.kernel, 1, 2),
        *given.along(given.stride, 1, 2),
    ]
    return struct(
        ("uint", given.groups),
        ("uint", given.channels),
        ("uint", given.outputs),
        *(("uint", size) for size in planes),
        *(("int", pad) for pad in given.along(given.padding, 0, 2)),
        *(("uint", step) for step in given.along(given.dilation, 1, 2)),
        ("int", following.activation),
    )


def _volume_shape(given: Convolution, following: Following) -> dict[str, object]:
    """VolumeShape of metal/volume.metal."""
    return struct(
        ("uint", given.groups),
        ("uint", given.channels),
        ("uint", given.outputs),
        ("uint", given.along(given.size, 1, 3)),
        ("uint", given.along(given.result[2:], 1, 3)),
        ("uint", given.along(given.kernel, 1, 3)),
        ("uint", given.along(given.stride, 1, 3)),
        ("int", given.along(given.padding, 0, 3)),
        ("uint", given.along(given.dilation, 1, 3)),
        ("int", following.activation),
    )

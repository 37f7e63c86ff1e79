"""Halide's pipelines: arithmetic of every type, and schedules that tile, vectorise and share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIZE = (24, 48)
_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
_FLOATS = ("float32", "float16")
_FUNCTIONS = "sin cos tan atan sinh cosh tanh exp floor ceil round trunc abs".split()


@dataclass(frozen=True, slots=True)
class Case:
    """`make` builds the pipeline from one parameter for each input, scheduled for a GPU or not."""

    name: str
    inputs: tuple[NDArray[Any], ...]
    make: Callable[..., Any]
    shape: tuple[int, ...]

    def parameters(self, hl: Any) -> list[Any]:
        """Halide's parameters for the inputs."""
        return [
            hl.ImageParam(_type(hl, a.dtype), a.ndim, f"in{i}") for i, a in enumerate(self.inputs)
        ]


def cases(hl: Any) -> Iterator[Case]:
    """All, in a fixed order with fixed inputs."""
    random = np.random.default_rng(0)
    for name in (*_INTEGERS, *_FLOATS):
        x, y = _input(random, name), _input(random, name)
        for text, expression in _arithmetic(hl, name):
            for width in (1, 2, 4):
                yield _pointwise(hl, f"{text} {name} x{width}", expression, (x, y), width)
        for target in (*_INTEGERS, *_FLOATS):
            if name != target and not (name in _FLOATS and target in _INTEGERS):
                type_ = _type(hl, np.dtype(target))
                small = (x % 100).astype(name) if target in _FLOATS else x
                yield _pointwise(
                    hl, f"{name} to {target}", lambda p, t=type_: hl.cast(t, p), (small,), 4
                )
    for text in _FUNCTIONS:
        function = getattr(hl, text)
        yield _pointwise(hl, text, function, (_input(random, "float32"),), 1)
        yield _pointwise(hl, f"{text} x4", function, (_input(random, "float32"),), 4)
    yield from _pipelines(hl, random)


def _type(hl: Any, dtype: np.dtype[Any]) -> Any:
    make = {"f": hl.Float, "i": hl.Int, "u": hl.UInt}[dtype.kind]
    return make(dtype.itemsize * 8)


def _input(random: np.random.Generator, name: str) -> NDArray[Any]:
    if name in _FLOATS:
        return random.standard_normal(_SIZE).astype(name)
    limits = np.iinfo(name)
    return random.integers(limits.min, limits.max, _SIZE, dtype=name, endpoint=True)


def _arithmetic(hl: Any, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield "add", lambda p, q: p + q
    yield "multiply", lambda p, q: p * q
    yield "maximum", lambda p, q: hl.max(p, q)
    yield "select", lambda p, q: hl.select(p < q, p * 2, q)
    yield "distance", lambda p, q: hl.absd(p, q)
    if name in _INTEGERS:
        type_ = _type(hl, np.dtype(name))
        yield "divide", lambda p, q: p / hl.cast(type_, 7) + q
        yield "remainder", lambda p, q: p % hl.cast(type_, 7)
        yield "shift", lambda p, q: (p << hl.cast(type_, 3)) ^ (q >> hl.cast(type_, 2))


def _pointwise(
    hl: Any,
    name: str,
    expression: Callable[..., Any],
    inputs: tuple[NDArray[Any], ...],
    width: int,
) -> Case:
    def make(is_gpu: bool, *parameters: Any) -> Any:
        x, y, xo, yo, xi, yi = (hl.Var(n) for n in ("x", "y", "xo", "yo", "xi", "yi"))
        f = hl.Func("f")
        f[x, y] = expression(*[p[x, y] for p in parameters])
        if is_gpu:
            f.gpu_tile(x, y, xo, yo, xi, yi, 16, 8)
            if width > 1:
                f.vectorize(xi, width)
        return f

    return Case(name, inputs, make, _SIZE)


def _pipelines(hl: Any, random: np.random.Generator) -> Iterator[Case]:
    x, y, xo, yo, xi, yi = (hl.Var(n) for n in ("x", "y", "xo", "yo", "xi", "yi"))
    tail = hl.TailStrategy.GuardWithIf

    def blur(is_gpu: bool, image: Any) -> Any:
        edge = hl.BoundaryConditions.repeat_edge(image)
        rows, both = hl.Func("rows"), hl.Func("both")
        rows[x, y] = edge[x - 1, y] + edge[x, y] + edge[x + 1, y]
        both[x, y] = rows[x, y - 1] + rows[x, y] + rows[x, y + 1]
        if is_gpu:
            both.gpu_tile(x, y, xo, yo, xi, yi, 16, 8, tail)
            rows.compute_at(both, xo).gpu_threads(x, y)
        return both

    def transpose(is_gpu: bool, image: Any) -> Any:
        held, turned = hl.Func("held"), hl.Func("turned")
        held[x, y] = image[x, y] * 2
        turned[x, y] = held[y, x]
        if is_gpu:
            turned.gpu_tile(x, y, xo, yo, xi, yi, 8, 8, tail)
            held.compute_at(turned, xo).gpu_threads(x, y).store_in(hl.MemoryType.GPUShared)
        return turned

    def scan(is_gpu: bool, image: Any) -> Any:
        sums, r = hl.Func("sums"), hl.RDom([(1, _SIZE[1] - 1)])
        sums[x, y] = image[x, y]
        sums[r.x, y] = sums[r.x, y] + sums[r.x - 1, y]
        if is_gpu:
            sums.gpu_tile(x, y, xo, yo, xi, yi, 16, 8)
            sums.update().gpu_tile(y, yo, yi, 8)
        return sums

    for name in ("int32", "float32", "uint16"):
        image = _input(random, name)
        yield Case(f"blur {name}", (image,), blur, _SIZE)
        yield Case(f"transpose {name}", (image,), transpose, _SIZE[::-1])
        yield Case(f"scan {name}", (image,), scan, _SIZE)

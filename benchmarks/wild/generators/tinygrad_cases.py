"""What tinygrad computes: each case as it is written for tinygrad, and for PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
# Of products in 16 bits that are summed in another order.
_SUMS = {torch.float32: (1e-3, 1e-3), torch.float16: (2e-2, 0.15), torch.bfloat16: (2e-2, 0.15)}


@dataclass(frozen=True, slots=True)
class Case:
    """`function` takes tinygrad's tensors, `reference` PyTorch's."""

    name: str
    inputs: tuple[torch.Tensor, ...]
    function: Callable[..., Any]
    reference: Callable[..., torch.Tensor]
    tolerance: tuple[float, float] | None = None


_UNARY = (
    "relu abs neg sqrt rsqrt exp log exp2 log2 sin cos tan tanh sigmoid floor ceil trunc round "
    "sign reciprocal square erf sinh cosh asin acos atan asinh acosh atanh isnan isinf log10"
).split()
_ACTIVATIONS = (
    "relu6 hardswish mish softplus elu silu leaky_relu celu selu softsign hardtanh".split()
)
_BINARY = ("x + y", "x * y", "x.maximum(y)", "x.minimum(y)", "x == y", "x != y", "x < y", "x >= y")
_OF_INTEGERS = ("x - y", "x.argmax(1)", "x.argmin(0)", "x ^ y", "x & y", "x | y", "x << 2",
                "x >> 1")  # fmt: skip
_OF_FLOATS = ("x - y", "x / y", "x ** 2", "x.argmax(1)", "x.argmin(0)", "x.mean()", "x.var(1)",
              "x.std(0)", "x.logsumexp(1)", "x.cumsum(1)", "x.softmax(-1)",
              "x.log_softmax(-1)")  # fmt: skip
_REDUCED = ("x.sum()", "x.sum(0)", "x.sum(1)", "x.any()", "x.all(1)")
_MOVED = ("x.reshape(33, 5)", "x.permute(1, 0)", "x.flip(0)", "x[1:4, ::2]", "x.T.contiguous()",
          "x.repeat(2, 3)", "x.triu()", "x.tril()", "x.roll(3, 1)", "x[:, [1, 3, 2]]")  # fmt: skip
_SHAPES = ((64, 64, 64), (128, 96, 64), (33, 17, 65), (8, 8, 8), (1, 128, 256), (40, 72, 24))


def cases() -> Iterator[Case]:
    """All, in a fixed order with fixed inputs."""
    torch.manual_seed(0)
    for dtype in (*_FLOATS, *_INTEGERS, torch.bool):
        yield from _elementwise(dtype)
        yield from _casts(dtype)
    for dtype in _FLOATS:
        yield from _products(dtype)
        yield from _networks(dtype)


def _input(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    if dtype == torch.bool:
        return torch.randint(0, 2, shape).bool()
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    return torch.randint(0 if dtype == torch.uint8 else -100, 100, shape).to(dtype)


def _same(name: str, text: str, *inputs: torch.Tensor) -> Case:
    """An expression of x and y that means the same to both."""
    function = eval(f"lambda x, y=None: {text}")
    return Case(f"{text} {name}", inputs, function, function)


def _elementwise(dtype: torch.dtype) -> Iterator[Case]:
    x, y, name = _input(dtype, 5, 33), _input(dtype, 5, 33), str(dtype)[6:]
    texts = [*_BINARY, *_REDUCED, *_MOVED]
    texts += _OF_FLOATS if dtype in _FLOATS else _OF_INTEGERS if dtype in _INTEGERS else ()
    for text in texts:
        yield _same(name, text, x, y)
    if dtype in _FLOATS:
        for text in _UNARY:
            yield _same(name, f"x.{text}()", x)
        for text in _ACTIVATIONS:
            reference = getattr(functional, text)
            yield Case(f"{text} {name}", (x,), lambda x, n=text: getattr(x, n)(), reference)


def _casts(dtype: torch.dtype) -> Iterator[Case]:
    for target in (*_FLOATS, *_INTEGERS, torch.bool):
        x, to = _input(dtype, 5, 33), str(target)[6:]
        if target == torch.uint8 and dtype != torch.bool:
            x = x.abs()
        yield Case(
            f"{str(dtype)[6:]} to {to}",
            (x,),
            lambda x, to=to: x.cast(to),
            lambda x, target=target: x.to(target),
        )


def _products(dtype: torch.dtype) -> Iterator[Case]:
    name, tolerance = str(dtype)[6:], _SUMS[dtype]
    for m, n, k in _SHAPES:
        inputs = (_input(dtype, m, k), _input(dtype, k, n))
        multiply = _same(name, "x @ y", *inputs).function
        yield Case(f"{m}x{n}x{k} {name}", inputs, multiply, multiply, tolerance)
    image, weight = _input(dtype, 2, 8, 17, 17), _input(dtype, 16, 8, 3, 3)
    yield Case(f"conv2d {name}", (image, weight), lambda x, w: x.conv2d(w, padding=1),
               lambda x, w: functional.conv2d(x, w, padding=1), tolerance)  # fmt: skip
    weight = _input(dtype, 8, 4, 3, 3)
    yield Case(f"conv_transpose2d {name}", (image, weight),
               lambda x, w: x.conv_transpose2d(w, stride=2),
               lambda x, w: functional.conv_transpose2d(x, w, stride=2), tolerance)  # fmt: skip


def _networks(dtype: torch.dtype) -> Iterator[Case]:
    name, image = str(dtype)[6:], _input(dtype, 2, 4, 17, 17)
    yield Case(f"max_pool2d {name}", (image,), lambda x: x.max_pool2d((3, 3), stride=2),
               lambda x: functional.max_pool2d(x, 3, 2))  # fmt: skip
    yield Case(f"avg_pool2d {name}", (image,), lambda x: x.avg_pool2d((2, 2)),
               lambda x: functional.avg_pool2d(x, 2))  # fmt: skip
    rows = _input(dtype, 9, 257)
    yield Case(f"layernorm {name}", (rows,), lambda x: x.layernorm(),
               lambda x: functional.layer_norm(x, (257,)))  # fmt: skip
    yield Case(f"sort {name}", (rows,), lambda x: x.sort(-1)[0], lambda x: x.sort(-1)[0])
    heads = tuple(_input(dtype, 2, 4, 32, 16) for _ in range(3))
    yield Case(f"attention {name}", heads,
               lambda q, k, v: q.scaled_dot_product_attention(k, v, is_causal=True),
               lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
               (3e-2, 3e-2))  # fmt: skip

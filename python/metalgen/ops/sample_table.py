"""The samples themselves: of each operation ordinary, odd, empty, strided, extreme ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metalgen.ops.activations import ACTIVATIONS
from metalgen.ops.reduction import REDUCTIONS
from metalgen.ops.samples import Given, Sample

G = Given


def samples(operation: str | None = None, *, large: bool = False) -> list[Sample]:
    """All samples, or an operation's; the small ones that tests check or the large ones to time."""
    every = [
        *_products(), *_convolutions(), *_other_convolutions(), *_rows(), *_channels(),
        *_reductions(), *_pointwise(), *_attention(), *_positions(), *_pooling(), *_scans(),
        *_quantized(),
    ]  # fmt: skip
    return [s for s in every if s.is_large == large and operation in (None, s.operation)]


def _products() -> Iterator[Sample]:
    yield from (
        Sample("fused_gemm", (G((m, k)), G((k, n))), {})
        for m, n, k in ((70, 90, 33), (1, 1, 1), (3, 0, 4), (0, 5, 4), (5, 6, 0), (64, 64, 16))
    )
    for activation in ACTIVATIONS:
        yield Sample("fused_gemm", (G((20, 16)), G((16, 24)), G((24,))), {"activation": activation})
    yield Sample("fused_gemm", (G((33, 70), "transposed"), G((70, 65), "transposed")))
    yield Sample("fused_gemm", (G((33, 70), "transposed"), G((70, 65))))
    yield Sample("fused_gemm", (G((5, 20, 16), "sliced"), G((16, 40), "stepped")))
    yield Sample("fused_gemm", (G((2, 3, 20, 16), "expanded"), G((3, 16, 9))))
    yield Sample("fused_gemm", (G((4, 1, 7, 5)), G((3, 5, 6), "transposed"), G((6,))))
    yield Sample("fused_gemm", (G((1, 300)), G((300, 70), "sliced"), G((70,))))
    yield Sample("fused_gemm", (G((70, 300), "transposed"), G((300, 1), "stepped")))
    yield Sample("fused_gemm", (G((6, 70, 33), "sliced"), G((6, 33, 1))))
    yield Sample("fused_gemm", (G((17, 19), values="extreme"), G((19, 18))))
    yield Sample("fused_gemm", (G((17, 19), values="large"), G((19, 18))), {}, scale=4)
    yield Sample("linear", (G((3, 5, 32)), G((40, 32)), G((40,))), {"activation": "relu"})
    yield Sample("linear", (G((37,)), G((40, 37)), G((40,))))
    yield Sample("linear", (G((0, 8)), G((4, 8))))
    for m, n, k in ((1024, 1024, 1024), (64, 2048, 2048), (1, 4096, 4096)):
        yield Sample("linear", (G((m, k)), G((n, k)), G((n,))), {"activation": "gelu"}, True, 8)
    yield Sample("fused_gemm", (G((32, 128, 64)), G((32, 64, 128))), {}, True)


def _convolutions() -> Iterator[Sample]:
    def conv(x: Given, weight: Given, large: bool = False, **options: Any) -> Sample:
        return Sample("conv2d", (x, weight, G((weight.shape[0],))), options, large, scale=2)

    yield conv(G((2, 6, 15, 17)), G((8, 6, 3, 3)), stride=2, padding=1, activation="relu")
    yield conv(G((1, 5, 9, 70), "sliced"), G((66, 5, 1, 5)), padding=(0, 2), dilation=(1, 2))
    yield conv(G((2, 8, 9, 9), "channels_last"), G((12, 8, 1, 1), "channels_last"))
    yield conv(G((2, 6, 9, 11)), G((6, 1, 3, 3)), padding=1, groups=6, activation="silu")
    yield conv(G((2, 6, 9, 11)), G((12, 1, 2, 3)), stride=(2, 1), groups=6, dilation=2)
    yield conv(G((2, 8, 7, 7)), G((8, 4, 3, 3)), padding=1, groups=2)
    yield conv(G((6, 5, 4)), G((3, 6, 5, 4)))
    yield conv(G((0, 3, 8, 8)), G((4, 3, 3, 3)))
    yield conv(G((1, 3, 8, 8), values="extreme"), G((4, 3, 1, 1)))
    yield conv(G((4, 64, 56, 56)), G((64, 64, 3, 3)), True, padding=1, activation="relu")
    yield conv(G((4, 256, 28, 28)), G((128, 256, 1, 1)), True)
    yield conv(G((4, 128, 56, 56)), G((128, 1, 3, 3)), True, padding=1, groups=128)


def _other_convolutions() -> Iterator[Sample]:
    def conv(name: str, x: tuple[int, ...], weight: tuple[int, ...], **options: Any) -> Sample:
        return Sample(name, (G(x), G(weight), G(weight[:1])), options, scale=8)

    yield conv("winograd_conv2d", (2, 5, 12, 9), (11, 5, 3, 3), padding=1, activation="gelu")
    yield conv("winograd_conv2d", (1, 9, 7, 3), (11, 9, 3, 3), padding=(0, 2))
    yield conv("winograd_conv2d", (0, 4, 5, 5), (11, 4, 3, 3))
    yield conv("conv1d", (2, 5, 33), (7, 5, 3), padding=2, stride=2, activation="relu")
    yield conv("conv1d", (2, 6, 20), (6, 1, 5), dilation=2, groups=6)
    yield conv("conv3d", (2, 3, 5, 7, 6), (9, 3, 3, 2, 3), padding=(1, 0, 1), activation="silu")
    yield conv("conv3d", (1, 4, 5, 6, 7), (8, 2, 2, 3, 3), stride=(1, 2, 2), groups=2, dilation=2)
    yield conv("conv3d", (2, 4, 4, 5, 6), (4, 1, 3, 3, 3), padding=1, groups=4)
    yield conv("conv3d", (0, 3, 4, 4, 4), (2, 3, 1, 1, 1))


def _rows() -> Iterator[Sample]:
    shapes = ((), (1,), (7, 1), (3, 31), (5, 130), (2, 3, 4097), (0, 5), (4, 0))
    for operation in ("softmax", "log_softmax"):
        yield from (Sample(operation, (G(shape),), {"dim": -1}) for shape in shapes)
        yield Sample(operation, (G((6, 5, 4), "transposed"),), {"dim": 1})
        yield Sample(operation, (G((9, 200), "sliced", "extreme"),), {"dim": -1})
        yield Sample(operation, (G((9, 200), values="large"),), {"dim": 0}, scale=4)
        yield Sample(operation, (G((2048, 2048)),), {"dim": -1}, True)
    for shape in ((1,), (4, 1), (3, 33), (2, 3, 1025), (0, 8), (3, 0)):
        weight, bias = G(shape[-1:]), G(shape[-1:], "stepped")
        yield Sample("layer_norm", (G(shape), weight, bias), {"eps": 1e-3})
        yield Sample("rms_norm", (G(shape), weight), {"eps": 1e-3})
    for shape in ((4, 1), (3, 33), (2, 3, 1025), (0, 8)):
        pair = (G(shape), G(shape))
        yield Sample("add_layer_norm", (*pair, G(shape[-1:]), G(shape[-1:])), {"eps": 1e-3})
        yield Sample("add_rms_norm", (*pair, G(shape[-1:])), {"eps": 1e-3})
    for operation in ("add_layer_norm", "add_rms_norm"):
        yield Sample(operation, (G((5, 6, 40), "transposed"), G((5, 6, 40))))
        yield Sample(operation, (G((9, 200), "sliced", "extreme"), G((9, 200), "sliced")))
        yield Sample(operation, (G((2048, 2048)), G((2048, 2048))), {}, True)
    for operation in ("layer_norm", "rms_norm"):
        yield Sample(operation, (G((5, 6, 40), "transposed"),))
        yield Sample(operation, (G((9, 200), "sliced", "extreme"),))
        yield Sample(operation, (G((9, 200), values="large"),))
    yield Sample("layer_norm", (G((2048, 2048)), G((2048,)), G((2048,))), {}, True)
    yield Sample("rms_norm", (G((2048, 2048)), G((2048,))), {}, True)


def _channels() -> Iterator[Sample]:
    weight = (G((6,)), G((6,)))
    yield Sample("group_norm", (G((2, 6, 5, 7)),), {"num_groups": 3})
    yield Sample("group_norm", (G((2, 6, 5, 7), "transposed"),), {"num_groups": 6})
    yield Sample("group_norm", (G((3, 6)),), {"num_groups": 1})
    yield Sample("group_norm", (G((2, 6, 33), values="extreme"),), {"num_groups": 2})
    statistics = (G((6,)), G((6,), values="positive"))
    yield Sample("batch_norm", (G((2, 6, 5, 7)), *statistics, *weight), {"eps": 1e-3})
    yield Sample("batch_norm", (G((4, 6, 9), "transposed"), *statistics))
    yield Sample("batch_norm", (G((4, 6)), *statistics))
    yield Sample("batch_norm", (G((3, 6, 5, 7), "sliced"),))
    yield Sample("batch_norm", (G((0, 6, 5)), *statistics))
    yield Sample("group_norm", (G((4, 64, 56, 56)),), {"num_groups": 8}, True)
    big = (G((64,)), G((64,), values="positive"))
    yield Sample("batch_norm", (G((4, 64, 56, 56)), *big), {}, True)


def _reductions() -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        for at, shape in enumerate(((3, 131), (4, 9, 33))):
            dim = -1 if at == 0 else 1
            yield Sample("reduce", (G(shape),), {"reduction": reduction, "dim": dim}, scale=2)
        extreme = G((9, 200), "sliced", "extreme")
        yield Sample("reduce", (extreme,), {"reduction": reduction, "dim": -1})
    for shape in ((), (5, 1), (0, 3)):
        yield Sample("reduce", (G(shape),), {"reduction": "sum", "keepdim": True})
    yield from (
        Sample("reduce", (G((3, 0)),), {"reduction": reduction})
        for reduction in REDUCTIONS
        if reduction not in ("max", "min")
    )
    fused = {"reduction": "sum", "dim": 1, "activation": "silu"}
    yield Sample("reduce", (G((4, 9, 33), "transposed"),), fused)
    for dim in (0, 1):
        yield Sample("reduce", (G((4096, 4096)),), {"reduction": "sum", "dim": dim}, True, 8)


def _pointwise() -> Iterator[Sample]:
    for name in ACTIVATIONS:
        yield Sample("activation", (G((37,), values="extreme"),), {"name": name})
    for given in (
        G(()),
        G((0, 3)),
        G((5, 6, 7), "transposed"),
        G((5, 9), "sliced"),
        G((4, 3), "expanded"),
    ):
        yield Sample("silu", (given,))
    yield Sample("gelu", (G((3, 50), values="large"),), {"approximate": "tanh"})
    for operation in ("swiglu", "geglu"):
        yield Sample(operation, (G((5, 33), "sliced"), G((5, 33))))
        yield Sample(operation, (G((2, 3, 5), "transposed"), G((2, 3, 5), "stepped")))
        yield Sample(operation, (G((0, 4)), G((0, 4))))
        yield Sample(operation, (G((2048, 2048)), G((2048, 2048))), {}, True)
    yield Sample("gelu", (G((4096, 4096)),), {}, True)


def _attention() -> Iterator[Sample]:
    def attention(
        shape: tuple[int, int, int, int, int, int],
        *masks: Given,
        layout: Any = "contiguous",
        large: bool = False,
        **options: Any,
    ) -> Sample:
        batch, heads, kv_heads, queries, keys, size = shape
        kv = G((batch, kv_heads, keys, size), layout)
        given = (G((batch, heads, queries, size), layout), kv, kv, *masks)
        name = "scaled_dot_product_attention"
        return Sample(name, given, options, large)

    yield attention((2, 4, 2, 37, 45, 64))
    yield attention((1, 2, 2, 40, 40, 32), causal=True)
    yield attention((1, 2, 1, 33, 65, 80), G((33, 65), values="bool"), layout="transposed")
    yield attention((2, 2, 2, 9, 40, 64), G((2, 1, 9, 40)), layout="sliced", scale=0.3)
    yield attention((1, 2, 2, 3, 9, 64), G((2, 1, 9)), causal=True)
    yield attention((2, 4, 1, 1, 45, 128), G((2, 1, 1, 45), values="bool"))
    yield attention((1, 2, 2, 3, 70, 200), causal=True)
    yield attention((1, 2, 2, 0, 5, 16))
    yield attention((1, 8, 8, 512, 512, 64), large=True)
    yield attention((1, 8, 8, 512, 512, 64), large=True, causal=True)
    yield attention((1, 32, 8, 1, 2048, 128), large=True)


def _positions() -> Iterator[Sample]:
    for interleaved in (False, True):
        option = {"interleaved": interleaved}
        yield Sample("rope", (G((2, 3, 7, 10), "transposed"), G((7, 4)), G((7, 4))), option)
        yield Sample("rope", (G((2, 3, 7, 8), "sliced"), G((2, 7, 4)), G((2, 7, 4))), option)
    yield Sample("rope", (G((2, 3, 0, 8)), G((0, 4)), G((0, 4))))
    yield Sample("embedding", (G((4, 7), values="index", bound=50), G((50, 33))))
    yield Sample("embedding", (G((7, 4), "transposed", "index", 9), G((9, 8), "transposed")))
    yield Sample("embedding", (G((0,), values="index", bound=9), G((9, 8))))
    yield Sample("rope", (G((1, 32, 1024, 128)), G((1024, 64)), G((1024, 64))), {}, True)
    yield Sample("embedding", (G((8, 512), values="index", bound=32000), G((32000, 768))), {}, True)


def _pooling() -> Iterator[Sample]:
    def windows(**options: Any) -> dict[str, Any]:
        return options

    planes = G((2, 3, 15, 17), "sliced")
    yield Sample("max_pool2d", (planes,), windows(kernel_size=3, stride=2, padding=1))
    yield Sample("max_pool2d", (planes,), windows(kernel_size=(2, 3), ceil_mode=True))
    yield Sample("max_pool2d", (planes,), windows(kernel_size=3, padding=1, dilation=2))
    yield Sample("max_pool2d", (G((3, 9, 9), values="extreme"),), windows(kernel_size=2))
    yield Sample("avg_pool2d", (planes,), windows(kernel_size=3, stride=2, padding=1))
    uncounted = windows(kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    yield Sample("avg_pool2d", (planes,), uncounted)
    counted = windows(kernel_size=(4, 3), stride=3, padding=(2, 1), ceil_mode=True)
    yield Sample("avg_pool2d", (planes,), counted)
    yield Sample("avg_pool2d", (G((0, 3, 9, 9)),), windows(kernel_size=2))
    for operation in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        for size in ((4, 5), (1, 20), (15, 17), (1, 1)):
            yield Sample(operation, (planes,), {"output_size": size})
    big = G((4, 64, 112, 112))
    yield Sample("max_pool2d", (big,), windows(kernel_size=3, stride=2, padding=1), True)
    yield Sample("adaptive_avg_pool2d", (G((16, 512, 7, 7)),), {"output_size": 1}, True)


def _scans() -> Iterator[Sample]:
    def scan(
        batch: int, channels: int, length: int, states: int, large: bool = False, **options: Any
    ) -> Sample:
        signal = (batch, channels, length)
        shared = G((batch, states, length))
        rest = (G((channels,)), G(signal, "transposed"), G((channels,)))
        decay = G((channels, states), values="negative")
        given = (G(signal, "transposed"), G(signal), decay, shared, shared, *rest)
        return Sample("selective_scan", given, {"delta_softplus": True, **options}, large, scale=4)

    yield scan(2, 3, 150, 5)
    yield scan(1, 2, 1, 16)
    yield scan(1, 2, 0, 4)
    plain = (G((1, 4, 33)), G((1, 4, 33), values="positive"), G((4, 3), values="negative"))
    grouped = G((1, 2, 3, 33))
    yield Sample("selective_scan", (*plain, grouped, grouped), scale=8)
    yield scan(1, 256, 256, 16, True)


def _quantized() -> Iterator[Sample]:
    for bits in ("weight4", "weight8"):
        for m, n, k, group in ((3, 40, 128, 32), (50, 70, 96, 8), (0, 8, 64, 64)):
            weight = Given((n, k), values=bits, bound=group)
            option = {"activation": "relu"} if m == 3 else {}
            yield Sample("quantized_linear", (G((m, k)), weight, G((n,))), option, scale=4)
        for m in (1, 256):
            weight = Given((2048, 2048), values=bits, bound=64)
            yield Sample("quantized_linear", (G((m, 2048)), weight), {}, True, 8)

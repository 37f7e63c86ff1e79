"""Apple's softmaxes, norms and their gradients, scans and rotary embedding, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from apple_cases import (
    FLOATS,
    METAL,
    Case,
    Family,
    Launch,
    apple,
    assert_close,
    kernels,
    listed,
    named,
    run,
)
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}
ROWS = 3


def by_rows(
    function: Callable[[Tensor], Tensor], dtype: torch.dtype, columns: int, group_size: int
) -> Launch:
    x = torch.randn(ROWS, columns).to(dtype)
    return Launch(
        {0: x, 2: columns},
        {1: function(x.float()).to(dtype)},
        groups=ROWS,
        group_size=group_size,
        tolerance=TOLERANCE[dtype],
    )


def softmax_cases() -> dict[str, Case]:
    cases = {}
    for dtype in FLOATS:
        for precise in ("", "precise_") if dtype != torch.float32 else ("",):
            types = METAL[dtype] + (", float" if precise else "")
            for form, template, columns, width in (
                ("block", "softmax_single_row", 150, 64),
                ("looped", "softmax_looped", 4500, 1024),  # as MLX does: all 32 SIMD-groups
            ):
                cases[f"{form}_softmax_{precise}{named(dtype)}"] = Case(
                    f"{template}<{types}>",
                    lambda d=dtype, c=columns, w=width: by_rows(lambda x: x.softmax(-1), d, c, w),
                )
    return cases


def logsumexp_cases() -> dict[str, Case]:
    return {
        f"{form}_logsumexp_{named(dtype)}": Case(
            f"{template}<{METAL[dtype]}>",
            lambda d=dtype, c=columns, w=width: by_rows(lambda x: x.logsumexp(-1), d, c, w),
        )
        for dtype in FLOATS
        for form, template, columns, width in (
            ("block", "logsumexp", 150, 64),
            ("looped", "logsumexp_looped", 4500, 1024),
        )
    }


# Scans.

SCANS: dict[str, tuple[str, Callable[[Tensor], Tensor], float]] = {
    "sum": ("CumSum", lambda x: x.cumsum(0), 0.0),
    "prod": ("CumProd", lambda x: x.cumprod(0), 1.0),
    "max": ("CumMax", lambda x: x.cummax(0).values, -float("inf")),
    "min": ("CumMin", lambda x: x.cummin(0).values, float("inf")),
    "logaddexp": ("CumLogaddexp", lambda x: x.logcumsumexp(0), -float("inf")),
}


def scanned(op: str, x: Tensor, reverse: bool, inclusive: bool) -> Tensor:
    """Along the first axis."""
    _, function, first = SCANS[op]
    turned = x.flip(0) if reverse else x
    result = function(turned)
    if not inclusive:
        result = torch.cat([torch.full_like(result[:1], first), result[:-1]])
    return result.flip(0) if reverse else result


def scan_input(op: str, dtype: torch.dtype, *shape: int) -> Tensor:
    x = torch.rand(shape) * 0.2 + 0.9 if op == "prod" else torch.randn(shape)
    return x.to(dtype)


def along_rows(op: str, dtype: torch.dtype, reverse: bool, inclusive: bool) -> Launch:
    x = scan_input(op, dtype, ROWS, 300)
    expected = scanned(op, x.float().T, reverse, inclusive).T.to(dtype)
    return Launch(
        {0: x, 2: 300},
        {1: expected.contiguous()},
        groups=(1, ROWS),
        group_size=64,
        tolerance=10 * TOLERANCE[dtype],
    )


def down_columns(op: str, dtype: torch.dtype, reverse: bool, inclusive: bool) -> Launch:
    x = scan_input(op, dtype, 70, 40)
    expected = scanned(op, x.float(), reverse, inclusive).to(dtype)
    return Launch(
        {0: x, 2: 70, 3: 40, 4: 2},
        {1: expected},
        groups=(1, 2),
        group_size=256,
        tolerance=10 * TOLERANCE[dtype],
    )


def scan_cases() -> dict[str, Case]:
    cases = {}
    for op, (operator, _, _) in SCANS.items():
        for dtype in FLOATS if op == "sum" else (torch.float32,):
            type_ = METAL[dtype]
            for reverse in (False, True):
                for inclusive in (True, False):
                    words = ("reverse_" if reverse else "") + (
                        "inclusive" if inclusive else "exclusive"
                    )
                    flags = f"{str(inclusive).lower()}, {str(reverse).lower()}"
                    arguments = f"<{type_}, {type_}, {operator}<{type_}>, 4, {flags}>"
                    for form, template, launch in (
                        ("contig", "contiguous_scan", along_rows),
                        ("strided", "strided_scan", down_columns),
                    ):
                        name = f"{form}_scan_{words}_{op}_{named(dtype)}_{named(dtype)}"
                        cases[name] = Case(
                            template + arguments,
                            lambda f=launch, o=op, d=dtype, r=reverse, i=inclusive: f(o, d, r, i),
                        )
    return cases


FAMILIES = {
    "softmax": Family(["utils.h", "softmax.h"], softmax_cases(), one_in=3),
    "logsumexp": Family(["utils.h", "logsumexp.h"], logsumexp_cases(), one_in=2),
    "scan": Family(["utils.h", "binary_ops.h", "scan.h"], scan_cases(), one_in=7),
}


@kernels(FAMILIES)
def test_apples_kernel_computes_what_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


# Kernels whose source the wheel does not hold.


def check(name: str, launch: Launch) -> None:
    for index, result in run(apple(), name, launch).items():
        assert_close(result, launch.expected[index], launch.tolerance)


WIDTHS = {"": (200, 64), "_looped": (700, 64)}


@pytest.mark.parametrize("form", WIDTHS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_layer_norm_and_rms_norm(dtype, form):
    columns, width = WIDTHS[form]
    x, weight, bias = (torch.randn(n).to(dtype) for n in (ROWS * columns, columns, columns))
    x = x.reshape(ROWS, columns)
    wide = x.float(), [columns], weight.float()
    layer = torch.nn.functional.layer_norm(*wide, bias.float(), 1e-5).to(dtype)
    rms = torch.nn.functional.rms_norm(*wide, 1e-5).to(dtype)
    grid = {"groups": ROWS, "group_size": width, "tolerance": 2 * TOLERANCE[dtype]}
    given = {0: x, 1: weight, 2: bias, 4: 1e-5, 5: columns, 6: 1, 7: 1}
    check(f"layer_norm{form}{named(dtype)}", Launch(given, {3: layer}, **grid))
    given = {0: x, 1: weight, 3: 1e-5, 4: columns, 5: 1}
    check(f"rms{form}{named(dtype)}", Launch(given, {2: rms}, **grid))


@pytest.mark.parametrize("form", WIDTHS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_layer_norm(dtype, form):
    columns, width = WIDTHS[form]
    x, weight, gradient = (torch.randn(ROWS, columns).to(dtype) for _ in range(3))
    weight = weight[0].clone()
    gx, normalized = gradients(x, weight, gradient, centred=True)
    expected = {3: gx.to(dtype), 4: (gradient.float() * normalized).to(dtype)}
    given = {0: x, 1: weight, 2: gradient, 5: 1e-5, 6: columns, 7: 1}
    launch = Launch(
        given,
        expected,
        groups=ROWS,
        group_size=width,
        constants={"has_w": True},
        tolerance=4 * TOLERANCE[dtype],
    )
    check(f"vjp_layer_norm{form}{named(dtype)}", launch)


@pytest.mark.parametrize("form", WIDTHS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_rms_norm(dtype, form):
    columns, width = WIDTHS[form]
    x, weight, gradient = (torch.randn(ROWS, columns).to(dtype) for _ in range(3))
    weight = weight[0].clone()
    gx, normalized = gradients(x, weight, gradient, centred=False)
    expected = {3: gx.to(dtype), 4: gradient.float() * normalized}
    given = {0: x, 1: weight, 2: gradient, 5: 1e-5, 6: columns, 7: 1}
    if not form:
        given |= {8: ROWS, 9: 1}  # one row to a threadgroup
    info = apple().kernel(f"vjp_rms{form}{named(dtype)}").info
    of_weight = next(argument for argument in info.buffers if argument.index == 4)
    if of_weight.type_name != "float":
        expected[4] = expected[4].to(dtype)
    launch = Launch(
        given,
        expected,
        groups=ROWS,
        group_size=width,
        constants={"has_w": True},
        tolerance=4 * TOLERANCE[dtype],
    )
    check(f"vjp_rms{form}{named(dtype)}", launch)


def gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, *, centred: bool
) -> tuple[Tensor, Tensor]:
    """Of the input, by autograd; and the normalized input, which the weight's gradient takes."""
    leaf = x.float().requires_grad_()
    shape = [x.shape[-1]]
    functional = torch.nn.functional
    if centred:
        normalized = functional.layer_norm(leaf, shape, eps=1e-5)
    else:
        normalized = functional.rms_norm(leaf, shape, eps=1e-5)
    (normalized * weight.float()).backward(gradient.float())
    return leaf.grad, normalized.detach()


@pytest.mark.parametrize("dtype", FLOATS)
def test_rotary_embedding_of_one_position(dtype):
    heads, width, offset = 3, 16, 5
    x = torch.randn(heads, width).to(dtype)
    launch = Launch(
        {0: x, 2: offset, 3: 1.0, 4: width, 10: 13.287712},  # log2 of 10,000
        {1: rotated(x[:, None], offset)[:, 0].to(dtype)},
        threads=(width // 2, heads),
        group_size=(8, 1),
        constants={"forward": True, "traditional": False},
        tolerance=4 * TOLERANCE[dtype],
    )
    check(f"rope_single_{named(dtype)}", launch)


@pytest.mark.parametrize("form", ["rope", "rope_large"])
@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_rotary_embedding_of_rows(dtype, traditional, form):
    name = f"{form}_{named(dtype)}"
    if name == "rope_bfloat16":
        name = "rope_large_bfloat16"  # MLX names it otherwise
    heads, length, width = 6, 4, 16
    x = torch.randn(2, heads, length, width).to(dtype)
    strides = listed((length * width, width, 1))
    offsets = torch.tensor([3, 11], dtype=torch.int32)
    expected = torch.stack(
        [rotated(x[i], int(offsets[i]), traditional=traditional) for i in range(2)]
    )
    launch = Launch(
        {0: x, 2: offsets, 3: 1.0, 4: strides, 5: strides, 6: 1, 7: heads, 10: 13.287712},
        {1: expected.to(dtype)},
        threads=(width // 2, length, 2 * 2),  # four heads a thread
        group_size=(8, 2, 1),
        constants={"forward": True, "traditional": traditional, "hs_transpose": False},
        tolerance=4 * TOLERANCE[dtype],
    )
    check(name, launch)


def rotated(x: Tensor, offset: int, *, traditional: bool = False) -> Tensor:
    """(heads, positions, width), positions counted from `offset`: RoPE of Su et al. (2021)."""
    width = x.shape[-1]
    angles = torch.outer(
        torch.arange(x.shape[-2]) + offset, 10000.0 ** (-torch.arange(0, width, 2) / width)
    )
    cosine, sine = angles.cos(), angles.sin()
    if traditional:
        first, second = x.float()[..., ::2], x.float()[..., 1::2]
    else:
        first, second = x.float().chunk(2, -1)
    parts = first * cosine - second * sine, first * sine + second * cosine
    return torch.stack(parts, -1).flatten(-2) if traditional else torch.cat(parts, -1)

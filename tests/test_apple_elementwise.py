"""Apple's unary and binary kernels, in every form of broadcasting, and ours beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from apple_cases import FLOATS, METAL, ROUNDING, Case, Family, Launch, kernels, listed, named
from torch import Tensor

COUNT = 203  # no multiple of what a thread handles

POSITIVE = {"Log", "Log2", "Log10", "Log1p", "Sqrt", "Rsqrt", "ArcCosh"}
WITHIN_ONE = {"ArcSin", "ArcCos", "ArcTanh", "ErfInv"}
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "ArcCos": torch.acos,
    "ArcCosh": torch.acosh,
    "ArcSin": torch.asin,
    "ArcSinh": torch.asinh,
    "ArcTan": torch.atan,
    "ArcTanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "ErfInv": torch.erfinv,
    "Exp": torch.exp,
    "Expm1": torch.expm1,
    "Floor": torch.floor,
    "Log": torch.log,
    "Log10": torch.log10,
    "Log1p": torch.log1p,
    "Log2": torch.log2,
    "Negative": torch.neg,
    "Round": torch.round,
    "Rsqrt": torch.rsqrt,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Square": torch.square,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}


def unary_input(operation: str, dtype: torch.dtype, *shape: int) -> Tensor:
    if operation in WITHIN_ONE:
        return (torch.rand(shape) * 1.9 - 0.95).to(dtype)
    if operation in POSITIVE:
        return (torch.rand(shape) * 5 + 1).to(dtype)
    return (torch.randn(shape) * 1.3).to(dtype)


def unary(operation: str, dtype: torch.dtype, per_thread: int) -> Launch:
    x = unary_input(operation, dtype, COUNT)
    expected = UNARY[operation](x.float()).to(dtype)
    # MLX's expm1 reduces by ln 2 in one part, which costs it 1.4e-6 for each power of two.
    tolerance = 2e-5 if operation == "Expm1" else 4 * ROUNDING[dtype]
    threads = math.ceil(COUNT / per_thread)
    return Launch({0: x, 2: COUNT}, {1: expected}, threads=threads, tolerance=tolerance)


def unary_in_rows(operation: str, dtype: torch.dtype, per_thread: int) -> Launch:
    """The form for more threads than one dimension of the grid holds."""
    launch = unary(operation, dtype, per_thread)
    rows = 3
    threads = (math.ceil(COUNT / per_thread / rows), rows)
    return replace(launch, threads=threads, group_size=(8, 2))


def strided_unary(operation: str, dtype: torch.dtype, per_thread: int) -> Launch:
    base = unary_input(operation, dtype, 7, 3, 2)
    x = base.permute(1, 2, 0)[:, :, None].expand(3, 2, 5, 7)
    return Launch(
        {0: base, 2: listed(x.shape, torch.int32), 3: listed(x.stride()), 4: 4},
        {1: UNARY[operation](x.float()).to(dtype)},
        threads=(math.ceil(7 / per_thread), 5, 6),
        group_size=(4, 4, 2),
        tolerance=4 * ROUNDING[dtype],
    )


PER_THREAD = {torch.float32: 2, torch.float16: 4, torch.bfloat16: 4, torch.int32: 2}


def unary_cases() -> dict[str, Case]:
    cases = {}

    def add(form: str, template: str, op: str, dtype: torch.dtype, more: str, launch) -> None:
        type_ = METAL[dtype]
        name = f"{form}_{op}{named(dtype)}{named(dtype)}"
        cases[name] = Case(f"{template}<{type_}, {type_}, {op}{more}>", launch)

    def with_form(op: str, dtype: torch.dtype) -> None:
        n = PER_THREAD[dtype]
        add("vn", "unary_v", op, dtype, "", lambda: unary(op, dtype, n))
        add("v2", "unary_v2", op, dtype, "", lambda: unary_in_rows(op, dtype, n))
        add("gn1", "unary_g", op, dtype, ", 1, int", lambda: strided_unary(op, dtype, 1))
        add("gn4large", "unary_g", op, dtype, ", 4", lambda: strided_unary(op, dtype, 4))

    for op in UNARY:
        add("v", "unary_v", op, torch.float32, ", 1", lambda op=op: unary(op, torch.float32, 1))
    for op in ("Exp", "Tanh", "Erf", "Sign", "Log1p"):
        for dtype in (torch.float16, torch.bfloat16):
            add("v", "unary_v", op, dtype, ", 1", lambda op=op, d=dtype: unary(op, d, 1))
    for dtype in FLOATS:
        with_form("Sigmoid", dtype)
        with_form("Abs", dtype)
    return cases


# Binary.

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "ArcTan2": torch.atan2,
    "Divide": torch.div,
    "Equal": torch.eq,
    "FloorDivide": lambda a, b: (a / b).floor(),
    "Greater": torch.gt,
    "GreaterEqual": torch.ge,
    "Less": torch.lt,
    "LessEqual": torch.le,
    "LogAddExp": torch.logaddexp,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Multiply": torch.mul,
    "NaNEqual": torch.eq,
    "NotEqual": torch.ne,
    "Power": torch.pow,
    "Remainder": torch.remainder,
    "Subtract": torch.sub,
}
INTEGER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "LeftShift": torch.bitwise_left_shift,
    "RightShift": torch.bitwise_right_shift,
    "FloorDivide": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "Remainder": torch.remainder,
    "Multiply": torch.mul,
}


def operands(op: str, dtype: torch.dtype, first: tuple, second: tuple) -> tuple[Tensor, Tensor]:
    if not dtype.is_floating_point:
        return torch.randint(1, 1000, first).to(dtype), torch.randint(1, 9, second).to(dtype)
    a = torch.rand(first) * 3 + 0.2 if op == "Power" else torch.randn(first)
    return a.to(dtype), torch.randn(second).to(dtype)


def binary_result(op: str, a: Tensor, b: Tensor) -> Tensor:
    if not a.is_floating_point():
        return INTEGER[op](a, b)
    result = BINARY[op](a.float(), b.float())
    return result if result.dtype == torch.bool else result.to(a.dtype)


def flat_binary(op: str, dtype: torch.dtype, form: str, per_thread: int = 1) -> Launch:
    shapes = [(COUNT,) if letter == "v" else (1,) for letter in form[:2]]
    a, b = operands(op, dtype, *shapes)
    arguments: dict[int, object] = {0: a, 1: b}
    if form != "ss":
        arguments[3] = COUNT
    threads = math.ceil((1 if form == "ss" else COUNT) / per_thread)
    return Launch(
        arguments,
        {2: binary_result(op, a, b)},
        threads=(math.ceil(threads / 3), 3) if form.endswith("2") else threads,
        tolerance=4 * ROUNDING.get(dtype, 0),
    )


def broadcast_operands(op: str, dtype: torch.dtype, ndim: int) -> tuple[list[Tensor], list[Tensor]]:
    """Two operands as they lie in memory, and as they are seen: transposed, and repeated."""
    shape = (3, 2, 5, 7)[4 - ndim :]
    a, b = operands(op, dtype, tuple(reversed(shape)), shape[-1:])
    return [a, b], [a.permute(*reversed(range(ndim))), b.expand(shape)]


def strided_binary(op: str, dtype: torch.dtype, form: str) -> Launch:
    ndim = {"g1": 1, "g2": 2, "g3": 3}.get(form[:2], 4)
    held, (a, b) = broadcast_operands(op, dtype, ndim)
    arguments: dict[int, object] = {0: held[0], 1: held[1]}
    strides = [listed(x.stride()) for x in (a, b)]
    threads = [*reversed(a.shape)]
    if ndim == 1:
        arguments |= {3: a.stride(0), 4: b.stride(0)}
    elif ndim < 4:
        arguments |= {3: strides[0], 4: strides[1]}
    else:
        shape = listed(a.shape, torch.int32)
        arguments |= {3: shape, 4: strides[0], 5: strides[1], 6: 4}
        per_thread = 4 if "4" in form else 2
        threads = [math.ceil(7 / per_thread), 5, 6]
    return Launch(
        arguments,
        {2: binary_result(op, a, b)},
        threads=tuple(threads),
        group_size=(8, 2, 2)[:ndim] if ndim > 1 else 4,
        tolerance=4 * ROUNDING.get(dtype, 0),
    )


STRIDED = {
    "g1": ("binary_g_nd1", ", int"),
    "g1large": ("binary_g_nd1", ""),
    "g2": ("binary_g_nd2", ", int"),
    "g2large": ("binary_g_nd2", ""),
    "g3": ("binary_g_nd3", ", int"),
    "g3large": ("binary_g_nd3", ""),
    "gn2": ("binary_g", ", 2, int"),
    "gn4large": ("binary_g", ", 4"),
}


def binary_cases() -> dict[str, Case]:
    cases = {}

    def add(form: str, template: str, op: str, dtype: torch.dtype, more: str, launch) -> None:
        some = binary_result(op, *operands(op, dtype, (1,), (1,)))
        types = f"{METAL[dtype]}, {METAL[some.dtype]}"
        cases[f"{form}_{op}{named(dtype)}"] = Case(f"{template}<{types}, {op}{more}>", launch)

    for op in BINARY:
        add(
            "vv",
            "binary_vv",
            op,
            torch.float32,
            ", 1",
            lambda op=op: flat_binary(op, torch.float32, "vv"),
        )
    for op in INTEGER:
        add(
            "vv",
            "binary_vv",
            op,
            torch.int32,
            ", 1",
            lambda op=op: flat_binary(op, torch.int32, "vv"),
        )
    for op in ("Power", "LogAddExp", "Maximum"):
        for dtype in (torch.float16, torch.bfloat16):
            add(
                "vv", "binary_vv", op, dtype, ", 1", lambda op=op, d=dtype: flat_binary(op, d, "vv")
            )
    for dtype in FLOATS:
        n = PER_THREAD[dtype]
        add(
            "ss",
            "binary_ss",
            "Subtract",
            dtype,
            "",
            lambda d=dtype: flat_binary("Subtract", d, "ss"),
        )
        for form in ("sv", "vs", "vv"):
            add(
                form,
                f"binary_{form}",
                "Subtract",
                dtype,
                ", 1",
                lambda d=dtype, f=form: flat_binary("Subtract", d, f),
            )
            add(
                f"{form}n",
                f"binary_{form}",
                "Subtract",
                dtype,
                "",
                lambda d=dtype, f=form, n=n: flat_binary("Subtract", d, f, n),
            )
            add(
                f"{form}2",
                f"binary_{form}2",
                "Subtract",
                dtype,
                "",
                lambda d=dtype, f=form, n=n: flat_binary("Subtract", d, f + "2", n),
            )
        for form, (template, more) in STRIDED.items():
            add(
                form,
                template,
                "Subtract",
                dtype,
                more,
                lambda d=dtype, f=form: strided_binary("Subtract", d, f),
            )
    return cases


def quotient_and_remainder(dtype: torch.dtype, form: str) -> Launch:
    """Both at once, for MLX's divmod."""
    a, b = operands("FloorDivide", dtype, (7, 5), (7, 5))
    expected = {2 + i: binary_result(op, a, b) for i, op in enumerate(("FloorDivide", "Remainder"))}
    arguments: dict[int, object] = {0: a, 1: b}
    if form == "vv":
        return Launch({**arguments, 4: 35}, expected, threads=35, tolerance=1e-5)
    strides = listed((5, 1))
    return Launch(
        {**arguments, 4: strides, 5: strides},
        expected,
        threads=(5, 7),
        group_size=(5, 2),
        tolerance=1e-5,
    )


def divmod_cases() -> dict[str, Case]:
    cases = {}
    for dtype in (torch.float32, torch.int32):
        types = f"{METAL[dtype]}, {METAL[dtype]}, DivMod"
        for form, template in (("vv", f"binary_vv<{types}, 1>"), ("g2", f"binary_g_nd2<{types}>")):
            form_ = "g2large" if form == "g2" else form
            cases[f"{form_}_DivMod{named(dtype)}"] = Case(
                template, lambda d=dtype, f=form: quotient_and_remainder(d, f)
            )
    return cases


FAMILIES = {
    "two": Family(["utils.h", "binary_ops.h", "binary_two.h"], divmod_cases(), one_in=2),
    "unary": Family(["utils.h", "unary_ops.h", "unary.h"], unary_cases(), one_in=5),
    "binary": Family(["utils.h", "binary_ops.h", "binary.h"], binary_cases(), one_in=5),
}


@kernels(FAMILIES)
def test_apples_kernel_computes_what_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)

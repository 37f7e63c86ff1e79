"""Reductions along one dimension, of elements that may pass through an activation on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.activations import Activation, activation_number, apply_formula
from metalgen.ops.arguments import DEVICES, check_dimension, check_tensors
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import SIMDGROUP, ceil_div, kernel_for, threads_for_row

Reduction = Literal["sum", "mean", "max", "min", "prod", "norm", "logsumexp", "var"]

# In the order of their numbers in metal/reduction.metal.
FORMULAS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "sum": lambda x, dim: x.sum(dim),
    "mean": lambda x, dim: x.mean(dim),
    "max": lambda x, dim: x.amax(dim),
    "min": lambda x, dim: x.amin(dim),
    "prod": lambda x, dim: x.prod(dim),
    "norm": lambda x, dim: torch.linalg.vector_norm(x, dim=dim),
    "logsumexp": lambda x, dim: x.logsumexp(dim),
    "var": lambda x, dim: (x - x.mean(dim, keepdim=True)).square().mean(dim),
}
REDUCTIONS: tuple[str, ...] = tuple(FORMULAS)
_MOST_SIMDGROUPS = 32


def reduce(
    x: Tensor,
    reduction: Reduction,
    dim: int = -1,
    keepdim: bool = False,
    activation: Activation | None = None,
) -> Tensor:
    """The reduction of activation(x) along `dim`, read once.

    norm is the Euclidean one, var the biased variance; sums are kept in float32. Of a dimension
    without elements sum, prod, norm and logsumexp are 0, 1, 0 and -infinity, mean and var NaN.
    Raises LaunchError, for max and min also where there are no elements.
    """
    check_tensors("reduce", x=x)
    at = check_dimension("reduce", x, dim)
    if reduction not in FORMULAS:
        known = ", ".join(REDUCTIONS)
        raise LaunchError(f"reduce: expected a reduction of {known}, found {reduction!r}")
    if x.dim() and x.shape[at] == 0 and reduction in ("max", "min"):
        raise LaunchError(f"reduce: expected elements to take the {reduction} of, found none")
    whole = x if x.dim() else x.unsqueeze(0)
    number = activation_number("reduce", activation)
    result: Tensor = _reduce(whole, REDUCTIONS.index(reduction), at, number)
    if x.dim() == 0:
        return result.view(())
    return result.unsqueeze(at) if keepdim else result


@torch.library.custom_op("metalgen::reduce", mutates_args=(), device_types=DEVICES)
def _reduce(x: Tensor, reduction: int, dim: int, activation: int) -> Tensor:
    result = x.new_empty(_result_shape(x, dim))
    length = x.shape[dim]
    if result.numel() == 0 or length == 0:
        return result.copy_(_formula(x, reduction, dim, activation))
    x = x.contiguous()
    inner = x[(0,) * (dim + 1)].numel()
    if inner == 1:
        reduce_last(x, result, REDUCTIONS[reduction], activation)
    else:
        simdgroups = min(_MOST_SIMDGROUPS, ceil_div(length, 8))
        kernel_for("reduce_columns", x)(
            x,
            result,
            length,
            inner,
            threadgroups=(ceil_div(inner, SIMDGROUP), result.numel() // inner),
            group_size=(SIMDGROUP * simdgroups, 1),
            constants={"reduction": reduction, "activation": activation},
        )
    return result


def reduce_last(x: Tensor, result: Tensor, reduction: str, activation: int = 0) -> None:
    """result = reduction of activation(x) along x's last dimension; both contiguous."""
    if result.numel() == 0:
        return
    length = x.shape[-1]
    kernel_for("reduce_rows", x)(
        x,
        result,
        length,
        threadgroups=(result.numel(),),
        group_size=(threads_for_row(x, length),),
        constants={"reduction": REDUCTIONS.index(reduction), "activation": activation},
    )


def _result_shape(x: Tensor, dim: int) -> list[int]:
    return [size for at, size in enumerate(x.shape) if at != dim]


@_reduce.register_fake
def _(x: Tensor, reduction: int, dim: int, activation: int) -> Tensor:
    return x.new_empty(_result_shape(x, dim))


def _formula(x: Tensor, reduction: int, dim: int, activation: int) -> Tensor:
    return FORMULAS[REDUCTIONS[reduction]](apply_formula(x, activation), dim)


differentiate(_reduce, _formula)

"""How wrong a candidate may be: PyTorch's tolerances plus a small multiple of honest rounding.

An element passes where |got - reference| <= rtol * |reference| + atol * scale + MULTIPLE * E, with
the reference in float64 and scale = min(1, root mean square of the reference). E is what rounding
does to this element: the larger of eager PyTorch's own error and of how far the result moves when
inputs and weights move by a rounding error (what a backward stable algorithm may do; N. Higham,
Accuracy and Stability of Numerical Algorithms, 1.5), but at least LEVEL times the mean of that over
outputs of its own or a smaller binary exponent. So tolerances grow with the length of reductions
and with cancellation, one element's luck does not count, small outputs are not excused by the
errors of large ones, and an element that rounding flips (a floor, a comparison) is excused alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Another order of summation, another exp, fused or unfused multiply-add: an honest kernel may err
# this many times as much, a wrong formula errs thousands of times as much.
MULTIPLE = 10.0
# Of errors that scatter normally, 99.9% are below four times the mean of their magnitudes.
LEVEL = 4.0
_FEW = 16


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Relative and absolute tolerance of one dtype, and where they come from."""

    rtol: float
    atol: float
    source: str


_ASSERT_CLOSE = "torch.testing.assert_close's defaults"
TOLERANCES: dict[torch.dtype, Tolerance] = {
    torch.float16: Tolerance(1e-3, 1e-5, _ASSERT_CLOSE),
    torch.bfloat16: Tolerance(1.6e-2, 1e-5, _ASSERT_CLOSE),
    # assert_close's 1.3e-6 is 11 units in the last place; Metal's own exp may be off by
    # 3 + |2x| of them (Metal Shading Language Specification, accuracy of fast maths).
    torch.float32: Tolerance(1e-5, 1e-5, "assert_close's atol; rtol of Metal's fast exp at |x|=40"),
}
EXACT = Tolerance(0.0, 0.0, "whole numbers are compared exactly")


def tolerance_of(dtype: torch.dtype) -> Tolerance:
    """The tolerance for outputs of a dtype; whole numbers and bools are exact."""
    return TOLERANCES.get(dtype, EXACT)


def allowed_error(reference: Tensor, eager: Tensor, moved: Tensor | None = None) -> Tensor:
    """Per element, how far a candidate may be from `reference` (float64); all on the CPU.

    `moved` is how far the reference moved when its inputs did, None where that is not known.
    """
    tolerance = tolerance_of(eager.dtype)
    magnitude = reference.abs().nan_to_num(0.0, posinf=0.0)
    scale = min(1.0, float(magnitude.square().mean().sqrt())) if magnitude.numel() else 1.0
    error = (eager.double() - reference).abs().nan_to_num(0.0, posinf=0.0)
    if moved is not None:
        error = torch.maximum(error, moved.nan_to_num(0.0, posinf=0.0))
    allowed = MULTIPLE * torch.maximum(error, LEVEL * _usual_up_to(magnitude, error))
    return allowed.add_(magnitude, alpha=tolerance.rtol).add_(tolerance.atol * scale)


def _usual_up_to(magnitude: Tensor, error: Tensor) -> Tensor:
    """Per element, the largest mean error among binary exponents that are not larger than its own.

    The mean is taken exponent by exponent: outputs that are exactly zero, without any error (behind
    a relu), must not make the others' look smaller than they are.
    """
    if magnitude.numel() == 0:
        return torch.zeros_like(magnitude)
    exponents = torch.frexp(magnitude).exponent.clamp(-1100, 1100).to(torch.int64) + 1100
    bins = exponents.reshape(-1)
    total = torch.bincount(bins, weights=error.reshape(-1), minlength=2201)
    count = torch.bincount(bins, minlength=2201)
    # A few elements' mean is luck: it counts as that of _FEW, the others without error.
    usual = (total / count.clamp_min(min(_FEW, magnitude.numel()))).cummax(0).values
    return usual[bins].reshape(magnitude.shape)

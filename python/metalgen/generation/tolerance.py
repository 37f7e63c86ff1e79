"""How wrong a candidate may be: PyTorch's tolerances plus a small multiple of eager's own error.

An element passes where |got - reference| <= rtol * |reference| + atol * scale + MULTIPLE * E, with
the reference in float64, scale = min(1, root mean square of the reference), and E the largest
error that eager PyTorch itself makes among outputs of the same or smaller magnitude. The last term
grows with the length of reductions as rounding does, and small outputs are not excused by the
errors of large ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Another order of summation, another exp, fused or unfused multiply-add: an honest kernel may err
# this many times as much as eager, a wrong formula errs thousands of times as much.
MULTIPLE = 10.0


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


def allowed_error(reference: Tensor, eager: Tensor) -> Tensor:
    """Per element, how far a candidate may be from `reference` (float64); both on the CPU."""
    tolerance = tolerance_of(eager.dtype)
    magnitude = reference.abs().nan_to_num(0.0, posinf=0.0)
    scale = min(1.0, float(magnitude.square().mean().sqrt())) if magnitude.numel() else 1.0
    error = (eager.double() - reference).abs().nan_to_num(0.0, posinf=0.0)
    allowed = MULTIPLE * _largest_up_to(magnitude, error)
    return allowed.add_(magnitude, alpha=tolerance.rtol).add_(tolerance.atol * scale)


def _largest_up_to(magnitude: Tensor, error: Tensor) -> Tensor:
    """Per element, the largest error among elements whose binary exponent is not larger."""
    if magnitude.numel() == 0:
        return torch.zeros_like(magnitude)
    exponents = torch.frexp(magnitude).exponent.clamp(-1100, 1100).to(torch.int64) + 1100
    largest = torch.zeros(2201, dtype=torch.float64)
    largest.scatter_reduce_(0, exponents.reshape(-1), error.reshape(-1), "amax")
    cumulative = largest.cummax(0).values
    return cumulative[exponents.reshape(-1)].reshape(magnitude.shape)

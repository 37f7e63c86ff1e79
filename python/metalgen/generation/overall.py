"""Half and bfloat16 results as a whole: errors must not add up to more than rounding explains.

One element of a narrow dtype may be off by percents, so that no element alone tells a kernel that
scales by 1.01, or leaves out one term of a thousand, from an honest one. All together do. Rounding
errors are independent: their root mean square is known to about 1 / sqrt(n), and they have no
common factor. Two measures, with u the unit roundoff, e the error of each element and E what
rounding does to it (metalgen.generation.tolerance):

- size: rms(e) <= 4 rms(E) + u rms(reference)
- bias: with s = <got, reference> / <reference, reference>, and s' the same of eager,
  |s - 1| <= 4 |s' - 1| + u / 2 + 4 (rms(E) / rms(reference) + u) / sqrt(n)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_UNIT_ROUNDOFF = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
_MULTIPLE = 4.0


def overall_mismatch(
    name: str, got: Tensor, eager: Tensor, reference: Tensor, moved: Tensor | None
) -> str | None:
    """What the errors of an output in half or bfloat16 amount to, None where that is rounding."""
    unit = _UNIT_ROUNDOFF.get(eager.dtype)
    if unit is None:
        return None
    is_counted = got.isfinite() & eager.isfinite() & reference.isfinite()
    got, eager, precise = (x[is_counted].double() for x in (got, eager, reference))
    size = _rms(precise)
    if size == 0:
        return None
    own = (eager - precise).abs()
    if moved is not None:
        own = torch.maximum(own, moved[is_counted].double())
    rounding, error = _rms(own), _rms(got - precise)
    if error > _MULTIPLE * rounding + unit * size:
        return (
            f"output '{name}': all elements together are wrong; the root mean square of the error"
            f" is {error / size:.3g} of the result's, rounding explains {rounding / size:.3g}"
        )
    bias, usual = _slope(got, precise) - 1, abs(_slope(eager, precise) - 1)
    luck = _MULTIPLE * (rounding / size + unit) / math.sqrt(precise.numel())
    if abs(bias) > _MULTIPLE * usual + unit / 2 + luck:
        return (
            f"output '{name}': all elements together are {1 + bias:.6g} times what is expected,"
            f" eager's {1 + usual:.6g}"
        )
    return None


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt()) if values.numel() else 0.0


def _slope(values: Tensor, reference: Tensor) -> float:
    """The factor that brings the reference nearest to the values."""
    return float((values * reference).sum() / reference.square().sum())

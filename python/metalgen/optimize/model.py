"""The two calls most users need: make a model fast, and say what became of it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metalgen.optimize.backend import Backend
from metalgen.optimize.region import Policy
from metalgen.optimize.report import Report


def optimize_for_metal(
    model: nn.Module, *, policy: Policy = "fastest", dynamic: bool | None = True
) -> nn.Module:
    """The model with verified Metal kernels where they gain, the same parameters, eager elsewhere.

    Kernels serve inference: in eval mode, where nothing needs a gradient (`torch.no_grad()`).
    `policy="metal"` takes every kernel that is right, whatever its speed. `dynamic=False` compiles
    anew for each size of the inputs. The result's `metal_report` tells what was done so far.
    """
    backend = Backend(policy, weakref.ref(model))
    compiled = torch.compile(model, backend=backend, dynamic=dynamic)
    assert isinstance(compiled, nn.Module)
    vars(compiled)["metal_report"] = backend.report  # setattr would write to `model`
    return compiled


def explain(
    model: nn.Module,
    inputs: Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    policy: Policy = "fastest",
) -> Report:
    """Run the model once on `inputs`, without gradients, and report what was done; it prints.

    `inputs` are forward's arguments: one tensor, a sequence, or a mapping by name. A result of
    `optimize_for_metal` reports of its own calls, this one included.
    """
    optimized = model if "metal_report" in vars(model) else optimize_for_metal(model, policy=policy)
    with torch.no_grad():
        if isinstance(inputs, Tensor):
            optimized(inputs)
        elif isinstance(inputs, Mapping):
            optimized(**inputs)
        else:
            optimized(*inputs)
    report: Report = vars(optimized)["metal_report"]
    return report

"""The two calls most users need: make a model fast, and say what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule

from metalgen.optimize.backend import Backend
from metalgen.optimize.front import Front, FrontedModule
from metalgen.optimize.means import Means, Policy
from metalgen.optimize.packs import Packs
from metalgen.optimize.report import Report, Stage, check_stage

Inputs = Tensor | Sequence[Any] | Mapping[str, Any]


def optimize_for_metal(
    model: nn.Module,
    *,
    policy: Policy = "fastest",
    dynamic: bool | None = True,
    budget_s: float | None = None,
    chip: str | None = None,
    packs: Packs = None,
) -> nn.Module:
    """The model with verified Metal kernels where they gain, the same parameters, eager elsewhere.

    Kernels gain most in eval mode where nothing needs a gradient (`torch.no_grad()`); where one is
    needed, forward and backward graphs are split into regions.
    `policy="metal"` takes every kernel that is right, whatever its speed. `dynamic=False` compiles
    anew for each size of the inputs. `budget_s` bounds the seconds that first calls may take beside
    the model's own: the heaviest parts get kernels first, the rest stays eager. With `chip`, such
    as "M3 Max", kernels are chosen by what the cost model predicts for it, not by times measured
    here. `packs` are kernel packs (folders, or what `metalgen.packs.open_pack` gives) whose kernels
    compete, all that are installed for None. The result's `metal_report` tells what was done.
    """
    return _optimized(model, Means.of(policy, budget_s, chip, packs), dynamic)


def _optimized(model: nn.Module, means: Means, dynamic: bool | None) -> nn.Module:
    backend = Backend(means)
    # torch.compile would not let the backend allow recurrent modules.
    compiled = torch._dynamo.optimize(backend, dynamic=dynamic)(model)
    assert isinstance(compiled, OptimizedModule)
    compiled.__class__ = FrontedModule
    vars(compiled)["metal_report"] = backend.report  # setattr would write to `model`
    vars(compiled)["forward"] = Front(model, compiled.forward, backend.report)
    return compiled


@overload
def explain(
    model: nn.Module,
    inputs: Inputs,
    *,
    policy: Policy = ...,
    budget_s: float | None = ...,
    chip: str | None = ...,
    packs: Packs = ...,
    stage: None = ...,
) -> Report: ...
@overload
def explain(
    model: nn.Module,
    inputs: Inputs,
    *,
    policy: Policy = ...,
    budget_s: float | None = ...,
    chip: str | None = ...,
    packs: Packs = ...,
    stage: Stage,
) -> str: ...
def explain(
    model: nn.Module,
    inputs: Inputs,
    *,
    policy: Policy = "fastest",
    budget_s: float | None = None,
    chip: str | None = None,
    packs: Packs = None,
    stage: Stage | None = None,
) -> Report | str:
    """Run the model once on `inputs`, without gradients, and report what was done; it prints.

    `inputs` are forward's arguments: one tensor, a sequence, or a mapping by name. A result of
    `optimize_for_metal` reports of its own calls, this one included. With `stage` ("graph",
    "loops", "metal", "plan") the text of every region at that stage instead. The other arguments
    are those of `optimize_for_metal`.
    """
    if stage is not None:
        check_stage(stage)
    optimized = model
    if "metal_report" not in vars(model):
        means = replace(Means.of(policy, budget_s, chip, packs), is_thorough=True)
        optimized = _optimized(model, means, dynamic=True)
    with torch.no_grad():
        if isinstance(inputs, Tensor):
            optimized(inputs)
        elif isinstance(inputs, Mapping):
            optimized(**inputs)
        else:
            optimized(*inputs)
    report: Report = vars(optimized)["metal_report"]
    return report if stage is None else report.stage(stage)

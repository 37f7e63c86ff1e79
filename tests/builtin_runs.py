"""Runs the built-in proposer's answers on the software device, beside eager PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

import metalgen
from metalgen.generation.candidate import parse_reply
from metalgen.plan.run import compile_plan, kernels_of
from metalgen.problem import LoadedProblem
from metalgen.proposers.builtin.proposer import reply_text
from metalgen.proposers.builtin.variants import VARIANTS, Variant

TOLERANCES = {torch.float32: 2e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def problem_of(module: nn.Module, *inputs: object) -> LoadedProblem:
    """A problem without a file."""
    return LoadedProblem(Path("problem.py"), ModuleType("problem"), module, inputs)


def reply_for(module: nn.Module, *inputs: object, variant: Variant = VARIANTS[0]) -> str:
    """What the built-in proposer answers."""
    return reply_text(problem_of(module, *inputs), variant)


def agree(
    module: nn.Module,
    *inputs: Tensor,
    others: Sequence[tuple[Tensor, ...]] = (),
    variant: Variant = VARIANTS[0],
) -> None:
    """The candidate made for `inputs` computes what the module does, on `others` too."""
    problem = problem_of(module, *inputs)
    candidate = parse_reply(reply_text(problem, variant))
    library = metalgen.compile_shader(candidate.source)
    parameters = problem.named_parameters()
    compiled = compile_plan(
        candidate.plan,
        kernels_of(library),
        inputs=tuple(problem.named_inputs()),
        parameters=tuple(parameters),
    )
    bound = compiled.bind(library, parameters)
    for given in (inputs, *others):
        wanted = problem.run(given, copy.deepcopy(module))
        results = bound.run(problem.named_inputs(given)).values()
        for result, expected in zip(results, wanted, strict=True):
            tolerance = TOLERANCES.get(expected.dtype, 0.0)
            torch.testing.assert_close(
                result, expected, rtol=tolerance, atol=tolerance, equal_nan=True
            )


class Computes(nn.Module):
    """A module whose forward is a function of two inputs, or of one."""

    def __init__(self, function: object, *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)


class OfOne(Computes):
    def forward(self, x: Tensor) -> object:
        return self.function(x, *self.parts)


class OfTwo(Computes):
    def forward(self, x: Tensor, y: Tensor) -> object:
        return self.function(x, y, *self.parts)

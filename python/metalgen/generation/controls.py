"""Is a problem worth solving? One whose answer hardly depends on what it is given is a control.

A problem is a control where the outputs for other inputs, or for other weights, would be accepted
as those for its own: a kernel that ignores either would pass, so accepting it proves nothing.
"Accepted" is what verification means by it (`mismatch`, `tolerance`), not bitwise equality: outputs
that are rounding noise differ in every bit and carry no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from metalgen.generation.cases import VALUE_CHANGES, changed, perturbed
from metalgen.generation.mismatch import Output, find_mismatch
from metalgen.generation.reference import Expected, expect, in_double
from metalgen.generation.shapes import tensors_in
from metalgen.problem import LoadedProblem
from metalgen.problem.description import copied, copied_module

CONSTANT = "the outputs are the same whatever the inputs and the weights are"
IGNORES_INPUTS = "the outputs do not depend on the inputs, as far as the tolerance can tell"
IGNORES_WEIGHTS = "the outputs do not depend on the weights, as far as the tolerance can tell"


def control_reason(problem: LoadedProblem, expected: Expected | None = None) -> str | None:
    """Why accepting a candidate for this problem proves nothing; None where it does.

    `expected` is what the module gives for its own inputs, where that is known already. Raises what
    `forward` raises on its own inputs; others that it refuses are not tried.
    """
    own = expected or expect(problem, problem.module, problem.inputs)
    inputs = _is_insensitive(own, _with_other_inputs(problem, own))
    weights = _is_insensitive(own, _with_other_weights(problem, own))
    if inputs and weights:
        return CONSTANT
    if inputs:
        return IGNORES_INPUTS
    return IGNORES_WEIGHTS if weights else None


def _is_insensitive(own: Expected, others: Iterable[tuple[Tensor, ...]]) -> bool:
    """Whether all `others`, of which there must be some, would be accepted in place of `own`."""
    count = 0
    for outputs in others:
        if not _would_be_accepted(own, outputs):
            return False
        count += 1
    return count > 0


def _would_be_accepted(own: Expected, outputs: tuple[Tensor, ...]) -> bool:
    if len(outputs) != len(own.eager):
        return False
    wanted = zip(outputs, own.eager, own.precise, own.moved, strict=True)
    return all(
        find_mismatch(Output(f"out{i}", got.to(eager.dtype), eager, precise, moved=moved)) is None
        for i, (got, eager, precise, moved) in enumerate(wanted)
    )


def _with_other_inputs(problem: LoadedProblem, own: Expected) -> Iterator[tuple[Tensor, ...]]:
    """Outputs for other inputs, the likeliest to differ first, as long as any is asked for."""
    for seed in (1, 2):
        fresh = problem.fresh_inputs(seed)
        if not _equal(fresh, problem.inputs):
            yield from _outputs(problem, own, problem.module, fresh)
    for change in VALUE_CHANGES.values():
        other = tuple(changed(value, change) for value in copied(problem.inputs))
        if not _equal(other, problem.inputs):
            yield from _outputs(problem, own, problem.module, other)


def _with_other_weights(problem: LoadedProblem, own: Expected) -> Iterator[tuple[Tensor, ...]]:
    """Outputs for other weights; none where the module has no parameters."""
    if not any(p.is_floating_point() and p.numel() for p in problem.module.parameters()):
        return
    for seed in (1, 2):
        yield from _outputs(problem, own, perturbed(problem, seed), problem.inputs)


def _outputs(
    problem: LoadedProblem, own: Expected, module: nn.Module, inputs: tuple[object, ...]
) -> Iterator[tuple[Tensor, ...]]:
    """What the module gives, or nothing where it refuses these inputs or gives no finite result.

    In float64 where `own` is known in it: else the rounding noise of other inputs, which may be
    larger, would pass for an answer.
    """
    outputs = None if own.note else in_double(problem, module, inputs)[0]
    if outputs is None:
        try:
            outputs = problem.run(copied(inputs), copied_module(module))
        except Exception:
            return
    if all(bool(output.isfinite().all()) for output in outputs):
        yield tuple(output.detach().cpu() for output in outputs)


def _equal(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    pairs = list(zip(tensors_in(some), tensors_in(others), strict=False))
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)

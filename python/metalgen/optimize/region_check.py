"""Are a region's kernels right? Run them once on real inputs, in guarded memory, beside ATen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metalgen.errors import MetalgenError
from metalgen.generation.guarded import POISONS, GuardedMemory
from metalgen.generation.mismatch import Output, find_mismatch
from metalgen.optimize.contender import Contender

Eager = Callable[..., tuple[Tensor, ...]]


def wrong_result(
    contender: Contender, eager: Eager, arguments: Sequence[object], names: Sequence[str]
) -> str | None:
    """What is wrong with a contender on these inputs, None where nothing is; outputs' `names`."""
    expected = eager(*arguments)
    precise = _precise(eager, arguments, expected)
    for poison in POISONS:  # what no kernel writes differs from one to the other
        memory = GuardedMemory(poison)
        try:
            outputs = contender.run_in(memory.allocate, arguments)
        except MetalgenError:
            raise
        except Exception as error:  # whatever a contender does not expect, ATen can compute
            return f"{type(error).__name__}: {error}"
        if overrun := memory.overrun():
            return overrun
        for name, got, own, reference in zip(names, outputs, expected, precise, strict=True):
            output = Output(name, got.cpu(), own.cpu(), reference.cpu())
            if mismatch := find_mismatch(output):
                return mismatch
    return None


def _precise(
    eager: Eager, arguments: Sequence[object], expected: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The results in float64; in ATen's own dtype where the graph has no float64 form."""
    try:
        results = eager(*map(_doubled, arguments))
    except (RuntimeError, TypeError, ValueError):  # such as a dtype that an operator names itself
        results = tuple(expected)
    return tuple(
        result.cpu().double() if own.is_floating_point() else own
        for result, own in zip(results, expected, strict=True)
    )


def _doubled(value: object) -> object:
    if isinstance(value, Tensor) and value.is_floating_point():
        # Apple GPUs have no float64.
        return value.detach().to("cpu").to(torch.float64)
    return value.cpu() if isinstance(value, Tensor) else value

"""Are a region's kernels right? Run them once on real inputs, in guarded memory, beside ATen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metalgen.errors import MetalgenError
from metalgen.generation.guarded import POISONS, GuardedMemory
from metalgen.generation.mismatch import Output, find_mismatch
from metalgen.optimize.contender import Contender, RegionGraph
from metalgen.optimize.precise import moved_by_rounding, precise_results


@dataclass(frozen=True)
class Expected:
    """What a region gives on some arguments, all on the CPU.

    In ATen, in float64, and how far rounding moves each element where the region has narrow floats.
    """

    names: Sequence[str]
    eager: Sequence[Tensor]
    precise: Sequence[Tensor]
    moved: Sequence[Tensor | None]

    @classmethod
    def of(cls, graph: RegionGraph, arguments: Sequence[object]) -> Expected:
        """Raises what ATen raises on such arguments."""
        results = tuple(graph.eager(*arguments))
        precise = precise_results(graph.module, arguments, results)
        moved = moved_by_rounding(graph.module, arguments, precise)
        names = [node.name for node in graph.outputs]
        return cls(names, [result.cpu() for result in results], precise, moved)

    def mismatch(self, outputs: Sequence[Tensor]) -> str | None:
        """How the outputs differ from what was expected, None where they do not."""
        for name, got, own, reference, moved in zip(
            self.names, outputs, self.eager, self.precise, self.moved, strict=True
        ):
            if mismatch := find_mismatch(Output(name, got, own, reference, moved=moved)):
                return mismatch
        return None


def wrong_result(
    contender: Contender, arguments: Sequence[object], expected: Expected
) -> str | None:
    """What is wrong with a contender on these inputs, None where nothing is."""
    before: list[Tensor] = []
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
        found = [output.cpu() for output in outputs]
        if before and all(map(_is_same, found, before)):
            return None  # compared already
        if mismatch := expected.mismatch(found):
            return mismatch
        before = found
    return None


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Bit by bit: NaN equals itself."""
    one, other = one.contiguous().reshape(-1), other.contiguous().reshape(-1)
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))

"""A region in place of its operators: checked and timed when first called, then settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from metalgen.errors import MetalgenError
from metalgen.optimize.contender import Contender, RegionGraph
from metalgen.optimize.race import race
from metalgen.optimize.region_check import wrong_result
from metalgen.optimize.report import RegionReport

Policy = Literal["fastest", "metal"]


class Region(nn.Module):
    """Computes what `graph` computes, by the contender that is right and wanted, else in ATen."""

    def __init__(
        self,
        graph: RegionGraph,
        contenders: Sequence[Contender],
        policy: Policy,
        report: RegionReport,
    ) -> None:
        super().__init__()
        self._graph = graph
        self._contenders = contenders
        self._policy = policy
        self._chosen: Contender | None = None
        self.report = report

    def forward(self, *arguments: object) -> tuple[Tensor, ...]:
        """The region's outputs."""
        if self.report.choice == "undecided":
            self._decide(arguments)
        if self._chosen is not None:
            try:
                return self._chosen.run(arguments)
            except MetalgenError as error:
                self._chosen = None
                self.report.decide("aten", f"failed on later inputs: {error}")
        return self._aten(*arguments)

    def _aten(self, *arguments: object) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = tuple(self._graph.module(*arguments))
        return results

    def _decide(self, arguments: tuple[object, ...]) -> None:
        wrong: list[str] = []
        best: tuple[float, float, Contender] | None = None
        for contender in self._contenders:
            if reason := self._wrong(contender, arguments):
                wrong.append(reason if not self._contenders[1:] else f"{contender.name}: {reason}")
                continue
            metal_us, aten_us = self._race(contender, arguments)
            if best is None or metal_us < best[0]:
                best = (metal_us, aten_us, contender)
        if best is None:
            self.report.decide("aten", "; ".join(wrong))
        else:
            self._choose(*best)

    def _wrong(self, contender: Contender, arguments: tuple[object, ...]) -> str | None:
        names = [node.name for node in self._graph.outputs]
        try:
            mismatch = wrong_result(contender, self._aten, arguments, names)
        except MetalgenError as error:
            return str(error)
        return None if mismatch is None else f"wrong: {mismatch}"

    def _race(self, contender: Contender, arguments: tuple[object, ...]) -> tuple[float, float]:
        device = next(value.device for value in arguments if isinstance(value, Tensor))
        return race(lambda: contender.run(arguments), lambda: self._aten(*arguments), device)

    def _choose(self, metal_us: float, aten_us: float, contender: Contender) -> None:
        self.report.metal_us, self.report.aten_us = metal_us, aten_us
        self.report.kernels, self.report.stages = contender.kernels, dict(contender.stages)
        if self._policy != "metal" and metal_us >= aten_us:
            self.report.decide("aten", "verified, but ATen is faster")
            return
        self._chosen = contender
        self.report.decide(
            "metal",
            "verified; the policy asks for Metal"
            if self._policy == "metal"
            else "verified and faster",
        )

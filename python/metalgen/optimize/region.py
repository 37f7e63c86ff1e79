"""A region in place of its operators: checked and timed when first called, then settled."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.fx import GraphModule

from metalgen.errors import MetalgenError
from metalgen.optimize.race import race
from metalgen.optimize.region_check import wrong_result
from metalgen.optimize.region_plan import RegionPlan
from metalgen.optimize.report import RegionReport

Policy = Literal["fastest", "metal"]


class Region(nn.Module):
    """Computes what `eager` computes, with Metal kernels where they are right and wanted."""

    def __init__(
        self, eager: GraphModule, plan: RegionPlan, policy: Policy, report: RegionReport
    ) -> None:
        super().__init__()
        self._eager = eager
        self._plan = plan
        self._policy = policy
        self.report = report

    def forward(self, *arguments: object) -> tuple[Tensor, ...]:
        """The region's outputs."""
        if self.report.choice == "undecided":
            self._decide(arguments)
        if self.report.choice == "metal":
            try:
                return self._plan.run(arguments)
            except MetalgenError as error:
                self.report.decide("aten", f"failed on later inputs: {error}")
        return self._aten(*arguments)

    def _aten(self, *arguments: object) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = tuple(self._eager(*arguments))
        return results

    def _decide(self, arguments: tuple[object, ...]) -> None:
        try:
            mismatch = wrong_result(self._plan, self._aten, arguments)
        except MetalgenError as error:
            self.report.decide("aten", str(error))
            return
        if mismatch is not None:
            self.report.decide("aten", f"wrong: {mismatch}")
            return
        self._compare_speed(arguments)

    def _compare_speed(self, arguments: tuple[object, ...]) -> None:
        device = next(value.device for value in arguments if isinstance(value, Tensor))
        metal_us, aten_us = race(
            lambda: self._plan.run(arguments), lambda: self._aten(*arguments), device
        )
        self.report.metal_us, self.report.aten_us = metal_us, aten_us
        if self._policy == "metal":
            self.report.decide("metal", "verified; the policy asks for Metal")
        elif metal_us < aten_us:
            self.report.decide("metal", "verified and faster")
        else:
            self.report.decide("aten", "verified, but ATen is faster")

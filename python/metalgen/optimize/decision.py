"""Which contender computes a region for calls of one shape class, if any: right first, then fast.

Every contender is checked in this process, on the inputs at hand: that costs three calls or so,
and what is kept of earlier processes knows neither these weights nor these values. Times are what
is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from metalgen.device import measured_on
from metalgen.errors import MetalgenError
from metalgen.kept_times import Time
from metalgen.optimize.canonical import fingerprint
from metalgen.optimize.contender import Contender, RegionGraph
from metalgen.optimize.means import Means, kept_choices
from metalgen.optimize.predicted import predicted_aten, predicted_us
from metalgen.optimize.race import race_all
from metalgen.optimize.region_check import Expected, wrong_result
from metalgen.optimize.report import ClassReport, How
from metalgen.optimize.shape_class import shape_class

# Kernels that gain less than that would lose it again on another day.
LEAST_GAIN = 0.02
_REASONS: Mapping[How | None, str] = {
    "measured": "",
    "kept": ", as measured before",
    "predicted": ", as predicted",
    None: "",
}


@dataclass(frozen=True)
class Decision:
    """`contender` computes calls of the class; None: ATen does."""

    contender: Contender | None
    report: ClassReport


def decide(
    graph: RegionGraph,
    contenders: Sequence[Contender],
    arguments: Sequence[object],
    means: Means,
    name: str,
    refused: Sequence[str] = (),
) -> Decision:
    """Check what there is on `arguments`, which are of the class `name`, and choose.

    What cannot be checked is not used. `refused`: what could not even be made, and why.
    """
    trial = _Trial(graph, arguments, means, name)
    right: list[Contender] = []
    wrong = list(refused)
    for contender in trial.ranked(contenders):
        if right and means.budget.is_spent:
            break
        if (reason := trial.wrong(contender)) is None:
            right.append(contender)
        else:
            wrong.append(f"{contender.name}: {reason}")
    if not right:
        return left(name, "; ".join(wrong))
    try:
        return trial.best(right, tuple(wrong))
    except MetalgenError as error:  # such as a device that reports an error while it is timed
        return left(name, str(error))


def left(name: str, reason: str) -> Decision:
    """Calls of that class are left to ATen."""
    return Decision(None, ClassReport(name, "aten", reason))


@dataclass
class _Trial:
    graph: RegionGraph
    arguments: Sequence[object]
    means: Means
    name: str

    def ranked(self, contenders: Sequence[Contender]) -> Sequence[Contender]:
        """The most promising first, by the cost model, where the rest may not have its turn."""
        if len(contenders) < 2 or self.means.budget.limit_s is None:
            return contenders
        us = {c.name: predicted_us(c, self.arguments, self.means.chip) for c in contenders}
        return sorted(contenders, key=lambda c: us[c.name] or float("inf"))

    @cached_property
    def expected(self) -> Expected:
        return Expected.of(self.graph, self.arguments)

    def wrong(self, contender: Contender) -> str | None:
        try:
            mismatch = wrong_result(contender, self.arguments, self.expected)
        except MetalgenError as error:
            return str(error)
        except (MemoryError, RuntimeError) as error:
            if "out of memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            return "cannot be checked here: out of memory"
        return None if mismatch is None else f"wrong: {mismatch}"

    def best(self, right: Sequence[Contender], refused: tuple[str, ...]) -> Decision:
        us, how = self._times(right)
        best = min(right, key=lambda contender: us.get(contender.name, float("inf")))
        metal_us, aten_us = us.get(best.name), us.get("aten")
        is_faster = (
            metal_us is not None and aten_us is not None and metal_us < aten_us * (1 - LEAST_GAIN)
        )
        if self.means.policy == "metal":
            reason = "verified; the policy asks for Metal"
        elif metal_us is None or aten_us is None:
            reason = "verified, but nothing is known of its speed"
        else:
            reason = ("verified and faster" if is_faster else "verified, but ATen is faster") + (
                _REASONS[how]
            )
        is_used = is_faster or self.means.policy == "metal"
        return Decision(
            best if is_used else None,
            ClassReport(
                self.name,
                "metal" if is_used else "aten",
                reason,
                best.name,
                us,
                how,
                refused,
            ),
        )

    def _times(self, right: Sequence[Contender]) -> tuple[dict[str, float], How]:
        if self.means.chip is not None:
            return self._predicted(right), "predicted"
        kept = kept_choices()
        place = (
            measured_on("mps" if self.graph.device == "mps" else "cpu"),
            fingerprint(self.graph),
            shape_class(self.arguments),
        )
        keys = {contender.name: f"{contender.name} {contender.content}" for contender in right}
        keys["aten"] = "aten"
        known = kept.times(*place)
        if all(key in known and known[key].is_measured for key in keys.values()):
            return {name: known[key].us for name, key in keys.items()}, "kept"
        us = self._measured(right)
        kept.keep(*place, {keys[name]: Time(time) for name, time in us.items()})
        return us, "measured"

    def _measured(self, right: Sequence[Contender]) -> dict[str, float]:
        device = next(value.device for value in self.arguments if isinstance(value, Tensor))
        runs = {c.name: _run(c, self.arguments) for c in right}
        times, aten_us = race_all(runs, lambda: self.graph.eager(*self.arguments), device)
        return {**times, "aten": aten_us}

    def _predicted(self, right: Sequence[Contender]) -> dict[str, float]:
        us = {c.name: predicted_us(c, self.arguments, self.means.chip) for c in right}
        us["aten"] = predicted_aten(self.graph.module, self.arguments, self.means.chip)
        return {name: time for name, time in us.items() if time is not None}


def _run(contender: Contender, arguments: Sequence[object]) -> Callable[[], object]:
    return lambda: contender.run(arguments)

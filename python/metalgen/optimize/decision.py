"""Which contender computes a region for calls of one shape class, if any: right first, then fast.

Whoever computes a class is checked in this process, on the inputs at hand: that costs three calls
or so, and what is kept of earlier processes knows neither these weights nor these values. Times are
what is kept, so that contenders that lost before are not made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType

import torch

from metalgen.chips import Chip, Estimate
from metalgen.errors import MetalgenError
from metalgen.optimize.choices import ATEN, RegionTimes, is_faster, key_of, name_of
from metalgen.optimize.contender import Contender, Offer
from metalgen.optimize.energy import Run, joules_of
from metalgen.optimize.means import Means
from metalgen.optimize.predicted import predicted, predicted_aten
from metalgen.optimize.race import race_all
from metalgen.optimize.region_check import Expected, wrong_result
from metalgen.optimize.report import Choice, ClassReport, How

_NO_JOULES: Mapping[str, float] = MappingProxyType({})
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


def left(name: str, reason: str) -> Decision:
    """Calls of that class are left to ATen."""
    return Decision(None, ClassReport(name, "aten", reason))


@dataclass
class Trial:
    """A region's contenders on arguments of the shape class `name`."""

    times: RegionTimes
    arguments: Sequence[object]
    means: Means
    name: str

    def known(self, offers: Sequence[Offer]) -> Offer | Decision | None:
        """What kept times say: which offer won, or that ATen did; None where they do not tell."""
        if self._is_by_energy or self.means.chip is not None:
            return None
        if self.means.is_thorough and not self._was_shown:
            return None
        us = self.times.of_offers(self.arguments, offers)
        if us is None:
            return None
        won = min(offers, key=lambda offer: us.get(offer.name, math.inf))
        if won.name in us and (self.means.policy == "metal" or is_faster(us[won.name], us[ATEN])):
            return won
        if self.means.policy == "metal":
            return left(self.name, "no contender was right before")
        return self._chosen(None, won.name, us, "kept")

    def decide(self, contenders: Sequence[Contender], refused: Sequence[str] = ()) -> Decision:
        """Check what there is and choose; what cannot be checked is not used.

        `refused`: what could not even be made, and why.
        """
        right: list[Contender] = []
        wrong = list(refused)
        for contender in self._ranked(contenders):
            if right and self.means.budget.is_spent:
                break
            if (reason := self._wrong(contender)) is None:
                right.append(contender)
            else:
                wrong.append(f"{contender.name}: {reason}")
        if not right:
            return left(self.name, "; ".join(wrong))
        try:
            us, how = self._times(right)
            joules = self._joules(right) if self._is_by_energy else {}
        except MetalgenError as error:  # such as a device that reports an error while it is timed
            return left(self.name, str(error))
        costs = joules if self._is_by_energy else us
        best = min(right, key=lambda contender: costs.get(contender.name, math.inf))
        return self._chosen(best, best.name, us, how, tuple(wrong), joules)

    def _chosen(
        self,
        best: Contender | None,
        name: str,
        us: Mapping[str, float],
        how: How,
        refused: tuple[str, ...] = (),
        joules: Mapping[str, float] = _NO_JOULES,
    ) -> Decision:
        """The decision for the best contender, which is called `name`, or against it."""
        costs = joules if self._is_by_energy else us
        is_used = self.means.policy == "metal" or is_faster(costs.get(name), costs.get(ATEN))
        reason = self._reason(name, costs, how)
        choice: Choice = "metal" if is_used else "aten"
        report = ClassReport(self.name, choice, reason, name, us, how, refused, joules)
        return Decision(best if is_used else None, report)

    def _reason(self, name: str, costs: Mapping[str, float], how: How) -> str:
        if self.means.policy == "metal":
            return "verified; the policy asks for Metal"
        what, gain = ("energy", "less energy") if self._is_by_energy else ("speed", "faster")
        if name not in costs or ATEN not in costs:
            return f"ATen, as nothing is known of the kernels' {what}"
        if is_faster(costs[name], costs[ATEN]):
            return f"verified and {gain}{_REASONS[how]}"
        return f"verified, but ATen is {gain}{_REASONS[how]}"

    def _ranked(self, contenders: Sequence[Contender]) -> Sequence[Contender]:
        """The most promising first, by the cost model, where the rest may not have its turn."""
        if len(contenders) < 2 or self.means.budget.limit_s is None:
            return contenders
        found = {c.name: predicted(c, self.arguments, self.means.chip) for c in contenders}
        seconds = {name: each.seconds for name, each in found.items() if each is not None}
        return sorted(contenders, key=lambda c: seconds.get(c.name, math.inf))

    @property
    def _was_shown(self) -> bool:
        return any(subject == self.times.subject for subject, _ in self.means.shown)

    @cached_property
    def _expected(self) -> Expected:
        return Expected.of(self.times.graph, self.arguments)

    def _wrong(self, contender: Contender) -> str | None:
        try:
            mismatch = wrong_result(contender, self.arguments, self._expected)
        except MetalgenError as error:
            return str(error)
        except (MemoryError, RuntimeError) as error:
            if "out of memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            return "cannot be checked here: out of memory"
        if mismatch is None:
            return None
        self.times.refuse(self.arguments, key_of(contender))
        return f"wrong: {mismatch}"

    def _times(self, right: Sequence[Contender]) -> tuple[Mapping[str, float], How]:
        if self.means.chip is not None:
            return self._predicted(right, self.means.chip), "predicted"
        keys = {contender.name: key_of(contender) for contender in right} | {ATEN: ATEN}
        known = self.times.known(self.arguments)
        if all(key in known for key in keys.values()):
            others = {name_of(key): us for key, us in known.items() if us < math.inf}
            return others | {name: known[key] for name, key in keys.items()}, "kept"
        us = self._measured(right)
        self.times.keep(self.arguments, {keys[name]: time for name, time in us.items()})
        return us, "measured"

    def _joules(self, right: Sequence[Contender]) -> dict[str, float]:
        if self.means.meter is not None:
            runs: dict[str, Run] = {c.name: partial(c.run, self.arguments) for c in right}
            runs[ATEN] = partial(self.times.graph.eager, *self.arguments)
            return joules_of(runs, self.means.meter, self._device.type)
        found = self._estimates(right, self.means.chip)
        return {name: e.joules for name, e in found.items() if e.joules is not None}

    def _measured(self, right: Sequence[Contender]) -> dict[str, float]:
        runs = {c.name: partial(c.run, self.arguments) for c in right}
        eager = partial(self.times.graph.eager, *self.arguments)
        times, aten_us = race_all(runs, eager, self._device)
        return {**times, ATEN: aten_us}

    def _predicted(self, right: Sequence[Contender], chip: Chip) -> dict[str, float]:
        return {name: e.seconds * 1e6 for name, e in self._estimates(right, chip).items()}

    def _estimates(self, right: Sequence[Contender], chip: Chip | None) -> dict[str, Estimate]:
        found = {c.name: predicted(c, self.arguments, chip) for c in right}
        found[ATEN] = predicted_aten(self.times.graph.module, self.arguments, chip)
        return {name: each for name, each in found.items() if each is not None}

    @property
    def _device(self) -> torch.device:
        return torch.device(self.times.graph.device)

    @property
    def _is_by_energy(self) -> bool:
        return self.means.policy == "energy"

"""What is kept of regions and graphs: their contenders' times, by device and shape class.

With it a later process, and every further layer of one kind, makes and checks only the contender
that won, and nothing where ATen did. A kept time never stands for a check.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from metalgen.device import measured_on
from metalgen.kept_times import Time
from metalgen.optimize.canonical import fingerprint
from metalgen.optimize.contender import Contender, Offer, RegionGraph
from metalgen.optimize.means import kept_choices
from metalgen.optimize.shape_class import shape_class

ATEN = "aten"
# Kernels that gain less than that would lose it again on another day.
LEAST_GAIN = 0.02


def is_faster(metal_us: float | None, aten_us: float | None) -> bool:
    """Whether kernels gain enough to be taken."""
    return metal_us is not None and aten_us is not None and metal_us < aten_us * (1 - LEAST_GAIN)


@dataclass(frozen=True, eq=False)
class RegionTimes:
    """The times of a region's contenders."""

    graph: RegionGraph

    @cached_property
    def subject(self) -> str:
        """The same for equal regions."""
        return fingerprint(self.graph)

    @property
    def _place(self) -> tuple[str, str]:
        return place_of(self.graph.device), self.subject

    def known(self, arguments: Iterable[object]) -> Mapping[str, float]:
        """Microseconds by `key_of` and ATEN."""
        times = kept_choices().times(*self._place, shape_class(arguments))
        return {key: time.us for key, time in times.items() if time.is_measured}

    def keep(self, arguments: Iterable[object], us: Mapping[str, float]) -> None:
        """Keep what was measured."""
        times = {key: Time(found) for key, found in us.items()}
        kept_choices().keep(*self._place, shape_class(arguments), times)

    def refuse(self, arguments: Iterable[object], key: str) -> None:
        """Keep that a contender is made in vain: for such arguments it is wrong, or fails."""
        self.keep(arguments, {key: math.inf})

    def of_offers(
        self, arguments: Iterable[object], offers: Sequence[Offer]
    ) -> Mapping[str, float] | None:
        """ATEN's time and that of each offer that is right; None where one has not been tried."""
        known = self.known(arguments)
        if ATEN not in known or not offers:
            return None
        us = {ATEN: known[ATEN]}
        for offer in offers:
            times = [us for key, us in known.items() if name_of(key) == offer.name]
            if not times:
                return None
            if min(times) < math.inf:
                us[offer.name] = min(times)
        return us


def key_of(contender: Contender) -> str:
    """What a contender's time is kept under."""
    return f"{contender.name} {contender.content}"


def name_of(key: str) -> str:
    """The contender's name in what `key_of` gives."""
    return key.rpartition(" ")[0] or key


def place_of(device_type: str) -> str:
    """The device that times are kept for."""
    return measured_on("mps" if device_type == "mps" else "cpu")


def digest(parts: Iterable[str]) -> str:
    """A short name for much text."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

"""What the regions of one model share: what is wanted, how long it may take, what is known."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast, get_args

import torch

from metalgen.cache import tree_hash
from metalgen.chips import Chip, find_chip
from metalgen.errors import UnsupportedError
from metalgen.kept_times import KeptTimes, opened
from metalgen.optimize.budget import Budget
from metalgen.optimize.meters import EnergyMeter, energy_meter
from metalgen.optimize.packs import PackKernels, Packs
from metalgen.optimize.report import Report, Stage

Policy = Literal["fastest", "metal", "energy"]
Shown = tuple[int, Mapping[Stage, str]]
_DECIDING = threading.RLock()  # of the process, as the processor is
_SOURCES = (".py", ".h", ".metal", ".jinja", ".json")


@dataclass
class Means:
    """`chip`: choose for that chip by the cost model rather than by times measured here.

    `meter`: what measures energy, where it decides and no chip is given.
    `is_thorough`: make all that is offered once, though kept times tell who wins, to report of it.
    """

    policy: Policy = "fastest"
    budget: Budget = field(default_factory=Budget)
    chip: Chip | None = None
    packs: PackKernels = field(default_factory=PackKernels)
    meter: EnergyMeter | None = None
    is_thorough: bool = False
    report: Report = field(init=False)
    # What was made for a region, by its fingerprint and the contender's name: launches and texts.
    # Layers of one kind share it, also those for which nothing was made.
    shown: dict[tuple[str, str], Shown] = field(default_factory=dict)
    # What is timed must be alone, also of other models and of other graphs of this one.
    lock: threading.RLock = field(default_factory=lambda: _DECIDING)

    def __post_init__(self) -> None:
        self.report = Report(self.policy)

    @classmethod
    def of(
        cls,
        policy: str = "fastest",
        budget_s: float | None = None,
        chip: str | None = None,
        packs: Packs = None,
    ) -> Means:
        """From what a user asks for; raises UnsupportedError and PackError."""
        if policy not in (policies := get_args(Policy)):
            raise UnsupportedError(f"not supported: policy '{policy}'; {', '.join(policies)}")
        if budget_s is not None and budget_s < 0:
            raise UnsupportedError(f"not supported: a budget of {budget_s} s; 0 or more, or None")
        known = None if chip is None else find_chip(chip)
        meter = energy_meter() if policy == "energy" and known is None else None
        if policy == "energy" and known is None and meter is None:
            raise UnsupportedError(
                "not supported: energy cannot be measured here (that needs pip install "
                "'metalgen[energy]' on a Mac or beside an NVIDIA GPU, or the right to read "
                "/sys/class/powercap); give chip=, such as 'M3 Max', to predict it"
            )
        if policy == "energy" and known is not None and not known.has_known_power:
            raise UnsupportedError(
                f"not supported: nothing is known of the power of {known.title}; "
                "`metalgen chips` lists the others"
            )
        return cls(cast("Policy", policy), Budget(budget_s), known, PackKernels.of(packs), meter)


def kept_choices() -> KeptTimes:
    """Times of regions and graphs, of today's metalgen and torch."""
    return opened("regions", _version())


@functools.cache
def _version() -> str:
    own = tree_hash(Path(__file__).parents[1], suffixes=_SOURCES)[:16]
    return f"metalgen {version('metalgen')} {own} torch {torch.__version__}"

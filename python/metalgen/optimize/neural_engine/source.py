"""Offers suitable regions to the Neural Engine, on a Mac that has one and coremltools."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from metalgen.chips import Chip
from metalgen.chips.this_mac import this_chip
from metalgen.optimize.canonical import fingerprint
from metalgen.optimize.contender import Offer, RegionGraph
from metalgen.optimize.neural_engine.contender import NAME, NeuralEngine, Predict, core_ml
from metalgen.optimize.neural_engine.suitable import check_operators, is_suitable


def neural_engine(region: RegionGraph) -> Iterator[Offer]:
    """One way for a suitable region, where Core ML can run it."""
    if _is_here() and is_suitable(region):
        yield Offer(NAME, lambda: made(region, chip=_chip()))


def made(
    region: RegionGraph,
    *,
    chip: Chip | None = None,
    load: Callable[[Any], Predict] = core_ml,
) -> NeuralEngine:
    """The contender; UnsupportedError names an operator that cannot be converted."""
    check_operators(region)
    identity = f"{fingerprint(region)} coremltools {version('coremltools')}"
    content = hashlib.sha256(identity.encode()).hexdigest()[:16]
    stages = {"graph": str(region.module.graph).strip()}
    return NeuralEngine(region, content, stages, chip, load)  # type: ignore[arg-type]


@functools.cache
def _is_here() -> bool:
    """Whether this is a Mac with a Neural Engine, so far as is known, and has the extra."""
    if sys.platform != "darwin" or importlib.util.find_spec("coremltools") is None:
        return False
    chip = _chip()
    return chip is None or chip.neural_cores is None or chip.neural_cores.value > 0


@functools.cache
def _chip() -> Chip | None:
    return this_chip()

"""Who offers contenders for a region, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from metalgen.optimize.attention.flash import flash
from metalgen.optimize.contender import Contender, Offer, RegionGraph, Source
from metalgen.optimize.region_plan import plan_region


def templates(region: RegionGraph) -> Iterator[Offer]:
    """The built-in proposer's kernels."""
    yield Offer("templates", lambda: plan_region(region))


SOURCES: tuple[Source, ...] = (templates, flash)


def offers(region: RegionGraph, sources: Iterable[Source] = SOURCES) -> Sequence[Offer]:
    """All that is offered for a region, the most promising first where that was predicted."""
    found = [offer for source in sources for offer in _asked(source, region)]
    return sorted(found, key=lambda offer: (offer.predicted is None, offer.predicted or 0.0))


def _asked(source: Source, region: RegionGraph) -> Sequence[Offer]:
    """What a source offers; where it fails, an offer that fails, for the report."""
    try:
        return list(source(region))
    except Exception as error:  # whatever a source does not expect, others can compute
        return [Offer(getattr(source, "__name__", "a source"), partial(_fail, error))]


def _fail(error: Exception) -> Contender:
    raise error

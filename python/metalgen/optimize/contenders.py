"""Who offers contenders for a region, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch

from metalgen.optimize.attention.flash import flash
from metalgen.optimize.contender import Contender, Offer, RegionGraph, Source
from metalgen.optimize.neural_engine import neural_engine
from metalgen.optimize.passes import OF_REGIONS, rewrite_region
from metalgen.optimize.recurrent.steps import steps
from metalgen.optimize.region_plan import plan_region
from metalgen.optimize.rewritten import rewritten
from metalgen.optimize.rolled.kernel import loop_of, rolled
from metalgen.optimize.strategies import strategies

_NOTHING_FOLDED = "templates, nothing folded"


def templates(region: RegionGraph) -> Iterator[Offer]:
    """The built-in proposer's kernels, not those of every step of a loop."""
    if loop_of(region) is not None:
        return
    yield Offer("templates", lambda: plan_region(rewritten(region)))
    if _is_folded(region):
        # Weights of few digits lose some when they are scaled: the check may refuse the first.
        yield Offer(_NOTHING_FOLDED, partial(plan_region, region, _NOTHING_FOLDED))


def _is_folded(region: RegionGraph) -> bool:
    """Whether passes change a region of half precision."""
    values = (node.meta.get("val") for node in region.placeholders)
    few = (torch.float16, torch.bfloat16)
    is_half = any(isinstance(value, torch.Tensor) and value.dtype in few for value in values)
    return is_half and rewrite_region(region, OF_REGIONS) is not region


SOURCES: tuple[Source, ...] = (templates, rolled, flash, steps, strategies, neural_engine)


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

"""A region as kernels are made for it: passes applied, tensors in the order of their memory."""

from __future__ import annotations

from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.memory_order import in_memory_order
from metalgen.optimize.passes import OF_REGIONS, rewrite_region


def rewritten(region: RegionGraph) -> RegionGraph:
    """The region to make kernels of; its results are those of the region as it was."""
    return in_memory_order(rewrite_region(region, OF_REGIONS))

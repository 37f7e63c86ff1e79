"""Rewrites of graphs, one file each with its own postcondition; a reader sees the list here."""

from metalgen.optimize.passes.apply import Pass, rewrite_graph, rewrite_region
from metalgen.optimize.passes.batch_norm import FOLD_BATCH_NORM
from metalgen.optimize.passes.constants import FOLD_CONSTANTS
from metalgen.optimize.passes.conversions import ONE_CONVERSION
from metalgen.optimize.passes.copies import COPIES_TO_READERS
from metalgen.optimize.passes.parameter_work import PARAMETERS_TO_READERS
from metalgen.optimize.passes.views import MERGE_VIEWS

# Of a whole graph, before it is split into regions.
OF_GRAPHS: tuple[Pass, ...] = (
    ONE_CONVERSION,
    FOLD_CONSTANTS,
    MERGE_VIEWS,
    PARAMETERS_TO_READERS,
    COPIES_TO_READERS,
)
# Of a region, for what is to compute it; it is checked against the region as it was.
OF_REGIONS: tuple[Pass, ...] = (FOLD_BATCH_NORM,)

__all__ = ["OF_GRAPHS", "OF_REGIONS", "Pass", "rewrite_graph", "rewrite_region"]

"""Why a candidate is as fast as it is: figures from AIR, counts from the software device."""

from metalgen.profile.estimate import estimate, rank, static_figures
from metalgen.profile.figures import AccessFigures, DispatchFigures

__all__ = ["AccessFigures", "DispatchFigures", "estimate", "rank", "static_figures"]

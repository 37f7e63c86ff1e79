"""Why a candidate is as fast as it is: figures from AIR, counts from the software device."""

from metalgen.profile.estimate import estimate, rank, static_figures
from metalgen.profile.figures import AccessFigures, DispatchFigures
from metalgen.profile.profile import (
    Profile,
    ProfileData,
    profile_candidate,
    profile_data,
    render,
)

__all__ = [
    "AccessFigures",
    "DispatchFigures",
    "Profile",
    "ProfileData",
    "estimate",
    "profile_candidate",
    "profile_data",
    "rank",
    "render",
    "static_figures",
]

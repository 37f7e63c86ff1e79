"""Profiles as text, rendered from templates/profile/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metalgen.templating import environment

if TYPE_CHECKING:
    from metalgen.profile.profile import ProfileData

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def text_of(data: ProfileData) -> str:
    """The profile as a model without vision reads it, and `metalgen profile` prints it."""
    templates = environment("profile")
    templates.globals.update(time=time, quantity=quantity, percent=percent, energy=energy)
    return templates.get_template("profile.txt.j2").render(profile=data).strip() + "\n"


def time(seconds: float) -> str:
    """In the unit that leaves one to three digits before the point."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def energy(joules: float) -> str:
    """Joules, with a prefix."""
    for unit, scale in (("J", 1.0), ("mJ", 1e-3)):
        if joules >= scale:
            return f"{joules / scale:.3g} {unit}"
    return f"{joules / 1e-6:.3g} µJ"


def quantity(number: float) -> str:
    """A count with a decimal prefix and a blank for a unit to follow: "12.3 M", "512 "."""
    for scale, prefix in _PREFIXES:
        if number >= scale:
            return f"{number / scale:.3g} {prefix}"
    return f"{number:.3g} "


def percent(share: float) -> str:
    """A share of one."""
    return f"{100 * share:.0f}%"

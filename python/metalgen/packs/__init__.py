"""Kernel packs: accepted kernels with what they compute, found again in other models."""

from metalgen.packs.installed import installed_packs
from metalgen.packs.manifest import Entry, Manifest, Measured
from metalgen.packs.match import Match, find_matches
from metalgen.packs.pack import Pack, PackedKernel, open_pack
from metalgen.packs.pattern import Pattern, pattern_of

__all__ = [
    "Entry",
    "Manifest",
    "Match",
    "Measured",
    "Pack",
    "PackedKernel",
    "Pattern",
    "find_matches",
    "installed_packs",
    "open_pack",
    "pattern_of",
]

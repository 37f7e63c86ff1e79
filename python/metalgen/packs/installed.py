"""Packs that are installed: announced by distributions in the entry point group metalgen.packs."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from metalgen.errors import PackError
from metalgen.packs.pack import Pack, open_pack

GROUP = "metalgen.packs"


def installed_packs() -> tuple[Pack, ...]:
    """Every installed pack, by name; those that cannot be read are passed over with a warning."""
    return tuple(_opened())


def _opened() -> Iterator[Pack]:
    for announced in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            yield open_pack(_folder(announced))
        except PackError as error:
            warnings.warn(f"pack '{announced.name}' is not used: {error}", stacklevel=3)


def _folder(announced: EntryPoint) -> Path:
    """Where the pack's package lies; none of its code is run."""
    found = importlib.util.find_spec(announced.value)
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise PackError(f"its package '{announced.value}' is missing; install it again")
    return Path(next(iter(places)))

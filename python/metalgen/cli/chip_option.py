"""The option --chip of commands that write for a chip, and what it stands for."""

from __future__ import annotations

import os
from typing import Annotated

import typer

ChipName = Annotated[
    str | None,
    typer.Option(
        "--chip",
        metavar="NAME",
        help='The chip that prompts describe and profiles predict for, as in "M3 Max"; see chips.'
        " Default: METALGEN_CHIP, else this Mac's.",
    ),
]


def chip_of(name: str | None) -> str | None:
    """The chip as it is kept with a run; None where none is asked for and this is no Mac.

    Processes that profile are told by METALGEN_CHIP. UnsupportedError for a chip that is unknown.
    """
    from metalgen.chips import find_chip
    from metalgen.chips.this_mac import this_chip

    asked = name or os.environ.get("METALGEN_CHIP")
    chip = this_chip() if not asked else find_chip(asked)
    if chip is None:
        return None
    kept = f"{chip.name} {chip.cores.value}"
    os.environ["METALGEN_CHIP"] = kept
    return kept

"""`metalgen devices`: what can run kernels on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    chips: Annotated[
        bool, typer.Option("--chips", help="List every Apple GPU that metalgen knows.")
    ] = False,
) -> None:
    """List the devices that can run kernels here, the fastest first, and their chips."""
    from dataclasses import asdict

    from metalgen.chips.this_mac import chip_of
    from metalgen.device import available

    if chips:
        from metalgen.cli.chips import chips as list_chips

        list_chips(None, as_json)
        return
    found = [(device, chip_of(device.name)) for device in available()]
    if as_json:
        named = [{**asdict(d), "chip": None if c is None else c.title} for d, c in found]
        typer.echo(json.dumps(named))
        return
    width = max(len(device.name) for device, _ in found)
    for device, chip in found:
        known = "" if chip is None else f", {chip.title}, {chip.family.name}"
        typer.echo(f"{device.name:{width}}  for tensors on {device.tensors}{known}")

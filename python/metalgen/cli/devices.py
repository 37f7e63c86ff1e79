"""`metalgen devices`: what can run kernels on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List the devices that can run kernels here, the fastest first."""
    from dataclasses import asdict

    from metalgen.device import available

    found = available()
    if as_json:
        typer.echo(json.dumps([asdict(device) for device in found]))
        return
    width = max(len(device.name) for device in found)
    for device in found:
        typer.echo(f"{device.name:{width}}  for tensors on {device.tensors}")

"""`metalgen pack`: accepted candidates as a pack that optimize_for_metal uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def pack(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders that `generate --out` or `bench --out` wrote.", exists=True),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder for the pack.")],
    name: Annotated[
        str | None, typer.Option(help="The pack's name. Default: that of the folder.")
    ] = None,
    version: Annotated[str, typer.Option(help="The pack's version, such as 1.2.")] = "1.0",
    wheel: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write a wheel into DIR; pip install announces it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Put the best accepted candidate of every problem of RUNS into a kernel pack.

    Each kernel is kept with the graph that its problem's module computes. optimize_for_metal finds
    such graphs in other models, checks the kernel there and uses it where it is faster. Problem
    files are run in this process. What cannot be packed is listed with the reason.
    """
    import re

    from metalgen.optimize.packing import build_pack
    from metalgen.packs.wheel import write_wheel

    chosen = name or re.sub(r"[^a-z0-9-]+", "-", out.name.lower()).strip("-") or "pack"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}", chosen):
        raise typer.BadParameter(f"'{chosen}': small letters, digits and '-'", param_hint="--name")
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise typer.BadParameter(f"'{version}': numbers and dots", param_hint="--version")
    packed = build_pack(runs, out, chosen, version)
    written = None if wheel is None else write_wheel(packed.pack, wheel)
    entries = packed.pack.manifest.kernels
    if as_json:
        found = {
            "pack": str(out),
            "kernels": [entry.name for entry in entries],
            "left": dict(packed.left),
            "wheel": None if written is None else str(written),
        }
        print(json.dumps(found, indent=2))
        return
    for entry in entries:
        typer.echo(f"{entry.name}: {len(entry.pattern.calls)} operators, by {entry.model}")
    for kernel, reason in packed.left:
        typer.echo(f"{kernel}: left out: {reason}", err=True)
    typer.echo(f"{len(entries)} kernels in {out}" + (f"; {written}" if written else ""))

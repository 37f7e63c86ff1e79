"""`metalgen cache`: how much compiled code is kept, and how to be rid of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show, or clear, the cache of compiled sources.

    It keeps the most recently used up to 1 GiB, in $METALGEN_CACHE_DIR or ~/.cache/metalgen.
    """
    from metalgen.cache import Cache, cache_directory

    found = Cache(cache_directory())
    use = found.clear() if clear else found.use()
    if as_json:
        report = {
            "directory": str(found.directory),
            "entries": use.entries,
            "bytes": use.bytes,
            "cleared": clear,
        }
        typer.echo(json.dumps(report))
        return
    verb = "removed" if clear else "holds"
    size = f"{use.bytes / (1 << 20):.1f} MiB"
    typer.echo(f"{found.directory}: {verb} {use.entries} entries, {size} of at most 1024 MiB")

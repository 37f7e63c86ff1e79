"""`metalgen choices`: the times that choices of kernels rest on, and how to be rid of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metalgen.kept_times import Entry, KeptTimes


def choices(
    forget: Annotated[bool, typer.Option("--forget", help="Remove them, to measure anew.")] = False,
    device: Annotated[
        str | None, typer.Option(help="Only those of this device, named as it is listed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """List what `tune` and `optimize_for_metal` measured or predicted here, or forget it.

    Times lie in $METALGEN_TIMES_DIR, else in the cache directory, by device, by operation or
    region, and by shape class. Those of other versions of metalgen or torch are not shown.
    """
    files = _files()
    if forget:
        removed = sum(kept.forget(device) for kept in files.values())
        typer.echo(json.dumps({"forgotten": removed}) if as_json else f"forgot {removed} subjects")
        return
    entries = [
        (name, entry)
        for name, kept in files.items()
        for entry in kept.all()
        if device in (None, entry[0])
    ]
    if as_json:
        print(json.dumps([_plain(name, entry) for name, entry in entries], indent=2))
        return
    for line in _lines(entries):
        typer.echo(line)


def _files() -> dict[str, KeptTimes]:
    from metalgen.ops.winners import tuned
    from metalgen.optimize.means import kept_choices

    return {"operations": tuned(), "regions": kept_choices()}


def _plain(kind: str, entry: Entry) -> dict[str, Any]:
    device, subject, size_class, times = entry
    plain = {name: {"us": t.us, "measured": t.is_measured} for name, t in times.items()}
    return {
        "device": device,
        "kind": kind,
        "subject": subject,
        "class": size_class,
        "times": plain,
    }


def _lines(entries: list[tuple[str, Entry]]) -> Iterator[str]:
    if not entries:
        yield "nothing was measured yet"
    where = None
    for kind, (device, subject, size_class, times) in entries:
        if (device, kind) != where:
            where = device, kind
            yield f"{device}, {kind}"
        ordered = sorted(times.items(), key=lambda pair: pair[1].us)
        found = ", ".join(
            f"{name} {time.us:.1f} us{'' if time.is_measured else ' predicted'}"
            for name, time in ordered
        )
        yield f"  {subject}  {size_class}: {found}"

"""`metalgen tune`: which variant of a kernel is fastest for a shape, here or on a chip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metalgen.ops.tuning import Timing

_DTYPES = ("float32", "float16", "bfloat16")


def tune(
    kernel: Annotated[
        str | None, typer.Argument(help="A kernel family such as gemm; without, they are listed.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="The problem's sizes, such as 1024x1024x512.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    device: Annotated[
        str | None, typer.Option(help="mps or cpu (the software device); the fastest there is.")
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(
            help='Rank for an Apple chip that is not here, such as "M3 Max", by the model.'
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each variant is measured.")] = 9,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Verify and time all variants of a kernel for one shape; keep the fastest for this machine.

    Operations use what is kept, by device, dtype and shapes rounded up to powers of two. With
    --chip nothing is run: variants are ranked by what the cost model predicts, and the first is
    kept for machines with that chip until one of them measures.
    """
    from metalgen.kernel_table import family

    if kernel is None:
        _list(as_json)
        return
    wanted = family(kernel)
    sizes = _sizes(shape, wanted.sizes)
    if dtype not in _DTYPES:
        raise typer.BadParameter(f"expected one of {', '.join(_DTYPES)}, found {dtype!r}")
    where, timings = _timings(wanted.name, sizes, dtype, device, chip, rounds)
    if as_json:
        found = {t.variant: t.us if t.mismatch is None else t.mismatch for t in timings}
        head = {"kernel": wanted.name, "shape": sizes, "dtype": dtype, "device": where}
        print(json.dumps({**head, "measured": chip is None, "us": found}, indent=2))
        return
    _show(wanted.name, sizes, dtype, where, timings, is_measured=chip is None)


def _timings(
    name: str, sizes: list[int], dtype: str, device: str | None, chip: str | None, rounds: int
) -> tuple[str, tuple[Timing, ...]]:
    """The device's or chip's name, and the variants, the fastest first."""
    import torch

    from metalgen.chips import find_chip
    from metalgen.device import available
    from metalgen.ops import tuning
    from metalgen.ops.winners import device_name

    kind = getattr(torch, dtype)
    if chip is not None:
        known = find_chip(chip)
        return known.title, tuning.rank(name, sizes, kind, known)
    types = [found.tensors for found in available()]
    if device is not None and device not in types:
        raise typer.BadParameter(f"expected a device of {', '.join(types)}, found {device!r}")
    chosen = device or types[0]
    return device_name(chosen), tuning.tune(name, sizes, kind, chosen, rounds)


def _sizes(shape: str | None, names: Sequence[str]) -> list[int]:
    wanted = "x".join(names)
    if shape is None:
        raise typer.BadParameter(
            f"expected --shape {wanted}, such as {'x'.join(['512'] * len(names))}"
        )
    parts = shape.lower().split("x")
    if len(parts) != len(names) or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"expected --shape {wanted} in whole numbers, found {shape!r}")
    return [int(part) for part in parts]


def _show(
    name: str,
    sizes: list[int],
    dtype: str,
    where: str,
    timings: tuple[Timing, ...],
    is_measured: bool,
) -> None:
    how = "measured" if is_measured else "predicted, not measured,"
    typer.echo(f"{name} {'x'.join(map(str, sizes))} {dtype}, {how} on {where}")
    width = max(len(timing.variant) for timing in timings)
    for timing in timings:
        time = "wrong" if timing.us is None else f"{timing.us:.1f} us"
        typer.echo(f"  {timing.variant:{width}}  {time:>12}  {timing.mismatch or ''}".rstrip())
    typer.echo(f"kept {timings[0].variant}")


def _list(as_json: bool) -> None:
    from metalgen.kernel_table import families

    if as_json:
        table = {
            name: {
                "about": f.about,
                "shape": f.sizes,
                "parameters": dict(f.parameters),
                "variants": [v.name for v in f.variants],
            }
            for name, f in families().items()
        }
        print(json.dumps(table, indent=2))
        return
    for name, found in families().items():
        typer.echo(f"{name}: {found.about}")
        typer.echo(f"  --shape {'x'.join(found.sizes)}; {len(found.variants)} variants")
        for parameter, meaning in found.parameters.items():
            typer.echo(f"  {parameter}: {meaning}")

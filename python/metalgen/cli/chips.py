"""`metalgen chips`: what metalgen knows of Apple's GPUs, figure by figure with its source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from metalgen.chips import Chip, Figure


def chips(
    name: Annotated[
        str | None,
        typer.Argument(help='One chip with the source of each figure, as in "M3 Max 30" or m4pro.'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List Apple's GPUs, or one with the source of each of its figures; `?` is unknown."""
    from rich.console import Console

    from metalgen.chips import all_chips, find_chip

    wanted = list(all_chips()) if name is None else [find_chip(name)]
    if as_json:
        print(json.dumps([_as_json(chip) for chip in wanted], indent=2))
        return
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = 200  # for whoever reads the pipe, nothing is to be cut
    console.print(_list(wanted) if name is None else _figures(wanted[0]))
    if name is None:
        console.print(
            "\nsources: metalgen chips NAME; docs/chips.md says what ? means for estimates"
        )


def _as_json(chip: Chip) -> dict[str, Any]:
    from metalgen.chips import sources

    known = sources()
    peaks = {
        "fp32_tflops": chip.fp32_tflops,
        "fp16_tflops": chip.fp16_tflops,
        "tensor_tflops": chip.tensor_tflops,
    }
    used = {figure.source for _, figure in _named(chip) if figure is not None}
    titles = {key: known[key].model_dump() for key in sorted(used)}
    return {**chip.model_dump(mode="json"), **peaks, "sources": titles}


def _list(chips: list[Chip]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("chip", no_wrap=True)
    table.add_column("family", no_wrap=True)
    for column in ("cores", "MHz", "fp32 TFLOPS", "fp16", "GB/s", "SLC MiB", "NE TOPS"):
        table.add_column(column, justify="right", no_wrap=True)
    for chip in chips:
        table.add_row(
            chip.name,
            chip.family.name,
            str(chip.cores.value),
            _shown(chip.clock_mhz),
            _number(chip.fp32_tflops),
            _number(chip.fp16_tflops),
            _shown(chip.bandwidth),
            _shown(chip.slc_mib),
            _shown(chip.neural_tops),
        )
    return table


def _figures(chip: Chip) -> Table:
    from rich.table import Table

    from metalgen.chips import sources

    known = sources()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=chip.title)
    table.title_justify = "left"
    for column in ("figure", "value", "kind", "source"):
        table.add_column(column, no_wrap=True)
    for label, figure in _named(chip):
        kind = "unknown" if figure is None else known[figure.source].kind
        table.add_row(label, _shown(figure), kind, "" if figure is None else figure.source)
    for label, value in (("peak fp32 TFLOPS", chip.fp32_tflops), ("peak fp16", chip.fp16_tflops)):
        table.add_row(label, _number(value), "computed", "cores x FLOPs per cycle x clock")
    return table


def _print_sources(console: Console, chip: Chip) -> None:
    from metalgen.chips import sources

    console.print()
    for key in sorted({figure.source for _, figure in _named(chip) if figure is not None}):
        console.print(f"{key}: {sources()[key].title}", markup=False)


def _named(chip: Chip) -> list[tuple[str, Figure[Any] | None]]:
    family = chip.family
    return [
        ("GPU cores", chip.cores),
        ("clock, MHz", chip.clock_mhz),
        ("memory bandwidth, GB/s", chip.bandwidth),
        ("system cache, MiB", chip.slc_mib),
        ("fp32 FLOPs per core and cycle", chip.fp32_per_cycle),
        ("fp16 FLOPs per core and cycle", family.fp16_per_cycle),
        ("tensor fp16 FLOPs per core and cycle", family.tensor_fp16_per_cycle),
        ("threadgroup memory, bytes", family.threadgroup_bytes),
        ("threads per threadgroup", family.threads),
        ("simdgroup_matrix", family.simdgroup_matrix),
        ("bfloat", family.bfloat),
        ("tensor operations", family.tensor_ops),
        ("Neural Engine cores", chip.neural_cores),
        ("Neural Engine TOPS", chip.neural_tops),
        ("GPU watts under load", chip.watts),
        ("pJ per FLOP", chip.pj_per_flop),
        ("pJ per byte on chip", chip.pj_per_byte),
    ]


def _shown(figure: Figure[Any] | None) -> str:
    if figure is None:
        return "?"
    value = figure.value
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:g}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"

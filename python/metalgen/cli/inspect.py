"""`metalgen inspect`: what a metallib says about its kernels."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metalgen.errors import MetallibError

if TYPE_CHECKING:
    from rich.console import Console

    from metalgen.air import KernelInfo, Metallib


def inspect(
    file: Annotated[
        Path, typer.Argument(help="A metallib, or a library or program that holds some.")
    ],
    kernel: Annotated[
        str | None, typer.Option(metavar="NAME", help="One kernel, with all its arguments.")
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Kernels whose names match a regular expression."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON array of kernels, one per line.")
    ] = False,
) -> None:
    """Show the kernels of a metallib: arguments, memory, function constants.

    One line per kernel, without the built-in arguments; --kernel shows everything.
    """
    if kernel is not None and grep is not None:
        raise typer.BadParameter("--kernel and --grep exclude each other")
    from metalgen.air.embedded import open_metallibs

    metallibs = open_metallibs(file)
    if kernel is not None:
        info = _find(metallibs, kernel)
        _print_json(iter([_described_as_json(info)])) if as_json else _print_kernel(info)
        return
    pattern = _pattern(grep) if grep is not None else None
    selections = [(found, _select(found, pattern)) for found in metallibs]
    if as_json:
        _print_json(_described(selections, _described_as_json))
    else:
        _print_list(file, selections)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise typer.BadParameter(f"--grep {text!r} is not a regular expression: {error}") from None


def _select(metallib: Metallib, pattern: re.Pattern[str] | None) -> list[str]:
    return [name for name in metallib.names if pattern is None or pattern.search(name)]


def _find(metallibs: list[Metallib], name: str) -> KernelInfo:
    for metallib in metallibs[:-1]:
        if name in metallib.names:
            return metallib.kernel(name)
    return metallibs[-1].kernel(name)


def _described(
    selections: list[tuple[Metallib, list[str]]], describe: Callable[[KernelInfo], str]
) -> Iterator[str]:
    from metalgen.air.survey import survey

    for metallib, names in selections:
        yield from survey(metallib, names, describe)


def _described_as_json(info: KernelInfo) -> str:
    from metalgen.cli.describe import as_json

    return as_json(info)


def _described_as_line(info: KernelInfo) -> str:
    from metalgen.cli.describe import line

    return line(info)


def _print_json(kernels: Iterator[str]) -> None:
    """A JSON array, written as its elements come."""
    separator = "["
    for kernel in kernels:
        sys.stdout.write(f"{separator}{kernel}")
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[" else "]\n")


def _print_list(file: Path, selections: list[tuple[Metallib, list[str]]]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False)
    for described in _described(selections, _described_as_line):
        if console.is_terminal:
            _print_line(console, described)
        else:
            sys.stdout.write(described + "\n")
    shown = sum(len(names) for _, names in selections)
    held = sum(len(metallib.names) for metallib, _ in selections)
    if not held:
        raise MetallibError(f"{file}: holds no compute kernels")
    typer.echo(f"{shown} of {held} kernels", err=True)  # not a line of the list


def _print_line(console: Console, described: str) -> None:
    from rich.text import Text

    name, rest = described.split("  ", 1)
    console.print(Text.assemble((name, "bold cyan"), "  ", rest))


def _print_kernel(info: KernelInfo) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from metalgen.cli.describe import attributes, declaration, members, properties

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200  # for whoever reads the pipe, lines are not to be broken
    console.print(Text(info.name, style="bold cyan"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for title in ("argument", "attributes", "access", "size", ""):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for argument in info.arguments:
        is_memory = argument.kind in ("buffer", "threadgroup")
        size = argument.type_size * argument.array_length
        table.add_row(
            Text(declaration(argument)),
            Text(attributes(argument), style="green"),
            (argument.access or "").replace("_", " "),
            f"{size} B" if is_memory and size else "",
            "" if argument.is_used else "unused",
        )
        for depth, offset, text in members(argument.fields):
            table.add_row(Text(f"{'  ' * (depth + 1)}{text}", style="dim"), f"at {offset}")
    console.print(table)
    for text in properties(info):
        console.print(Text(text), soft_wrap=True)

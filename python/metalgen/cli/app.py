"""Puts the commands together; each is a function in the file of its name.

Only the file of the command that was asked for is imported: the others' libraries take seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from metalgen.cli.failure import STATUS_HELP, guarded

# In the order that --help lists them.
_SUMMARIES = {
    "generate": "Write Metal kernels for a PyTorch problem, proven right and timed.",
    "verify": "Judge a kept candidate again, on this machine.",
    "prompt": "Print what a model would be sent for a problem.",
    "bench": "Run models on many problems and print figures.",
    "resume": "Go on with a kept run that was interrupted, killed or stopped.",
    "runs": "List the kept runs.",
    "worker": "Judge candidates for studies that run elsewhere (Dask).",
    "figures": "Print the figures of a kept run.",
    "report": "Write a kept run as one HTML page.",
    "trace": "Write a kept run's time as a trace for Chrome or Perfetto.",
    "models": "List the models that metalgen knows, their prices, and which have a key.",
    "tune": "Find the fastest variant of a kernel for a shape, and keep it for this machine.",
    "choices": "List or forget the times that choices of kernels rest on.",
    "pack": "Put accepted candidates into a kernel pack for whole models.",
    "packs": "List or judge kernel packs.",
    "build": "Compile Metal sources to one metallib.",
    "inspect": "Show the kernels of a metallib, or of a library that holds one.",
    "doctor": "Examine this machine: system, compiler, torch, devices; with remedies.",
    "devices": "List the devices that can run kernels here.",
    "explain": "Show how a module runs through kernels, or any stage on the way.",
    "profile": "Show why a candidate is as slow as it is, in words and pictures.",
    "chips": "List what is known of Apple's GPUs, with sources.",
    "cache": "Show or clear the cache of compiled sources.",
}


def make_app(arguments: Sequence[str]) -> typer.Typer:
    """The command line for `arguments`: the options of other commands than theirs are missing."""
    app = typer.Typer(
        help="Metal kernels for PyTorch: write, prove, time, compile and look into them.",
        epilog=STATUS_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in _SUMMARIES.items():
        command = _not_imported
        if name == asked:
            command = guarded(getattr(importlib.import_module(f"metalgen.cli.{name}"), name))
        app.command(name, short_help=summary, epilog=STATUS_HELP)(command)
    return app


def _not_imported() -> None:
    raise AssertionError("a command ran that was not the first argument")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"metalgen {version('metalgen')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    pass

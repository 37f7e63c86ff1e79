"""`metalgen profile`: why a candidate is as slow as it is, in words and pictures."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from metalgen.profile import Profile


def profile(
    candidate: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, a folder with kernels.metal and plan.json, a file with a reply, "
            "Metal sources or a metallib, or a .gputrace."
        ),
    ],
    problem: Annotated[
        Path | None, typer.Option(help="The problem file. Default: the one in the manifest.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A launch plan for sources or a metallib."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHAPE[:DTYPE]",
            help="With --plan: an input's size, as in x=16x1024:float16, or a number, as in n=3.",
        ),
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(metavar="NAME", help='Whom to predict for, as in "M3 Max"; see chips.'),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Where pictures and text are written."),
    ] = None,
    capture: Annotated[
        bool,
        typer.Option("--capture", help="On a Mac: capture a .gputrace too, and Xcode's pictures."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the profile as JSON, pictures in base64.")
    ] = False,
) -> None:
    """Count what CANDIDATE does, predict its times on a chip, and draw both.

    Of sources or a metallib without --plan only the mix of instructions is shown.
    """
    from metalgen.cli import profile_sources

    if candidate.suffix == ".gputrace":
        _finish(profile_sources.of_trace(candidate), out, as_json)
        return
    if candidate.suffix in (".metal", ".metallib"):
        if plan is None:
            print(profile_sources.mix(candidate), end="")
            return
        found = profile_sources.of_plan(candidate, plan, size or [], chip)
    else:
        if capture:
            _capture_into(out or Path("profile"))
        found = _of_candidate(candidate, problem, chip)
    _finish(found, out, as_json)


def _of_candidate(path: Path, problem: Path | None, chip: str | None) -> Profile:
    """Profiled in a process of its own, as candidates are judged: the problem file is run there."""
    from metalgen.chips import find_chip
    from metalgen.compiler import compile_source
    from metalgen.generation import Limits
    from metalgen.generation.evaluator import Evaluator
    from metalgen.generation.kept import problem_of, read_candidate
    from metalgen.generation.loop import default_device

    if chip is not None:
        find_chip(chip)  # refused here, in one line
        os.environ["METALGEN_CHIP"] = chip  # for the process that profiles
    kept = read_candidate(path)
    metallib = compile_source(kept.source, name="kernels.metal")
    with redirect_stdout(sys.stderr), Evaluator(Limits(), device=default_device()) as evaluator:
        opened = evaluator.open(problem or problem_of(path))
        found: Profile = evaluator.profile(opened, kept, metallib)
    return found


def _capture_into(folder: Path) -> None:
    """Have the process that profiles capture too: Metal wants to be told before it starts."""
    from metalgen.profile.gputrace import FOLDER, capture_environment, require_capture

    environment = capture_environment()
    require_capture(environment)
    os.environ.update(environment)
    os.environ[FOLDER] = str(folder.absolute())


def _finish(found: Profile, out: Path | None, as_json: bool) -> None:
    import json

    from metalgen.files import write_whole

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "profile.txt", found.text.encode())
        for picture in found.pictures:
            write_whole(out / f"{picture.name}.png", picture.png)
    if as_json:
        plain: dict[str, Any] = found.to_json()
        print(json.dumps(plain))
        return
    print(found.text, end="")
    if out is not None:
        names = ", ".join(f"{picture.name}.png" for picture in found.pictures)
        typer.echo(f"{out}: profile.txt{', ' + names if names else ''}", err=True)

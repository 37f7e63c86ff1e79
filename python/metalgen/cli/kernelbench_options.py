"""Options that choose KernelBench's problems for a bench, and the tasks that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metalgen.generation import Task
    from metalgen.kernelbench import Entry, SelectedProblem


class ShapesName(str, Enum):
    """At which sizes."""

    V0 = "v0"
    AS_IS = "as-is"
    SCALED = "scaled"


class Subset(str, Enum):
    """Which part of all problems."""

    STUDY = "study"


KernelBench = Annotated[
    Path | None,
    typer.Option(
        "--kernelbench",
        metavar="PATH",
        help="KernelBench in place of PROBLEMS: a clone, or the Hugging Face data set as parquet or"
        " JSON lines.",
    ),
]
Levels = Annotated[
    str | None, typer.Option(help="KernelBench's levels, as 1,2,3. Default: all there are.")
]
Only = Annotated[
    str | None,
    typer.Option(
        "--problems", help="Of these levels the problems with these numbers or names: 1,5-9,softmax"
    ),
]
ShapesOption = Annotated[
    ShapesName,
    typer.Option(
        "--shapes",
        help="Sizes as the files have them, those of KernelBench v0, or scaled down to what"
        " --scale-mib and --scale-seconds allow.",
    ),
]
ScaleMiB = Annotated[
    int, typer.Option(min=1, help="Scaled: MiB of a problem's inputs, parameters and outputs.")
]
ScaleSeconds = Annotated[
    float, typer.Option(min=0.01, help="Scaled: seconds that opening a problem may take.")
]
SubsetOption = Annotated[
    Subset | None,
    typer.Option("--subset", help="study: without what MPS could not run in the study."),
]


@dataclass(frozen=True, kw_only=True)
class SelectingOptions:
    """Which of KernelBench's problems a bench takes, at which sizes."""

    kernelbench: KernelBench = None
    levels: Levels = None
    only: Only = None
    shapes: ShapesOption = ShapesName.AS_IS
    subset: SubsetOption = None
    scale_mib: ScaleMiB = 64
    scale_seconds: ScaleSeconds = 5.0

    def tasks(self, path: Path, folder: Path) -> tuple[list[Task], str]:
        """The problems at `path` as a study's tasks, and the version they are of, in words.

        Sizes are tried in a sandbox; files that had to be written lie in `folder`.
        """
        from metalgen.generation import Limits, Task
        from metalgen.generation.evaluator import Evaluator
        from metalgen.kernelbench import Budget, select_problems

        with Evaluator(Limits()) as evaluator:
            selection = select_problems(
                path,
                folder=folder,
                opens=evaluator.open,
                levels=None if self.levels is None else _numbers(self.levels),
                problems=self.only,
                shapes=self.shapes.value,
                subset=None if self.subset is None else self.subset.value,
                budget=Budget(self.scale_mib << 20, self.scale_seconds),
                progress=_say_nothing if self.shapes is ShapesName.AS_IS else _say,
            )
        typer.echo(f"KernelBench {selection.version}", err=True)
        for words in selection.left_out:
            typer.echo(f"left out: {words}", err=True)
        tasks = [Task(p.path, p.name, p.level, notes=_notes(p)) for p in selection.problems]
        return tasks, f"KernelBench {selection.version}"


def _notes(problem: SelectedProblem) -> tuple[str, ...]:
    """What was done to the problem's sizes, for whoever reads its figures."""
    changes = (f"sizes changed: {', '.join(problem.changes)}",) if problem.changes else ()
    return (*changes, *([problem.note] if problem.note else []))


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"--levels {text!r} is no list of numbers such as 1,2") from None


def _say(entry: Entry) -> None:
    typer.echo(f"finding sizes of {entry.id} {entry.name}", err=True)


def _say_nothing(entry: Entry) -> None:
    pass

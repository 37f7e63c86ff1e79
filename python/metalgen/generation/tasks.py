"""The problems of a study, found below a folder."""

from __future__ import annotations

from pathlib import Path

from metalgen.errors import ProblemError
from metalgen.generation.study import Task


def find_problems(folder: Path) -> list[Task]:
    """Problem files below a folder, by path; ProblemError where there are none.

    They are named by their files, and by their paths where that is not enough.
    """
    if folder.is_file():
        return [Task(folder, folder.stem)]
    if not folder.exists():
        raise ProblemError(f"no folder at '{folder}'; give one with problem files (*.py)")
    found = sorted(p for p in folder.rglob("*.py") if not p.name.startswith(("_", ".")))
    if not found:
        raise ProblemError(f"no problem files (*.py) in '{folder}'")
    stems = [path.stem for path in found]
    return [
        Task(path, path.stem if stems.count(path.stem) == 1 else _path_name(path, folder))
        for path in found
    ]


def _path_name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()

"""Compile the Metal sources of public packages, and translate their kernels.

    python benchmarks/wild_sources.py FOLDER [PROJECT ...] [--translate N] [--jobs N] [--failures]

Packages are fetched into FOLDER once, at the versions that `wild/projects` names. "no Metal" are
sources that Apple's compiler refuses, too; `wild/projects` gives each reason. With --translate up
to N kernels of each source are made native code for the software device.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import wild.projects
from wild.fetch import folder
from wild.project import Project, Source
from worker_pool import Lost, Pool

from metalgen.air import Metallib
from metalgen.compiler import compile_source
from metalgen.errors import MetalgenError
from metalgen.software import translate

HEADS = ("project", "version", "sources", "compiled", "kernels", "s", "not supported", "no Metal",
         "failed")  # fmt: skip
_MARK = "not supported: "


@dataclass(frozen=True, slots=True)
class Task:
    """One source of one project."""

    project: str
    source: Source
    translated: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many kernels came of a source, in how many seconds, or what was said instead."""

    kernels: int = 0
    seconds: float = 0.0
    error: str = ""
    untranslated: tuple[str, ...] = ()

    @property
    def feature(self) -> str:
        """The feature by whose name the source was refused."""
        return self.error.partition(_MARK)[2].split("\n")[0] if _MARK in self.error else ""


@dataclass(slots=True)
class Tally:
    """What a project's sources came to."""

    sources: int = 0
    compiled: int = 0
    kernels: int = 0
    seconds: float = 0.0
    features: Counter[str] = field(default_factory=Counter)
    no_metal: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, source: Source, outcome: Outcome | Lost, *, is_metal: bool) -> None:
        """Count one outcome."""
        self.sources += 1
        if isinstance(outcome, Lost):
            self.failures.append((source.name, outcome.reason))
            return
        self.seconds += outcome.seconds
        self.failures += [(source.name, error) for error in outcome.untranslated]
        if not outcome.error:
            self.compiled += 1
            self.kernels += outcome.kernels
        elif outcome.feature:
            self.features[outcome.feature] += 1
        elif not is_metal:
            self.no_metal += 1
        else:
            self.failures.append((source.name, outcome.error))


def projects() -> dict[str, Project]:
    """By name, in order."""
    modules = (
        importlib.import_module(f"wild.projects.{module.name}")
        for module in pkgutil.iter_modules(wild.projects.__path__)
    )
    return {module.PROJECT.name: module.PROJECT for module in modules}


def outcome(task: Task) -> Outcome:
    """Compile one source; all that goes wrong is said in the outcome."""
    source, started = task.source, time.perf_counter()
    try:
        metallib = compile_source(
            source.text,
            name=source.name,
            include_dirs=source.include_dirs,
            defines=dict(source.defines),
            options=source.options,
        )
    except MetalgenError as error:
        return Outcome(seconds=time.perf_counter() - started, error=str(error))
    seconds = time.perf_counter() - started
    library = Metallib(metallib)
    wrong = tuple(_untranslated(library, task.translated))
    return Outcome(len(library.names), seconds, untranslated=wrong)


def _untranslated(library: Metallib, most: int) -> Iterator[str]:
    for name in library.names[:most]:
        constants = {c.index: 1 for c in library.kernel(name).constants}
        try:
            translate(library.bitcode(name), name, constants)
        except MetalgenError as error:
            yield f"{name}: {error}"


def row(project: Project, tally: Tally) -> tuple[str, ...]:
    """One line of the table."""
    versions = ", ".join(f"{package.name} {package.version}" for package in project.packages)
    features = ", ".join(f"{count} {name}" for name, count in tally.features.most_common())
    numbers = (tally.sources, tally.compiled, tally.kernels, f"{tally.seconds:.0f}")
    return (project.name, versions, *map(str, numbers), features, str(tally.no_metal),
            str(len(tally.failures)))  # fmt: skip


def measure(project: Project, root: Path, pool: Pool[Task, Outcome], translated: int) -> Tally:
    """Compile all of a project's sources."""
    tally = Tally()
    tasks = (
        Task(project.name, each, translated) for each in project.sources(folder(project, root))
    )
    for task, result in pool.map(tasks):
        tally.add(task.source, result, is_metal=task.source.name not in project.refused)
    return tally


def show(rows: Iterable[tuple[str, ...]]) -> None:
    """Print lines of the table."""
    for cells in rows:
        print("| " + " | ".join(cells) + " |", flush=True)


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("projects", nargs="*", metavar="PROJECT")
    parser.add_argument("--translate", type=int, default=0, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--failures", action="store_true", help="print what each failure says")
    return parser.parse_args()


def main() -> int:
    """Print the table; 1 if a source or a kernel failed."""
    given, known = arguments(), projects()
    if unknown := set(given.projects) - set(known):
        print(f"unknown projects: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return 2
    pool = Pool(outcome, given.jobs, limit=600)
    show([HEADS, ("---",) * len(HEADS)])
    failures: list[tuple[str, str]] = []
    for name in given.projects or known:
        tally = measure(known[name], given.folder, pool, given.translate)
        show([row(known[name], tally)])
        failures += tally.failures
    if given.failures:
        print(*(f"\n{name}: {text}" for name, text in failures), sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Which of KernelBench's problems a study takes, at which sizes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from metalgen.errors import ProblemError
from metalgen.files import write_whole
from metalgen.kernelbench.collection import Collection, Entry, read_collection
from metalgen.kernelbench.scaling import Budget, Opens, Scaled, Scaler
from metalgen.kernelbench.sizes import changes_between, sizes_of, with_sizes
from metalgen.kernelbench.versions import Version, known_sizes, recognise, version_of

Shapes = Literal["v0", "as-is", "scaled"]

# What MPS could not run in the study: 31 of 250. It counts 215 problems, not 219, and does not say
# which four are missing besides.
_LEFT_OUT = {
    1: "43 46 58 61 68 70 72 73 77",
    2: "3 6 8 13 15 20 26 34 38 43 49 50 58 60 61 72 74 77 78 89 96 100",
}
LEFT_OUT = frozenset((lvl, int(n)) for lvl, numbers in _LEFT_OUT.items() for n in numbers.split())


@dataclass(frozen=True, slots=True)
class SelectedProblem:
    """A problem of a study: its file, its name there, and what was changed in its sizes."""

    path: Path
    name: str
    level: int
    number: int
    changes: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The problems of a study, the version they are of, and what was left out, in words."""

    version: Version
    form: str
    problems: tuple[SelectedProblem, ...]
    left_out: tuple[str, ...] = ()


def select_problems(
    path: Path,
    *,
    folder: Path,
    opens: Opens,
    levels: Iterable[int] | None = None,
    problems: str | None = None,
    shapes: Shapes = "as-is",
    subset: Literal["study"] | None = None,
    budget: Budget | None = None,
    progress: Callable[[Entry], None] = lambda entry: None,
) -> Selection:
    """The problems asked for, each a file of its own, in `folder` where it is not one already.

    `problems` is a list such as "1,5-9,softmax,L2/80": numbers and ranges of every chosen level,
    parts of names. `subset="study"` leaves out what MPS could not run in the study. `opens` is what
    sizes are tried with: it runs the file in a sandbox. Raises ProblemError where nothing is left,
    or where a part of `problems` names nothing.
    """
    collection = read_collection(path)
    version = recognise(collection.entries)
    wanted = _of_levels(collection, levels)
    if problems is not None:
        wanted = _named(wanted, problems)
    dropped = [e for e in wanted if subset == "study" and (e.level, e.number) in LEFT_OUT]
    kept = [entry for entry in wanted if entry not in dropped]
    if not kept:
        raise ProblemError(f"no problems left of those in '{path}'; choose others")
    choose = _Sizes(collection, version, folder, opens, budget or Budget())
    selected = []
    for entry in kept:
        progress(entry)
        selected.append(_written(entry, choose.sized(entry, shapes), folder))
    left_out = [f"{len(dropped)} that MPS could not run in the study"] if dropped else []
    return Selection(version, collection.form, tuple(selected), tuple(left_out))


def _of_levels(collection: Collection, levels: Iterable[int] | None) -> list[Entry]:
    if levels is None:
        return list(collection.entries)
    wanted, present = set(levels), {entry.level for entry in collection.entries}
    if missing := wanted - present:
        has = ", ".join(map(str, sorted(present)))
        raise ProblemError(f"no level {min(missing)} in '{collection.path}'; it has {has}")
    return [entry for entry in collection.entries if entry.level in wanted]


def _named(entries: Sequence[Entry], text: str) -> list[Entry]:
    """The entries that a list such as "1,5-9,softmax,L2/80" names, in their own order."""
    chosen: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = {entry.id for entry in entries if _matches(entry, part)}
        if not found:
            raise ProblemError(f"'{part}' names no problem of the chosen levels")
        chosen |= found
    return [entry for entry in entries if entry.id in chosen]


def _matches(entry: Entry, part: str) -> bool:
    pattern = r"(?:L?(\d+)/)?(\d+)(?:-(\d+))?"
    if (found := re.fullmatch(pattern, part, re.IGNORECASE)) is not None:
        level, first, last = found.groups()
        is_level = level is None or int(level) == entry.level
        return is_level and int(first) <= entry.number <= int(last or first)
    return part.lower() in entry.stem.lower()


@dataclass(frozen=True)
class _Sizes:
    """Gives problems the sizes that were asked for."""

    collection: Collection
    version: Version
    folder: Path
    opens: Opens
    budget: Budget

    def sized(self, entry: Entry, shapes: Shapes) -> Scaled:
        if shapes == "as-is":
            return Scaled(entry.code, ())
        if shapes == "scaled":
            return self._scaled(entry)
        if self.version.name == "v0" or version_of(entry) == "v0":
            return Scaled(entry.code, (), "v0's sizes")
        for source, sizes in self._sources(entry):
            code = with_sizes(entry.code, sizes)
            if self._runs(code):
                return Scaled(code, changes_between(entry.code, code), f"v0's sizes, {source}")
        found = self._scaled(entry)
        note = f"v0's sizes of it are not known here: scaled instead; {found.note or ''}"
        return replace(found, note=note.rstrip("; "))

    def _sources(self, entry: Entry) -> Iterator[tuple[str, dict[str, int]]]:
        """Where v0's sizes can be had from: the clone's own history, metalgen's list."""
        own = {size.name for size in sizes_of(entry.code)}
        if entry.path is not None:
            text = _text_in_git(entry.path, "v0")
            sizes = {size.name: size.value for size in sizes_of(text or "")}
            if sizes and own == set(sizes):
                yield "from the clone's tag v0", sizes
        known = known_sizes(entry, "v0")
        if known is not None and set(known) <= own:
            yield "from metalgen's list", dict(known)

    def _scaled(self, entry: Entry) -> Scaled:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Scaler(entry.code, self.folder, self.opens, self.budget).scaled()

    def _runs(self, code: str) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "trial.py"
        write_whole(file, code.encode())
        try:
            self.opens(file)
        except ProblemError:
            return False
        finally:
            file.unlink(missing_ok=True)
        return True


def _text_in_git(file: Path, version: str) -> str | None:
    """The file as it was in a version that its clone has a tag or branch for."""
    for name in (version, f"origin/{version}"):
        command = ["git", "-C", str(file.parent), "cat-file", "blob", f"{name}:./{file.name}"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
    return None


def _written(entry: Entry, scaled: Scaled, folder: Path) -> SelectedProblem:
    """The problem as a file: its own where nothing was changed, else one in `folder`."""
    path = entry.path
    if path is None or scaled.code != entry.code:
        path = folder / f"level{entry.level}" / f"{_safe(entry.stem)}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, scaled.code.encode())
    name = f"level{entry.level}/{_safe(entry.stem)}"
    return SelectedProblem(path, name, entry.level, entry.number, scaled.changes, scaled.note)


def _safe(stem: str) -> str:
    """A table's names are not ours: letters, digits and a few signs become a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem)[:120]

"""Reading KernelBench: a clone's files, or the Hugging Face data set as parquet or JSON lines.

A clone has KernelBench/level1/23_Softmax.py and so on; the data set a table per level, named
data/level_1-00000-of-00001.parquet, with the columns code, level, name and problem_id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metalgen.errors import ProblemError

_LEVEL = re.compile(r"level[ _-]?(\d+)", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d+)_?(.*)")
_TABLES = (".parquet", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One problem: its level, its number within that, its name without number, its code.

    `path` is the file it was read from alone, None for a row of a table.
    """

    level: int
    number: int
    name: str
    code: str
    path: Path | None = None

    @property
    def stem(self) -> str:
        """What its file is called: `23_Softmax`."""
        return f"{self.number}_{self.name}" if self.name else str(self.number)

    @property
    def id(self) -> str:
        """`L1/23`, as KernelBench's problems are referred to."""
        return f"L{self.level}/{self.number}"


@dataclass(frozen=True, slots=True)
class Collection:
    """All problems of a clone or data set, by level and number; `form` says which it is."""

    path: Path
    form: str
    entries: tuple[Entry, ...]


def read_collection(path: Path) -> Collection:
    """Every problem below `path`; ProblemError where there is none or a file cannot be read."""
    if not path.exists():
        raise ProblemError(f"no KernelBench at '{path}'; give a clone, or its data set's files")
    entries = tuple(_tables([path])) if path.is_file() else ()
    form = path.suffix.lstrip(".")
    if path.is_dir():
        entries, form = tuple(_clone(path)), "clone"
        if not entries:
            tables = sorted(p for p in path.rglob("*") if p.suffix in _TABLES and p.is_file())
            entries = tuple(_tables(tables))
            form = " and ".join(sorted({p.suffix.lstrip(".") for p in tables}))
    if not entries:
        raise ProblemError(
            f"no KernelBench problems in '{path}'; expected folders level1, level2 ... with files"
            f" such as 23_Softmax.py, or a table with the columns code, level, name, problem_id"
        )
    unique = {(entry.level, entry.number): entry for entry in reversed(entries)}
    return Collection(path, form, tuple(unique[key] for key in sorted(unique)))


def _clone(path: Path) -> Iterator[Entry]:
    """Files in folders that are named as levels; `path` may be the clone or any part of it."""
    inside = path / "KernelBench"
    root = inside if inside.is_dir() else path
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and _LEVEL.fullmatch(p.name)]
    if not folders and _LEVEL.fullmatch(path.name):
        folders = [path]
    for folder in folders:
        found = _LEVEL.fullmatch(folder.name)
        for file in sorted(folder.glob("*.py")):
            numbered = _NUMBERED.fullmatch(file.stem)
            if found and numbered:
                code = _read(file)
                yield Entry(int(found[1]), int(numbered[1]), numbered[2], code, file)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ProblemError(f"'{file}' is not UTF-8 text; give a Python file") from None
    except OSError as error:
        raise ProblemError(f"cannot read '{file}': {error.strerror}") from None


def _tables(files: Iterable[Path]) -> Iterator[Entry]:
    for file in files:
        rows = _parquet(file) if file.suffix == ".parquet" else _json(file)
        for position, row in enumerate(rows):
            entry = _entry(file, position, row)
            if entry is not None:
                yield entry


def _entry(file: Path, position: int, row: Mapping[str, Any]) -> Entry | None:
    """A row as a problem; None for rows of tables that hold something else."""
    if not isinstance(row.get("code"), str):
        return None
    name = str(row.get("name") or "").removesuffix(".py")
    numbered = _NUMBERED.fullmatch(name)
    of_file = _LEVEL.search(file.name)
    level = row.get("level", of_file[1] if of_file else None)
    number = row.get("problem_id", numbered[1] if numbered else None)
    try:
        rest = numbered[2] if numbered and int(numbered[1]) == int(_digits(number)) else name
        return Entry(int(_digits(level)), int(_digits(number)), rest, row["code"])
    except (TypeError, ValueError):
        raise ProblemError(
            f"'{file}' row {position + 1} has no level or problem_id; expected the columns code,"
            f" level, name, problem_id"
        ) from None


def _digits(value: object) -> str:
    """2 from 2, "2" and "level_2"."""
    if isinstance(value, bool) or value is None:
        raise TypeError(value)
    found = re.search(r"\d+", str(value))
    if found is None:
        raise ValueError(value)
    return found[0]


def _parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ProblemError(
            f"'{file}' needs pyarrow; pip install 'metalgen[study]', or give JSON lines"
        ) from None
    try:
        names = parquet.read_schema(file).names
        wanted = [n for n in ("code", "level", "name", "problem_id") if n in names]
        rows: list[dict[str, Any]] = parquet.read_table(file, columns=wanted).to_pylist()
    except (ArrowException, OSError) as error:
        text = str(error).strip().splitlines()
        raise ProblemError(f"cannot read '{file}' as parquet: {text[0] if text else ''}") from None
    yield from rows


def _json(file: Path) -> Iterator[Mapping[str, Any]]:
    """JSON lines, or one array of rows."""
    text = _read(file)
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        elif file.suffix == ".json" and "\n{" not in text.strip():
            rows = [json.loads(text)] if text.strip() else []
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise ProblemError(f"'{file}' is not JSON: {error}; give one object a line") from None
    yield from (row for row in rows if isinstance(row, Mapping))

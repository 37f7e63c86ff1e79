"""Rows of a run's tables as the dataclasses of `records`, and back."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from metalgen.runs.records import AttemptRow, CallRow, Job, JobRow, ProblemRow, RunInfo

# Columns that hold JSON, of whichever table.
_JSON = frozenset(
    (
        "command",
        "settings",
        "device_json",
        "notes",
        "description",
        "artefacts",
        "details",
        "shared",
        "opening",
    )
)
_TUPLES = frozenset(("command", "notes"))
_TRUTHS = frozenset(("is_control",))


def insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> int:
    """Add one row; its number."""
    names, places = ", ".join(values), ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"
    cursor = connection.execute(statement, [_stored(n, v) for n, v in values.items()])
    return cursor.lastrowid or 0


def update(
    connection: sqlite3.Connection,
    table: str,
    values: Mapping[str, Any],
    where: Mapping[str, Any],
) -> None:
    """Change columns of the rows that have the values of `where`."""
    changes = ", ".join(f"{name} = ?" for name in values)
    conditions = " AND ".join(f"{name} = ?" for name in where)
    stored = [_stored(name, value) for name, value in values.items()]
    statement = f"UPDATE {table} SET {changes} WHERE {conditions}"
    connection.execute(statement, [*stored, *where.values()])


def _stored(name: str, value: Any) -> Any:
    if name in _JSON and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in row.keys():  # noqa: SIM118  # a sqlite3.Row iterates over its values
        value = row[name]
        if name in _JSON and value is not None:
            value = json.loads(value)
        if name in _TUPLES:
            value = tuple(value)
        values[name] = bool(value) if name in _TRUTHS else value
    return values


def columns_of(info: RunInfo) -> dict[str, Any]:
    """The one row of table `run`."""
    values = _fields(info)
    values["device_json"] = dict(values.pop("device"))
    return values


def _fields(row: Any) -> dict[str, Any]:
    """A dataclass's fields as they are; asdict would copy them through."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def info_of(row: sqlite3.Row) -> RunInfo:
    """The run as a whole."""
    values = _plain(row)
    values["device"] = values.pop("device_json")
    return RunInfo(**values)


def columns_of_problem(problem: ProblemRow) -> dict[str, Any]:
    """A row of table `problems`."""
    return _fields(problem)


def problem_of(row: sqlite3.Row) -> ProblemRow:
    """One problem."""
    values = _plain(row)
    del values["position"]
    return ProblemRow(**values)


def job_of(row: sqlite3.Row) -> JobRow:
    """How far one job has come."""
    values = _plain(row)
    job = Job(*(values.pop(name) for name in ("problem", "model", "context")))
    del values["position"]
    return JobRow(job=job, **values)


def call_of(row: sqlite3.Row) -> CallRow:
    """One call."""
    values = _plain(row)
    job = Job(*(values.pop(name) for name in ("problem", "model", "context")))
    del values["id"]
    return CallRow(job=job, **values)


def columns_of_attempt(attempt: AttemptRow, prompt_sha256: str) -> dict[str, Any]:
    """A row of table `attempts`, whose prompt lies among the artefacts."""
    values = _fields(attempt)
    del values["prompt"]
    values["artefacts"] = dict(attempt.artefacts)
    values["details"] = dict(attempt.details)
    values["shared"] = None if attempt.shared is None else dict(attempt.shared)
    return {**values, "prompt_sha256": prompt_sha256}


def attempt_of(row: sqlite3.Row, prompt: str) -> AttemptRow:
    """One attempt."""
    values = _plain(row)
    del values["prompt_sha256"]
    return AttemptRow(prompt=prompt, **values)

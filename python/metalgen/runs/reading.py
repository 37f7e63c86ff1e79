"""A kept run, read only: what figures, reports, listings and replays are made from."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from metalgen.errors import RunError
from metalgen.runs import database, rows
from metalgen.runs.records import AttemptRow, CallRow, Job, JobRow, ProblemRow, RunInfo

Run = TypeVar("Run", bound="StoredRun")
_OF_JOB = "problem = ? AND model = ? AND context = ?"


def open_run(path: Path | str) -> StoredRun:
    """The run in a folder, or in a file, to read; RunError where there is none."""
    file = database.file_of(Path(path))
    return StoredRun(database.open_to_read(file), file)


class StoredRun:
    """A run in its SQLite file; implements `RunRecords`."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self.file = file
        self._connection = connection
        self._connection.row_factory = sqlite3.Row
        self._turn = threading.RLock()  # the connection serves one thread at a time

    def __enter__(self: Run) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @property
    def folder(self) -> Path:
        """Where it lies, with its best candidates."""
        return self.file.parent

    @property
    def info(self) -> RunInfo:
        """The run as a whole."""
        return rows.info_of(self._select("SELECT * FROM run")[0])

    def problems(self) -> tuple[ProblemRow, ...]:
        """Its problems, in the order asked for."""
        found = self._select("SELECT * FROM problems ORDER BY position")
        return tuple(rows.problem_of(row) for row in found)

    def jobs(self) -> tuple[JobRow, ...]:
        """Its jobs, in the order of problems, then models, then contexts."""
        return tuple(
            rows.job_of(row) for row in self._select("SELECT * FROM jobs ORDER BY position")
        )

    def job(self, job: Job) -> JobRow | None:
        """How far one job has come; None where the run has no such job."""
        found = self._select(f"SELECT * FROM jobs WHERE {_OF_JOB}", _key(job))
        return rows.job_of(found[0]) if found else None

    def calls(self, job: Job | None = None) -> tuple[CallRow, ...]:
        """All questions to models, or one job's, oldest first."""
        if job is None:
            found = self._select("SELECT * FROM calls ORDER BY id")
        else:
            found = self._select(f"SELECT * FROM calls WHERE {_OF_JOB} ORDER BY id", _key(job))
        return tuple(rows.call_of(row) for row in found)

    def attempts(
        self, job: Job | None = None, *, with_prompts: bool = True
    ) -> tuple[AttemptRow, ...]:
        """All attempts, or one job's, oldest first; prompts, which are long, may be left out."""
        if job is None:
            return self._attempts("1 ORDER BY started, rowid", (), with_prompts)
        return self._attempts(f"{_OF_JOB} ORDER BY number", _key(job), with_prompts)

    def attempts_at(self, problem: str) -> tuple[AttemptRow, ...]:
        """All attempts at one problem, oldest first, without prompts."""
        return self._attempts("problem = ? ORDER BY started, rowid", (problem,), False)

    def _attempts(
        self, which: str, values: Sequence[Any], with_prompts: bool
    ) -> tuple[AttemptRow, ...]:
        found = self._select(f"SELECT * FROM attempts WHERE {which}", values)
        return tuple(
            rows.attempt_of(row, self._prompt(row["prompt_sha256"]) if with_prompts else "")
            for row in found
        )

    def answer(self, job: Job, request: str) -> CallRow | None:
        """The reply cache: what this job was answered to the same request, if it was."""
        found = self._select(
            f"SELECT * FROM calls WHERE {_OF_JOB} AND request_sha256 = ? AND reply IS NOT NULL"
            " ORDER BY id LIMIT 1",
            (*_key(job), sha256(request.encode())),
        )
        return rows.call_of(found[0]) if found else None

    def artefact(self, sha256: str) -> bytes:
        """The content of a kept file; RunError where it is missing."""
        found = self._select("SELECT content FROM artefacts WHERE sha256 = ?", (sha256,))
        if not found:
            raise RunError(f"run '{self.file}' holds no file {sha256}")
        with database.explained(self.file):
            try:
                return zlib.decompress(found[0]["content"])
            except zlib.error as error:
                raise sqlite3.DatabaseError(f"file {sha256}: {error}") from error

    def _prompt(self, sha256: str) -> str:
        return self.artefact(sha256).decode() if sha256 else ""

    def _select(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._turn, database.explained(self.file):
            return self._connection.execute(statement, values).fetchall()


def sha256(content: bytes) -> str:
    """Hexadecimal hash, by which content is kept."""
    return hashlib.sha256(content).hexdigest()


def _key(job: Job) -> tuple[str, str, str]:
    return job.problem, job.model, job.context

"""A run as it is written: nothing that was paid for is lost, whenever the process ends.

Every question is on disk before it is sent and every answer before it is judged, each in a
transaction of its own. `kill -9` at any moment loses at most the calls in flight.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from metalgen.errors import RunError
from metalgen.runs import database, rows
from metalgen.runs.lock import RunLock
from metalgen.runs.reading import StoredRun, sha256
from metalgen.runs.records import AttemptRow, Job, ProblemRow, Purpose, RunInfo, State

_TOLD = ("hints", "shared", "artefacts", "input_tokens", "output_tokens", "cost")
_IN_MEMORY = Path("(in memory)") / database.FILE


class RunStore(StoredRun):
    """A run that is being written, by this process alone."""

    def __init__(self, connection: sqlite3.Connection, file: Path, lock: RunLock | None) -> None:
        super().__init__(connection, file)
        self._lock = lock

    @classmethod
    def create(
        cls,
        folder: Path | None,
        info: RunInfo,
        problems: Sequence[ProblemRow],
        jobs: Sequence[Job],
    ) -> RunStore:
        """A new run in `folder`, or in memory; RunError where the folder holds one already."""

        def fill(connection: sqlite3.Connection) -> None:
            rows.insert(connection, "run", rows.columns_of(info))
            for problem in problems:
                rows.insert(connection, "problems", rows.columns_of_problem(problem))
            for job in jobs:
                rows.insert(connection, "jobs", {**_key(job), "state": "waiting"})

        if folder is None:
            return cls(database.create_in_memory(fill), _IN_MEMORY, None)
        file = folder / database.FILE
        with database.explained(file):
            folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder)
        try:
            return cls(database.create(file, fill), file, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(cls, path: Path | str) -> RunStore:
        """A run that was ended early, to be continued; RunError where that cannot be."""
        file = database.file_of(Path(path))
        lock = RunLock(file.parent)
        try:
            return cls(database.open_to_write(file), file, lock)
        except BaseException:
            lock.release()
            raise

    @property
    def is_kept(self) -> bool:
        """Whether it lies on disk."""
        return self._lock is not None

    def close(self) -> None:
        """Leave one plain file behind; may be called twice."""
        database.close(self._connection)
        if self._lock is not None:
            self._lock.release()

    def discard_if_unpaid(self) -> None:
        """Remove the run where nothing was asked yet, and its folder if it holds nothing else."""
        if self.calls() or not self.is_kept:
            return
        self.close()
        self.file.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def end(self, is_ended: bool) -> None:
        """Note that the run is over, or goes on."""
        with self._writing() as connection:
            connection.execute("UPDATE run SET ended = ?", (time.time() if is_ended else None,))

    def update(self, *, device: Mapping[str, Any] | None = None, settings: Any = None) -> None:
        """Note what the run is measured on, or other settings that it goes on with."""
        info = self.info
        info = replace(
            info,
            device=info.device if device is None else dict(device),
            settings=info.settings if settings is None else settings,
        )
        with self._writing() as connection:
            connection.execute("DELETE FROM run")
            rows.insert(connection, "run", rows.columns_of(info))

    def opened(self, problem: ProblemRow) -> None:
        """Replace what is known of a problem."""
        with self._writing() as connection:
            values = rows.columns_of_problem(problem)
            rows.update(connection, "problems", values, {"name": problem.name})

    def asked(self, job: Job, purpose: Purpose, request: str) -> int:
        """Keep a question before it is sent; the call's number."""
        values = {"purpose": purpose, "started": time.time()}
        with self._writing() as connection:
            digest = self._keep(request.encode())
            return rows.insert(
                connection, "calls", {**_key(job), **values, "request_sha256": digest}
            )

    def answered(self, call: int, *, response: str = "", **columns: Any) -> None:
        """Keep an answer: `seconds`, `reply`, tokens and cost; `response` is the service's own."""
        with self._writing():
            digest = self._keep(response.encode()) if response else None
            self._update_call(call, {**columns, "response_sha256": digest})

    def failed(self, call: int, seconds: float, error: str) -> None:
        """Keep that a call got no answer."""
        with self._writing():
            self._update_call(call, {"seconds": seconds, "error": error})

    def add_attempt(self, attempt: AttemptRow, files: Mapping[str, bytes]) -> AttemptRow:
        """Keep an attempt and its files; the attempt with their hashes.

        Raises RunError for an attempt that is there already.
        """
        with self._writing() as connection:
            kept = {name: self._keep(content) for name, content in files.items()}
            attempt = replace(attempt, artefacts={**attempt.artefacts, **kept})
            prompt = self._keep(attempt.prompt.encode()) if attempt.prompt else ""
            try:
                rows.insert(connection, "attempts", rows.columns_of_attempt(attempt, prompt))
            except sqlite3.IntegrityError as error:
                raise RunError(
                    f"run '{self.file}' holds attempt {attempt.number} at {attempt.job} already"
                ) from error
        return attempt

    def tell(self, attempt: AttemptRow, files: Mapping[str, bytes]) -> AttemptRow:
        """Keep what a model is told after a verdict that is kept already, and what that cost.

        Changes `hints`, `shared`, tokens and cost, and adds `files`; the attempt with their hashes.
        """
        with self._writing() as connection:
            kept = {name: self._keep(content) for name, content in files.items()}
            attempt = replace(attempt, artefacts={**attempt.artefacts, **kept})
            values = rows.columns_of_attempt(attempt, "")
            changed = {name: values[name] for name in _TOLD}
            where = {**_key(attempt.job), "number": attempt.number}
            rows.update(connection, "attempts", changed, where)
        return attempt

    def keep(self, content: bytes) -> str:
        """Keep a file by the hash of its content; the hash."""
        with self._writing():
            return self._keep(content)

    def settle(self, job: Job, state: State, reason: str | None = None) -> None:
        """Note how far a job has come."""
        with self._writing() as connection:
            rows.update(connection, "jobs", {"state": state, "reason": reason}, _key(job))

    def open_job(self, job: Job, opening: Mapping[str, Any] | None) -> None:
        """Keep what a job is shown at first besides its problem."""
        with self._writing() as connection:
            rows.update(connection, "jobs", {"opening": opening}, _key(job))

    def _keep(self, content: bytes) -> str:
        digest = sha256(content)
        self._connection.execute(
            "INSERT OR IGNORE INTO artefacts VALUES (?, ?)", (digest, zlib.compress(content))
        )
        return digest

    def _update_call(self, call: int, values: Mapping[str, Any]) -> None:
        rows.update(self._connection, "calls", values, {"id": call})

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._turn, database.explained(self.file):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself where the disk is full.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _key(job: Job) -> dict[str, str]:
    return {"problem": job.problem, "model": job.model, "context": job.context}

"""The SQLite file of a run: its tables, how it is opened, and what its failures mean."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metalgen.errors import RunError
from metalgen.files import TEMPORARY_PREFIX

FILE = "run.sqlite"
VERSION = 1
APPLICATION = 0x4D54_474E  # "MTGN": tells a run from other SQLite files
BUSY_SECONDS = 10.0  # how long to wait for another process's transaction

# Mappings and sequences are JSON; `rows` says which columns hold them.
_SCHEMA = """
CREATE TABLE run (
    id TEXT NOT NULL, started REAL NOT NULL, ended REAL,
    command TEXT NOT NULL, settings TEXT NOT NULL, device_json TEXT NOT NULL
);
CREATE TABLE problems (
    position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, path TEXT NOT NULL,
    source TEXT NOT NULL, sha256 TEXT NOT NULL, level INTEGER,
    is_control INTEGER NOT NULL, control_reason TEXT,
    notes TEXT NOT NULL, failure TEXT, description TEXT
);
CREATE TABLE jobs (
    position INTEGER PRIMARY KEY, problem TEXT NOT NULL, model TEXT NOT NULL, context TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT, opening TEXT, UNIQUE (problem, model, context)
);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, problem TEXT NOT NULL, model TEXT NOT NULL, context TEXT NOT NULL,
    purpose TEXT NOT NULL, started REAL NOT NULL, request_sha256 TEXT NOT NULL, seconds REAL,
    reply TEXT, response_sha256 TEXT, error TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cost REAL
);
CREATE INDEX calls_by_request ON calls (problem, model, context, request_sha256);
CREATE TABLE attempts (
    problem TEXT NOT NULL, model TEXT NOT NULL, context TEXT NOT NULL, phase TEXT NOT NULL,
    number INTEGER NOT NULL, started REAL NOT NULL, call_seconds REAL NOT NULL,
    seconds REAL NOT NULL, prompt_sha256 TEXT NOT NULL, reply TEXT NOT NULL,
    stage TEXT, reason TEXT, candidate_us REAL, eager_us REAL, compiled_us REAL,
    metal_steps INTEGER NOT NULL, aten_steps INTEGER NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, cost REAL,
    artefacts TEXT NOT NULL, device TEXT NOT NULL, notes TEXT NOT NULL,
    is_control INTEGER NOT NULL, details TEXT NOT NULL, hints TEXT, shared TEXT,
    PRIMARY KEY (problem, model, context, number)
);
CREATE TABLE artefacts (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);  -- zlib
"""


def file_of(path: Path) -> Path:
    """The run's file, `path` being it or its folder; RunError where there is none."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"no run at '{path}': expected a folder with {FILE}; see metalgen runs")
    return file


def create(file: Path, fill: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A new run's database as `fill` makes it, there whole or not at all.

    Raises RunError where there is a file already.
    """
    if file.exists():
        raise RunError(
            f"there is a run in '{file.parent}' already; continue it with: metalgen resume "
            f"{file.parent}, or name another folder"
        )
    temporary = file.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with contextlib.closing(_connected(str(temporary))) as connection:
                _fill(connection, fill)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    return open_to_write(file)


def create_in_memory(fill: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A run that nobody wants to keep."""
    connection = _connected(":memory:")
    _fill(connection, fill)
    return connection


def open_to_write(file: Path) -> sqlite3.Connection:
    """A run's database that will be added to; RunError where it cannot be used."""
    return _opened(file, "rw", _prepare_to_write)


def open_to_read(file: Path) -> sqlite3.Connection:
    """A run's database as it is, also while another process writes it."""
    return _opened(file, "ro", lambda connection: None)


def _opened(
    file: Path, mode: str, prepare: Callable[[sqlite3.Connection], None]
) -> sqlite3.Connection:
    with explained(file):
        connection = _connected(f"{file.absolute().as_uri()}?mode={mode}")
        try:
            _check(connection, file)
            prepare(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare_to_write(connection: sqlite3.Connection) -> None:
    # What a broken disk left would otherwise show only after more was paid for.
    (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise sqlite3.DatabaseError(state)
    connection.execute("PRAGMA journal_mode = WAL")
    # Every commit reaches the disk: what was paid for outlives a power failure too.
    connection.execute("PRAGMA synchronous = FULL")


def close(connection: sqlite3.Connection) -> None:
    """Leave one plain file behind, without its log, unless somebody is reading it."""
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error:
        pass  # the log stays beside it and belongs to it
    finally:
        connection.close()


def _connected(address: str) -> sqlite3.Connection:
    # The store's own lock keeps threads apart.
    return sqlite3.connect(
        address,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=address.startswith("file:"),
    )


def _fill(connection: sqlite3.Connection, fill: Callable[[sqlite3.Connection], None]) -> None:
    connection.executescript(
        f"BEGIN; {_SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
    )
    fill(connection)
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise RunError(f"'{file}' is not a run of metalgen; expected the {FILE} of one")
    if version > VERSION:
        raise RunError(
            f"run '{file}' was written by a newer metalgen (schema {version}, this one reads up to "
            f"{VERSION}); update metalgen"
        )


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """SQLite's and the file system's complaints as RunErrors with cause and remedy."""
    try:
        yield
    except sqlite3.Error as error:
        raise RunError(f"run '{file}' {_meaning(' '.join(str(error).split()), file)}") from error
    except OSError as error:
        raise RunError(f"run '{file}' cannot be used: {error.strerror or error}") from error


def _meaning(complaint: str, file: Path) -> str:
    again = f"then continue with: metalgen resume {file.parent}"
    if "locked" in complaint or "busy" in complaint:
        return f"is locked by another process; wait for it or end it, {again}"
    if "full" in complaint:
        return f"cannot be written: the disk is full; free some space, {again}"
    if "readonly" in complaint:
        return "cannot be written: it is read-only; change its permissions or copy it"
    if "unable to open" in complaint:
        return "cannot be opened: check that its folder exists and can be written to"
    if "disk I/O" in complaint:
        return f"cannot be written or read ({complaint}); check the disk and its quota, {again}"
    return f"is damaged ({complaint}); restore it from a copy: best candidates lie beside it"

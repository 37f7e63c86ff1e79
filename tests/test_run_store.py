"""The run store: what is written is read back, whatever ends the writing; every failure is said."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from run_rows import JOB, attempt, info, problem, store_in

from metalgen.errors import RunError
from metalgen.runs import Job, RunStore, database, open_run


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def fill(store):
    """One call and the attempt that came of it."""
    call = store.asked(JOB, "proposal", "the request")
    store.answered(call, response='{"raw": 1}', seconds=1.5, reply="a reply", cost=0.25)
    return store.add_attempt(attempt(), {"kernels.metal": b"kernel", "plan.json": b"{}"})


def test_what_is_written_is_read_back(folder):
    store = store_in(folder)
    kept = fill(store)
    store.opened(problem(is_control=True, notes=("n",), description={"inputs": []}))
    store.settle(JOB, "stopped", "the budget is used up")
    store.end(True)
    store.close()
    with open_run(folder) as run:
        assert run.info.settings == info().settings
        assert run.info.command == ("generate", "add.py")
        assert run.info.ended is not None
        (only,) = run.problems()
        assert (only.is_control, only.notes, only.description) == (True, ("n",), {"inputs": []})
        assert run.attempts() == (kept,)
        assert run.artefact(kept.artefacts["kernels.metal"]) == b"kernel"
        (job,) = run.jobs()
        assert (job.job, job.state, job.reason) == (JOB, "stopped", "the budget is used up")
        (call,) = run.calls()
        assert (call.reply, call.cost, call.seconds) == ("a reply", 0.25, 1.5)
        assert run.artefact(call.request_sha256) == b"the request"
        assert run.artefact(call.response_sha256) == b'{"raw": 1}'


def test_a_run_that_was_closed_is_one_plain_file(folder):
    fill(store := store_in(folder))
    store.close()
    assert [path.name for path in folder.iterdir()] == ["run.sqlite"]
    with open_run(folder / "run.sqlite"):
        assert [path.name for path in folder.iterdir()] == ["run.sqlite"]


def test_a_run_can_be_read_while_it_is_written(folder):
    store = store_in(folder)
    with open_run(folder) as run:
        assert run.attempts() == ()
        kept = fill(store)
        assert run.attempts() == (kept,)
    store.close()


def test_the_same_request_of_the_same_job_is_answered_from_the_store(folder):
    store = store_in(folder)
    fill(store)
    store.failed(store.asked(JOB, "proposal", "another"), 0.5, "429")
    store.asked(JOB, "proposal", "a third")
    assert store.answer(JOB, "the request").reply == "a reply"
    assert store.answer(JOB, "another") is None
    assert store.answer(JOB, "a third") is None
    assert store.answer(Job("add", "another model"), "the request") is None
    store.close()


def test_no_attempt_is_kept_twice(folder):
    store = store_in(folder)
    fill(store)
    with pytest.raises(RunError, match="holds attempt 1"):
        fill(store)
    assert len(store.attempts()) == 1
    store.close()


def test_a_run_in_memory_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = store_in(None)
    kept = fill(store)
    assert store.attempts() == (kept,)
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_another_run_does_not_replace_one(folder):
    store_in(folder).close()
    with pytest.raises(RunError, match="continue it with: metalgen resume"):
        store_in(folder)


def test_two_processes_do_not_continue_one_run(folder):
    store = store_in(folder)
    with pytest.raises(RunError, match=f"process {os.getpid()} is writing it"):
        RunStore.resume(folder)
    store.close()
    RunStore.resume(folder).close()


def test_a_locked_database_is_said_to_be_locked(folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    store = store_in(folder)
    other = sqlite3.connect(folder / "run.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunError, match="is locked by another process; wait for it or end it"):
        fill(store)
    other.execute("ROLLBACK")
    other.close()
    fill(store)
    store.close()


def test_a_full_disk_is_said_to_be_full_and_loses_nothing(folder):
    store = store_in(folder)
    kept = fill(store)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(RunError, match="the disk is full; free some space, then continue with"):
        store.add_attempt(attempt(2), {"kernels.metallib": os.urandom(100_000)})
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.attempts() == (kept,)
    store.add_attempt(attempt(2), {})
    store.close()


def test_a_disk_that_refuses_to_grow_files_is_said(folder):
    """As with a quota: the operating system, not SQLite, refuses."""
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from run_rows import attempt, store_in
        from pathlib import Path
        from metalgen.errors import RunError
        store = store_in(Path({str(folder)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
        try:
            store.add_attempt(attempt(), {{"x": __import__("os").urandom(1_000_000)}})
        except RunError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert "continue with: metalgen resume" in done.stdout
    with open_run(folder) as run:
        assert run.attempts() == ()


def damage(file):
    """Overwrite the middle of a file that has grown a little."""
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = os.urandom(4096)
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.unlink(), "no run at"),
        (lambda file: file.write_bytes(b"x" * 5000), "is damaged"),
        (lambda file: file.write_bytes(b""), "is not a run of metalgen"),
        (lambda file: file.write_bytes(file.read_bytes()[:9000]), "is damaged"),
        (damage, "is damaged"),
    ],
)
def test_what_is_no_run_or_a_damaged_one_is_refused(folder, change, message):
    store = store_in(folder)
    for number in range(1, 40):
        store.add_attempt(attempt(number, prompt=f"{number}" * 3000), {})
    store.close()
    change(folder / "run.sqlite")
    with pytest.raises(RunError, match=message) as caught:
        RunStore.resume(folder)
    assert "\n" not in str(caught.value)


def test_a_run_of_a_newer_metalgen_is_refused(folder):
    store_in(folder).close()
    with sqlite3.connect(folder / "run.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunError, match=r"newer metalgen \(schema 99, this one reads up to 1\)"):
        open_run(folder)


def test_another_programs_database_is_refused(folder):
    folder.mkdir()
    connection = sqlite3.connect(folder / "run.sqlite")
    connection.execute("CREATE TABLE run (id)")
    connection.close()
    with pytest.raises(RunError, match="is not a run of metalgen"):
        open_run(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be"):
        store_in(tmp_path / "run")


WRITER = """
    import sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from run_rows import JOB, attempt, store_in
    store = store_in(Path({folder!r}))
    print("begun", flush=True)
    for number in range(1, 100000):
        call = store.asked(JOB, "proposal", f"request {{number}}")
        store.answered(call, response="raw" * 3000, seconds=1.0, reply=f"reply {{number}}")
        print(number, flush=True)
        store.add_attempt(attempt(number), {{"kernels.metal": b"k%d" % number}})
"""


@pytest.mark.parametrize("after", [1, 2, 17])
def test_kill_9_loses_no_answer_that_was_kept(folder, after):
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(folder))
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line.strip())
        if len(said) > after:
            break
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    whole = [int(number) for number in said[1:]]
    store = RunStore.resume(folder)
    for number in whole:
        assert store.answer(JOB, f"request {number}").reply == f"reply {number}"
    numbers = [each.number for each in store.attempts()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(whole) - 1
    store.add_attempt(attempt(len(numbers) + 1), {})
    store.close()


def test_kill_9_while_a_run_is_made_leaves_none_or_a_whole_one(tmp_path):
    """The file appears by a rename, so a folder that was begun may be used again."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".metalgen-writing-0123").write_bytes(b"half")
    (folder / "run.lock").write_text("99999999\n")
    store_in(folder).close()
    with open_run(folder) as run:
        assert run.info.id == "run-1"

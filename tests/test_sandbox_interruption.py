"""A run that is interrupted or killed leaves no process behind and a directory that can be used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from problem_files import ADD, add_reply, write_problem

ENDLESS = "volatile device float* p = y; while (p[i] != 7.0f) p[i] = 1.0f;"


@pytest.fixture
def stuck(tmp_path):
    """`metalgen generate` after one accepted candidate, stuck in the next one's endless loop."""
    write_problem(tmp_path, ADD, "add.py")
    (tmp_path / "replies").mkdir()
    (tmp_path / "replies" / "0.md").write_text(add_reply())
    (tmp_path / "replies" / "1.md").write_text(add_reply(ENDLESS))
    command = [sys.executable, "-m", "metalgen", "generate", "add.py", "--out", "out", "--rounds=1"]
    process = subprocess.Popen(
        [*command, "--model", "scripted:replies", "--time-limit", "300"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    attempts = tmp_path / "out" / "attempts.jsonl"
    _wait_until(lambda: attempts.exists() and attempts.read_text().endswith("\n"), "one attempt")
    time.sleep(2)  # into the loop; a run that is still compiling must end as well
    yield process
    process.kill()
    process.communicate()


def _wait_until(condition, what):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"never happened: {what}")


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _child(parent):
    """The one child process, whichever of the parent's threads started it."""
    lists = Path(f"/proc/{parent}/task").glob("*/children")
    (child,) = [int(pid) for each in lists for pid in each.read_text().split()]
    return child


def _is_gone(pid):
    try:
        return _stat(pid)[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_and_a_usable_directory(stuck, tmp_path, how):
    child = _child(stuck.pid)
    stuck.send_signal(how)
    _, errors = stuck.communicate(timeout=300)
    if how == signal.SIGINT:
        assert stuck.returncode == 130
        assert "interrupted; to go on: metalgen resume out" in errors
    _wait_until(lambda: _is_gone(child), "the worker ends")
    lines = (tmp_path / "out" / "attempts.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"]["verdict"] for line in lines] == ["accepted"]
    manifest = json.loads((tmp_path / "out" / "best" / "manifest.json").read_text())
    assert manifest["attempt"] == 1

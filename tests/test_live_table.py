"""What a user at a terminal sees of a study, and what happens when they interrupt it."""

from __future__ import annotations

import fcntl
import io
import os
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from chat_server import chat_server, completion
from command_line import metalgen
from problem_files import ADD, add_reply, write_problem
from rich.console import Console

from metalgen.cli.live_table import LiveTable
from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.proposers import Accepted, Rejected, Reply
from metalgen.runs import Job, open_run

IDLE = "I am thinking."


def shown(table, width=120, height=40):
    """The table as text."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    table.console = console
    console.print(table.table())
    return console.file.getvalue()


def attempt(job, number, verdict, reply=None):
    reply = reply or Reply("", "", 1000, 234, 0.0123)
    return AttemptRecord(job.model, number, reply, verdict, 1.0)


@pytest.fixture
def jobs():
    return [Job(problem, model) for problem in ("relu", "softmax") for model in ("gpt-5", "o3")]


@pytest.fixture
def table(jobs):
    table = LiveTable(Console(file=io.StringIO()))
    table.began(jobs, [])
    return table


def test_the_table_shows_stage_attempt_tokens_and_cost_of_every_job(table, jobs):
    table.proposing(jobs[0], 1, 5)
    table.judged(jobs[0], attempt(jobs[0], 1, Rejected("compile", "no")))
    table.proposing(jobs[0], 2, 5)
    table.step(jobs[0], "compile", "")
    table.proposing(jobs[1], 1, 5)
    table.judged(jobs[1], attempt(jobs[1], 1, Accepted(10.0, 25.0, "d")))
    table.finished(jobs[1])
    text = shown(table)
    assert re.search(r"relu +│ 2/5 compiling +│ 2.50x in 1", text), text
    assert text.count("1.2k $0.012") == 4  # of both jobs, and of both models together
    assert re.search(r"1 of 4 jobs +│ 0 solved +│ 1 solved", text), text


def test_jobs_that_end_without_a_candidate_say_where(table, jobs):
    table.proposing(jobs[0], 1, 1)
    table.judged(jobs[0], attempt(jobs[0], 1, Rejected("verify", "no")))
    table.finished(jobs[0])
    table.stopped(jobs[1], Stopped("o3", "the budget is used up", False))
    table.finished(jobs[1])
    table.failed("softmax", "has no Model")
    text = shown(table)
    assert re.search(r"relu +│ verify +│ stopped", text), text
    assert re.search(r"softmax +│ unusable +│ unusable", text), text


def test_a_table_larger_than_the_terminal_shows_what_is_under_way():
    jobs = [Job(f"problem{i}", "m") for i in range(200)]
    table = LiveTable(Console(file=io.StringIO()))
    table.began(jobs, [])
    table.proposing(jobs[150], 1, 5)
    text = shown(table, width=60, height=24)
    assert "problem150" in text
    assert len(text.splitlines()) <= 24
    assert "0 of 200 jobs" in text


def test_names_are_no_markup(table):
    job = Job("[red]x", "[/]")
    table.began([job], [])
    table.proposing(job, 1, 5)
    assert "[red]x" in shown(table)


class Terminal:
    """A command on a pseudo-terminal of its own, which is its controlling terminal."""

    _CODE = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        " os.execv(sys.executable, [sys.executable, '-m', 'metalgen', *sys.argv[1:]])"
    )

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "OPENAI_API_KEY": "none"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", self._CODE, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 300) -> None:
        """Wait until the screen has shown something."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    data = os.read(self.master, 1 << 16)
                except OSError:  # the other end was closed
                    data = b""
                assert data, self.text
                self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))

    def press_control_c(self) -> None:
        """What the keyboard does: the terminal interrupts whoever runs in it."""
        os.write(self.master, b"\x03")

    def end(self) -> int:
        status = self.process.wait(timeout=300)
        os.close(self.master)
        return status


def test_control_c_ends_a_study_cleanly_and_says_how_to_go_on(tmp_path):
    problems = tmp_path / "problems"
    problems.mkdir()
    for name in ("one.py", "two.py"):
        write_problem(problems, ADD, name)

    is_over = threading.Event()

    def answer(request):
        if request["model"] == "slow":
            is_over.wait(300)
            return completion(IDLE)
        return completion(add_reply())

    with chat_server(answer) as server:
        terminal = Terminal(
            "bench", "problems", "--swarm", "quick,slow", "--base-url", server.url,
            "--attempts", "20", "--out", "run", cwd=tmp_path,
        )  # fmt: skip
        terminal.read_until(r"one +│ +\d+\.\d\dx in 1")  # the live table, with a result
        terminal.press_control_c()
        terminal.read_until("metalgen: interrupted; to go on: metalgen resume run")
        assert terminal.end() == 130
        is_over.set()
        assert "Traceback" not in terminal.text
        before = len(server.requests)
        with open_run(tmp_path / "run") as run:
            kept = len(run.attempts())
            assert kept >= 1
            assert run.info.ended is None
        done = metalgen("resume", "run", "--max-tokens", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == before  # the budget is used up: nothing was asked
    with open_run(tmp_path / "run") as run:
        assert len(run.attempts()) >= kept
    # Without a terminal there are lines, and nothing of the table's.
    lines = done.stdout.splitlines()
    assert lines[0] == f"going on after {kept} attempts"
    assert any(line.startswith("one, slow: stopped: the budget is used up") for line in lines)
    assert lines[-1] == "not finished; to go on: metalgen resume run"
    assert "\x1b" not in done.stdout

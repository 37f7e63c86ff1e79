"""Runs that end early go on: nothing that was answered is asked again, nothing done is redone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest
from chat_server import chat_server, completion, failure
from command_line import metalgen
from problem_files import ADD, SCALE, add_reply, write_problem
from study_runs import go_on, run_study
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.errors import RunError
from metalgen.generation import Budget
from metalgen.proposers import Reply
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.scripted import ScriptedProposer
from metalgen.runs import open_run

IDLE = "I am thinking."
WRONG = add_reply("y[i] = a[i] - b[i];")


@pytest.fixture
def problem(tmp_path):
    return write_problem(tmp_path, ADD, "add.py")


class Moments:
    """A server's rule that answers from a list and tells when the n-th question has come."""

    def __init__(self, *answers: str, held: int | None = None) -> None:
        self.answers, self.held = answers, held
        self.came = [threading.Event() for _ in range(20)]
        self.released = threading.Event()
        self.count = 0

    def __call__(self, request):
        number, self.count = self.count, self.count + 1
        self.came[number].set()
        if number == self.held:
            self.released.wait(300)
        asked = len(request["messages"]) // 2 - 1  # attempts that it shows
        return completion(self.answers[min(asked, len(self.answers) - 1)])


def started(problem, server, *options):
    command = [sys.executable, "-m", "metalgen", "generate", problem.name, "--model", "m"]
    return subprocess.Popen(
        [*command, "--base-url", server.url, "--out", "run", *options],
        cwd=problem.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": "none"},
    )


def killed(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)


def repeated(server):
    """How often questions were asked that had been asked before."""
    return sum(
        n - 1 for n in Counter(json.dumps(r, sort_keys=True) for r in server.requests).values()
    )


def test_kill_9_while_a_model_answers_repeats_that_call_alone(problem):
    moments = Moments(IDLE, IDLE, IDLE, add_reply(), held=2)
    with chat_server(moments) as server:
        process = started(problem, server)
        assert moments.came[2].wait(300)
        killed(process)
        moments.released.set()
        done = metalgen("resume", "run", cwd=problem.parent)
    assert done.returncode == 0, done.stderr
    assert "going on after 2 attempts" in done.stdout
    assert repeated(server) == 1
    assert len(server.requests) == 5
    with open_run(problem.parent / "run") as run:
        assert [row.number for row in run.attempts()] == [1, 2, 3, 4]
        assert [row.is_accepted for row in run.attempts()] == [False, False, False, True]
        assert sum(call.seconds is None for call in run.calls()) == 1  # the one that was lost


@pytest.fixture
def held_problem(tmp_path):
    """A problem whose reference, while there is a file `hold`, runs on and says so in `held`."""
    held = f"""
            while pathlib.Path({str(tmp_path / "hold")!r}).exists():
                pathlib.Path({str(tmp_path / "held")!r}).touch()
                time.sleep(0.01)
            return a + b"""
    code = ADD.replace("import torch\n", "import pathlib, time, torch\n", 1)
    return write_problem(tmp_path, code.replace("\n            return a + b", held), "add.py")


def test_kill_9_while_a_candidate_is_judged_repeats_no_call(held_problem, evaluators):
    folder = held_problem.parent
    answers = Moments(WRONG, add_reply())

    def answer_and_hold(request):
        (folder / "hold").touch()
        return answers(request)

    with chat_server(answer_and_hold) as server:
        process = started(held_problem, server)
        while not (folder / "held").exists():
            assert process.poll() is None
        with open_run(folder / "run") as run:
            assert [call.reply for call in run.calls()] == [WRONG]
        killed(process)
    (folder / "hold").unlink()
    with chat_server(answers) as again:
        proposer = OpenAIProposer("m", again.url, environment={})
        result = go_on(evaluators, folder / "run", proposer)
    assert (len(server.requests), len(again.requests)) == (1, 1)
    assert [record.verdict.stage for record in result.attempts[:-1]] == ["verify"]
    assert result.is_accepted
    kept = (folder / "run" / "attempts.jsonl").read_text().splitlines()
    assert len(kept) == 2
    assert (folder / "run" / "best" / "kernels.metal").exists()


def test_jobs_that_are_done_are_not_done_again(evaluators, problem, tmp_path):
    class Interrupted:
        name = "b"

        def propose(self, problem, history):
            raise KeyboardInterrupt

    first = ScriptedProposer((add_reply(),), name="a")
    with pytest.raises(KeyboardInterrupt):
        run_study(evaluators, problem, first, Interrupted(), out=tmp_path / "run")

    class Counted:
        calls = 0

        def __init__(self, name):
            self.name = name

        def propose(self, problem, history):
            Counted.calls += 1
            return Reply(add_reply())

    result = go_on(evaluators, tmp_path / "run", Counted("a"), Counted("b"))
    assert Counted.calls == 1
    assert [(record.model, record.number) for record in result.attempts] == [("a", 1), ("b", 1)]


def test_a_run_that_is_done_has_nothing_to_go_on_with(evaluators, problem, tmp_path):
    run_study(evaluators, problem, ScriptedProposer((add_reply(),)), out=tmp_path / "run")
    before = (tmp_path / "run" / "best" / "manifest.json").read_bytes()
    result = go_on(evaluators, tmp_path / "run", ScriptedProposer(()))
    assert len(result.attempts) == 1
    assert (tmp_path / "run" / "best" / "manifest.json").read_bytes() == before


def test_a_run_that_its_budget_stopped_goes_on_with_a_larger_one(evaluators, problem, tmp_path):
    with chat_server(completion(IDLE), completion(IDLE), completion(add_reply())) as server:
        proposer = OpenAIProposer("m", server.url, environment={})
        out = tmp_path / "run"
        result = run_study(evaluators, problem, proposer, out=out, budget=Budget(tokens=30))
        assert len(result.attempts) == 2
        result = go_on(evaluators, out, proposer, budget=Budget(tokens=40))
    assert result.is_accepted
    assert len(server.requests) == 3
    assert repeated(server) == 0


def test_a_service_that_failed_is_asked_again_when_the_run_goes_on(evaluators, problem, tmp_path):
    with chat_server(failure(400, "down"), completion(add_reply())) as server:
        proposer = OpenAIProposer("m", server.url, environment={})
        result = run_study(evaluators, problem, proposer, out=tmp_path / "run")
        assert result.stopped[0].is_provider_error
        assert go_on(evaluators, tmp_path / "run", proposer).is_accepted


def test_a_problem_that_changed_meanwhile_is_the_one_that_was_begun(evaluators, problem, tmp_path):
    class Stopping:
        name = "m"

        def propose(self, problem, history):
            if not history:
                return Reply(WRONG)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(evaluators, problem, Stopping(), out=tmp_path / "run")
    write_problem(problem.parent, SCALE, problem.name)
    result = go_on(evaluators, tmp_path / "run", ScriptedProposer((WRONG, add_reply()), "m"))
    assert result.is_accepted


def test_what_cannot_be_gone_on_with_is_refused_in_one_line(tmp_path):
    done = metalgen("resume", "missing", cwd=tmp_path)
    assert done.returncode == 5
    assert done.stderr.startswith("metalgen: error: no run at 'missing': expected a folder with")
    assert done.stderr.count("\n") == 1


def test_runs_are_listed_with_what_came_of_them(evaluators, problem, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    run_study(evaluators, problem, ScriptedProposer((add_reply(),)), out=runs / "right")
    with chat_server(completion(IDLE)) as server:
        proposer = OpenAIProposer("m", server.url, environment={})
        run_study(evaluators, problem, proposer, out=runs / "early", budget=Budget(tokens=1))
    (runs / "broken").mkdir()
    (runs / "broken" / "run.sqlite").write_bytes(b"x" * 5000)
    monkeypatch.chdir(tmp_path)
    listed = json.loads(CliRunner().invoke(make_app(["runs"]), ["runs", "--json"]).stdout)
    by_name = {entry.get("folder"): entry for entry in listed}
    assert by_name["runs/right"]["finished"]
    assert by_name["runs/right"]["accepted"] == 1
    assert not by_name["runs/early"]["finished"]
    assert by_name["runs/early"]["attempts"] == 1
    assert "is damaged" in by_name[None]["error"]
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(make_app(["runs"]), ["runs"]).stdout
    assert "0 of 1 jobs" in shown
    assert "to go on with one that is not finished: metalgen resume RUN" in shown


def test_a_model_that_the_run_does_not_have_is_refused(evaluators, problem, tmp_path):
    run_study(evaluators, problem, ScriptedProposer((WRONG,)), out=tmp_path / "run", attempts=1)
    with pytest.raises(RunError, match="was begun with models scripted, not with other"):
        go_on(evaluators, tmp_path / "run", ScriptedProposer((), "other"))


def test_a_full_disk_ends_a_study_with_one_line_and_it_goes_on_later(problem, evaluators):
    """A limit on the size of files stands in for the disk: the system refuses to write on."""
    replies = [IDLE + "x" * 200 + os.urandom(300_000).hex(), add_reply()]
    with chat_server(Moments(*replies)) as server:
        command = f"ulimit -f 400; exec {sys.executable} -m metalgen generate add.py --model m"
        done = subprocess.run(
            ["bash", "-c", f"{command} --base-url {server.url} --out run"],
            cwd=problem.parent,
            capture_output=True,
            text=True,
            env={**os.environ, "OPENAI_API_KEY": "none"},
            check=False,
        )
        assert done.returncode == 5, done.stderr
        assert "run 'run/run.sqlite' cannot be written" in done.stderr
        assert "continue with: metalgen resume run" in done.stderr
        assert "Traceback" not in done.stderr
        proposer = OpenAIProposer("m", server.url, environment={})
        assert go_on(evaluators, problem.parent / "run", proposer).is_accepted
    assert repeated(server) == 1

"""Several models at once: side by side, the best kept, what each sees of the others."""

from __future__ import annotations

import json
import threading
import time

import pytest
from chat_server import chat_server, completion, failure
from problem_files import ADD, add_reply, write_problem
from study_runs import run_study
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.generation import Limits, Means, Settings, begin, conduct
from metalgen.generation.evaluators import LocalEvaluators
from metalgen.generation.tasks import find_problems
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.scripted import ScriptedProposer
from metalgen.runs import open_run

IDLE = "I am thinking."
WRONG = add_reply("y[i] = a[i] - b[i];")
SLOW = add_reply("float t = 0; for (uint k = 0; k < 5000; ++k) t = sin(t + a[i]);"
                 " y[i] = a[i] + b[i] + (t > 2 ? 1 : 0);")  # fmt: skip


@pytest.fixture(scope="module")
def evaluators():
    with LocalEvaluators(Limits(launch_s=10), "cpu", places=2) as evaluators:
        yield evaluators


@pytest.fixture
def problem(tmp_path):
    return write_problem(tmp_path, ADD, "add.py")


def models(server, *names):
    return [OpenAIProposer(name, server.url, environment={}) for name in names]


def test_models_are_asked_side_by_side(evaluators, problem):
    together = threading.Barrier(3, timeout=300)

    def answer(request):
        together.wait()  # broken, and the answer lost, unless three ask at once
        return completion(IDLE)

    with chat_server(answer) as server:
        result = run_study(evaluators, problem, *models(server, "a", "b", "c"), attempts=2)
    assert [(r.model, r.number) for r in result.attempts] == [
        (model, number) for model in "abc" for number in (1, 2)
    ]


def test_a_service_is_asked_no_more_at_once_than_allowed(evaluators, problem):
    under_way, most = [0], [0]
    turn, are_two = threading.Lock(), threading.Event()

    def answer(request):
        with turn:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            if most[0] == 2:
                are_two.set()
        are_two.wait(300)
        time.sleep(0.05)  # a third would come now
        with turn:
            under_way[0] -= 1
        return completion(IDLE)

    with chat_server(answer) as server:
        run_study(evaluators, problem, *models(server, *"abcdef"), attempts=2, calls=2)
    assert most[0] == 2
    assert len(server.requests) == 12


def test_the_fastest_of_all_is_kept(evaluators, problem, tmp_path):
    with chat_server(lambda r: completion(SLOW if r["model"] == "a" else add_reply())) as server:
        result = run_study(evaluators, problem, *models(server, "a", "b"), out=tmp_path / "run")
    assert result.best.record.model == "b"
    kept = (tmp_path / "run" / "best" / "kernels.metal").read_text()
    assert "k < 5000" not in kept
    manifest = json.loads((tmp_path / "run" / "best" / "manifest.json").read_text())
    assert manifest["model"] == "b"


@pytest.mark.parametrize("share", [True, False])
def test_members_that_share_see_the_best_so_far_and_others_do_not(
    evaluators, problem, tmp_path, share
):
    def answer(request):
        if request["model"] == "first":
            return completion(SLOW)
        if any(message["role"] == "assistant" for message in request["messages"]):
            return completion(add_reply())
        _wait_for_an_accepted_candidate(tmp_path / "run")
        return completion(WRONG)

    with chat_server(answer) as server:
        first, second = models(server, "first", "second")
        run_study(evaluators, problem, first, second, share=share, out=tmp_path / "run")
    told = server.requests[-1]["messages"][-1]["content"]
    assert ("fastest correct candidate so far is first's" in told) == share
    assert ("k < 5000" in told) == share


def _wait_for_an_accepted_candidate(folder):
    with open_run(folder) as run:
        for _ in range(6000):
            if any(attempt.is_accepted for attempt in run.attempts()):
                return
            time.sleep(0.05)


def test_nobody_is_shown_its_own_candidate_as_the_best(evaluators, problem):
    with chat_server(completion(add_reply())) as server:
        run_study(evaluators, problem, *models(server, "only"), share=True, rounds=1)
    told = "\n".join(message["content"] for message in server.requests[-1]["messages"])
    assert "fastest correct candidate so far" not in told


def test_models_of_one_name_are_told_apart(evaluators, problem):
    scripts = [ScriptedProposer((WRONG,)), ScriptedProposer((add_reply(),))]
    result = run_study(evaluators, problem, *scripts, attempts=1)
    assert [record.model for record in result.attempts] == ["scripted", "scripted#2"]


@pytest.fixture
def ask_about_six_problems(evaluators, tmp_path):
    """Six jobs, three of which wait at once for the one call that their service takes at a time."""
    (tmp_path / "problems").mkdir()
    for number in range(6):
        write_problem(tmp_path / "problems", ADD, f"add{number}.py")

    def ask(proposer):
        settings = Settings(models=("m",), attempts=1, is_nested=True)
        tasks = find_problems(tmp_path / "problems")
        with begin(tasks, settings, {"m": proposer}, None) as store:
            means = Means(calls=1, evaluators=evaluators)
            stopped = conduct(store, settings, {"m": proposer}, means)
            return store.calls(), store.jobs(), [each.reason for each in stopped]

    return ask


def test_a_model_that_keeps_failing_is_not_asked_for_every_job(ask_about_six_problems):
    """Three jobs find out for all that the service is down, also for those that wait by then."""
    proposer = OpenAIProposer("m", "http://127.0.0.1:9/v1", environment={}, retries=0)
    calls, jobs, reasons = ask_about_six_problems(proposer)
    assert len(calls) == 3
    assert {job.state for job in jobs} == {"stopped"}
    assert [reason.count("failed 3 jobs in a row") for reason in reasons] == [0, 0, 0, 1, 1, 1]


def test_a_model_that_answers_in_between_is_asked_on(ask_about_six_problems):
    answers = [failure(500, "busy"), failure(500, "busy"), completion(IDLE)] * 2
    with chat_server(*answers) as server:
        proposer = OpenAIProposer("m", server.url, environment={}, retries=0)
        calls, jobs, reasons = ask_about_six_problems(proposer)
    assert [call.error is None for call in calls] == [False, False, True] * 2
    assert sorted(job.state for job in jobs) == ["finished"] * 2 + ["stopped"] * 4
    assert not any("in a row" in reason for reason in reasons)


def test_a_cuda_implementation_beside_the_problem_is_a_context(evaluators, problem):
    problem.with_suffix(".cu").write_text("__global__ void add_in_cuda() {}")
    with chat_server(completion(add_reply())) as server:
        result = run_study(evaluators, problem, *models(server, "m"), contexts=("plain", "cuda"))
    shown = {"add_in_cuda" in json.dumps(request["messages"]) for request in server.requests}
    assert shown == {True, False}
    assert sorted(record.context for record in result.attempts) == ["cuda", "plain"]


def test_a_profile_becomes_hints_before_the_next_round(evaluators, problem, tmp_path):
    def answer(request):
        is_hint = "read profiles" in json.dumps(request["messages"])
        return completion("Use larger threadgroups." if is_hint else add_reply())

    with chat_server(answer) as server:
        proposer = models(server, "m")
        result = run_study(
            evaluators, problem, *proposer, out=tmp_path / "run", contexts=("profile",), rounds=1
        )
    assert len(server.requests) == 3
    assert "Use larger threadgroups." in server.requests[-1]["messages"][-1]["content"]
    assert result.spent.tokens == 3 * 18
    with open_run(tmp_path / "run") as run:
        assert [call.purpose for call in run.calls()] == ["proposal", "hints", "proposal"]
        first = run.attempts()[0]
        assert first.hints == "Use larger threadgroups."
        assert b"add" in run.artefact(first.artefacts["profile.txt"])
        pictures = [name for name in first.artefacts if name.endswith(".png")]
        assert all(run.artefact(first.artefacts[n]).startswith(b"\x89PNG") for n in pictures)


def test_rounds_go_on_from_the_fastest_candidate_and_its_profile(evaluators, problem, tmp_path):
    """The second candidate is right and slower: what follows is about the first."""
    replies = [add_reply(), SLOW, add_reply()]

    def answer(request):
        messages = request["messages"]
        if "read profiles" in json.dumps(messages):
            is_slow = "k < 5000" in json.dumps(messages)
            return completion("of the slow one" if is_slow else "of the fast one")
        return completion(replies[len(messages) // 2 - 1])

    with chat_server(answer) as server:
        result = run_study(
            evaluators, problem, *models(server, "m"), contexts=("profile",), rounds=2
        )
    assert len(result.attempts) == 3
    assert result.best.record.number in (1, 3)
    told = server.requests[-1]["messages"][-1]["content"]
    assert "Your attempt 1 stays the fastest" in told
    assert "A profile of attempt 1 suggests:\n\nof the fast one" in told
    assert len(server.requests) == 4  # a profile is read once


def test_the_command_line_shows_who_won(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_problem(tmp_path, ADD, "add.py")
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "0.md").write_text(SLOW)
    command = ["generate", "add.py", "--swarm", "scripted:slow,builtin", "--out", "run"]
    done = CliRunner().invoke(make_app(command), command)
    assert done.exit_code == 0, done.stderr
    lines = [line.split("│") for line in done.stdout.splitlines() if "│" in line]
    shown = {cells[0].strip(): cells[3].strip() for cells in lines}
    assert set(shown) >= {"scripted", "builtin"}
    assert all(text.endswith("x") for text in shown.values())
    assert "builtin, attempt 1: accepted" in done.stdout

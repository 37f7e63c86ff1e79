"""What a run costs and when its budget ends it: real client, local server, real evaluator."""

import json
import time

import pytest
from chat_server import chat_server, completion
from problem_files import ADD, add_reply, write_problem
from study_runs import run_study
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.generation import Budget, Spent
from metalgen.proposers import Reply
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.scripted import ScriptedProposer

IDLE = "I am thinking."  # no candidate: an attempt that costs nothing but its tokens
PRICE = {"input": 1000, "output": 2000, "source": "https://example.org", "read": "2026-01-02"}
COST = (11 * 1000 + 7 * 2000) / 1e6  # of one answer of the local server


@pytest.fixture
def problem(tmp_path):
    return write_problem(tmp_path, ADD)


@pytest.fixture
def environment(tmp_path):
    """The environment in which `m` is asked at a server for a price."""

    def make(server, price=PRICE):
        path = tmp_path / "models.json"
        model = {"name": "m", "provider": "p", "provider_name": "m", "price": price}
        provider = {"endpoint": server.url, "key_variable": "P_KEY"}
        path.write_text(json.dumps({"providers": {"p": provider}, "models": [model]}))
        return {"METALGEN_MODELS": str(path), "P_KEY": "k"}

    return make


@pytest.fixture
def run(evaluators, problem):
    def call(proposer, budget=None, **settings):
        return run_study(evaluators, problem, proposer, budget=budget, **settings)

    return call


def test_costs_are_kept_with_attempts_run_and_manifest(run, environment, tmp_path):
    with chat_server(completion(IDLE), completion(add_reply())) as server:
        result = run(OpenAIProposer("m", environment=environment(server)), out=tmp_path / "run")
    assert [record.reply.cost for record in result.attempts] == [pytest.approx(COST)] * 2
    assert result.to_json()["spent"] == {
        "input_tokens": 22,
        "output_tokens": 14,
        "cost": pytest.approx(2 * COST),
    }
    lines = (tmp_path / "run" / "attempts.jsonl").read_text().splitlines()
    assert [json.loads(line)["cost"] for line in lines] == [pytest.approx(COST)] * 2
    manifest = json.loads((tmp_path / "run" / "best" / "manifest.json").read_text())
    assert manifest["cost"] == pytest.approx(COST)
    assert manifest["spent_so_far"]["cost"] == pytest.approx(2 * COST)


def test_a_cost_without_a_known_price_is_unknown(run, environment):
    with chat_server(completion(IDLE)) as server:
        proposer = OpenAIProposer("m", environment=environment(server, price=None))
        result = run(proposer, attempts=2)
    assert result.spent == Spent(22, 14, None)
    assert result.attempts[0].to_json()["cost"] is None


def test_what_needs_no_service_is_free(run):
    result = run(ScriptedProposer((IDLE, IDLE)), Budget(cost=0, tokens=0), attempts=2)
    assert len(result.attempts) == 2
    assert result.spent.is_free


@pytest.mark.parametrize(
    ("budget", "attempts", "reason"),
    [
        (Budget(cost=COST * 1.5), 2, "used up: $0.0500 of $0.0375"),
        (Budget(cost=COST), 1, "used up"),
        (Budget(cost=0), 0, "used up: $0.0000 of"),
        (Budget(tokens=19), 2, "used up: 36 of 19 tokens"),
        (Budget(tokens=18), 1, "used up: 18 of 18 tokens"),
    ],
)
def test_a_budget_that_is_used_up_ends_the_run(run, environment, budget, attempts, reason):
    with chat_server(completion(IDLE)) as server:
        result = run(OpenAIProposer("m", environment=environment(server)), budget)
    assert len(result.attempts) == len(server.requests) == attempts
    assert reason in result.stopped[0].reason


def test_no_money_is_spent_where_the_price_is_not_known(run, environment):
    with chat_server(completion(IDLE)) as server:
        proposer = OpenAIProposer("m", environment=environment(server, price=None))
        result = run(proposer, Budget(cost=5))
    assert server.requests == []
    assert "what 'm' costs is not known" in result.stopped[0].reason


def test_a_budget_ends_where_the_service_does_not_count(run, environment):
    with chat_server(completion(IDLE, usage=False)) as server:
        proposer = OpenAIProposer("m", environment=environment(server))
        tokens = run(proposer, Budget(tokens=1000))
        cost = run(proposer, Budget(cost=5))
    assert len(tokens.attempts) == len(cost.attempts) == 1
    assert "does not count tokens" in tokens.stopped[0].reason
    assert "costs is not known" in cost.stopped[0].reason


def test_a_budget_is_for_all_jobs_together(run, environment, evaluators, problem):
    with chat_server(completion(IDLE)) as server:
        proposers = [OpenAIProposer("m", environment=environment(server)) for _ in range(3)]
        result = run_study(evaluators, problem, *proposers, budget=Budget(tokens=40))
    assert len(server.requests) == 3
    assert result.spent.tokens == 54
    assert len(result.stopped) == 3


def test_side_by_side_a_budget_is_not_passed_by_more_than_one_answer(
    environment, evaluators, problem
):
    with chat_server(completion(IDLE)) as server:
        proposers = [OpenAIProposer("m", environment=environment(server)) for _ in range(8)]
        run_study(evaluators, problem, *proposers, budget=Budget(cost=10 * COST))
    assert 10 <= len(server.requests) <= 11


def test_a_budget_of_time_ends_the_run_also_for_questions_that_wait(
    environment, evaluators, problem
):
    """Two models that are asked one at a time; the first answer takes all the time there is."""
    budget = Budget(seconds=2)

    def slowly(request):
        time.sleep(budget.seconds)
        return completion(IDLE)

    with chat_server(slowly) as server:
        proposers = [OpenAIProposer("m", environment=environment(server)) for _ in range(2)]
        result = run_study(evaluators, problem, *proposers, budget=budget, calls=1)
    # None where a busy machine took so long to open the problem.
    assert len(result.attempts) == len(server.requests) <= 1
    assert len(result.stopped) == 2
    assert all("the time is used up" in each.reason for each in result.stopped)


def test_the_command_line_says_what_was_spent_and_why_it_stopped(environment, problem, tmp_path):
    command = ["generate", str(problem), "--model", "m", "--max-tokens", "30"]
    command += ["--out", str(tmp_path / "run")]
    with chat_server(completion(IDLE)) as server:
        done = CliRunner(env=environment(server)).invoke(make_app(command), command)
    assert done.exit_code == 1, done.stderr
    assert "m: stopped: the budget is used up: 36 of 30 tokens" in done.stdout
    assert "spent $0.0500, 22 tokens read and 14 written" in done.stdout


def test_unknown_parts_make_the_sum_unknown():
    replies = [Reply("", "", 1, 2, 0.5), Reply("", "", None, None, None), Reply("", "", 3, 4, 1.0)]
    assert Spent.on(replies) == Spent(None, None, None)
    assert Spent.on([replies[0], replies[2]]) == Spent(4, 6, 1.5)
    assert str(Spent(None, None, None)) == "an unknown cost, an unknown number of tokens"

"""`metalgen prompt`: what it prints is what a service receives."""

import json

import pytest
from chat_server import chat_server, completion
from problem_files import ADD, write_problem
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.cli.prompt_stages import sample_attempt
from metalgen.problem import Problem, open_problem
from metalgen.proposers import Attempt, Rejected, Reply
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.prompts import Prompts


def rejected(reason):
    return {"verdict": "rejected", "stage": "compile", "reason": reason}


LINES = [
    {"model": "a", "attempt": 1, "reply": "one", "verdict": rejected("not one")},
    {"model": "b", "attempt": 1, "reply": "two", "verdict": rejected("not two")},
    {"model": "b", "stopped": "the service failed"},
]


@pytest.fixture
def problem(tmp_path):
    return write_problem(
        tmp_path, ADD.replace("def get_inputs", "print('noise')\n\n    def get_inputs")
    )


@pytest.fixture
def prompt(problem):
    def run(*arguments):
        arguments = ["prompt", str(problem), *map(str, arguments)]
        return CliRunner().invoke(make_app(arguments), arguments)

    return run


@pytest.fixture
def attempts(tmp_path):
    path = tmp_path / "attempts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_what_is_printed_is_what_is_sent(prompt, problem, attempts):
    history = [Attempt(Reply("two"), Rejected("compile", "not two"))]
    with chat_server(completion("hello")) as server:
        proposer = OpenAIProposer("b", server.url, environment={})
        proposer.propose(open_problem(problem), history)
        done = prompt("--json", "--after", attempts, "--model", "b", "--base-url", server.url)
        assert len(server.requests) == 1  # by the proposer
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == server.requests[0]


def test_the_text_form_shows_every_message_and_nothing_else(prompt, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "system.md.j2").write_text("width {{ limits.simdgroup_width }}")
    (tmp_path / "mine" / "problem.md.j2").write_text("{{ problem.name }}")
    done = prompt("--prompts", tmp_path / "mine")
    assert done.stdout == (
        "---------- system ----------\nwidth 32\n\n---------- user ----------\nproblem\n\n"
    )


def test_templates_that_cannot_be_used_are_refused_in_one_line(prompt, tmp_path):
    done = prompt("--prompts", tmp_path)
    assert done.exit_code == 5
    assert "no prompt templates in" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "holds attempts of a, b: say whose with --model"),
        (None, ["--model", "c"], "holds no attempts of 'c' (but of: a, b)"),
        ("", [], "holds no attempts; expected a run's attempts.jsonl"),
        ("{", [], "line 1: not JSON"),
        ("[]", [], "line 1: expected an object"),
        ('{"verdict": {}}', [], "an attempt without 'reply'"),
    ],
)
def test_attempts_that_cannot_be_used_are_refused(prompt, attempts, content, options, message):
    if content is not None:
        attempts.write_text(content)
    done = prompt("--after", attempts, *options)
    assert done.exit_code == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("reply", "could not be read"),
        ("plan", "launch plan does not hold"),
        ("compile", "does not compile"),
        ("launch", "compiled but did not run"),
        ("timeout", "did not end"),
        ("verify", "the result is wrong"),
        ("accepted", "Make it faster"),
        ("hints", "A profile of it suggests"),
        ("shared", "fastest correct candidate so far"),
    ],
)
def test_every_stage_of_a_run_can_be_shown(stage, expected, problem):
    described = Problem(problem, problem.read_text(), inputs=(), parameters=(), outputs=())
    messages = Prompts().conversation(described, [sample_attempt(stage)])
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert expected in messages[-1].content


def test_a_stage_is_shown_as_the_end_of_a_conversation(prompt):
    done = prompt("--stage", "timeout")
    assert done.stdout.count("---------- ") == 4
    assert "did not end: kernel 'add' timed out" in done.stdout
    done = prompt("--stage", "profile")
    assert "You read profiles of Metal kernels" in done.stdout


def test_the_chip_and_a_cuda_reference_are_in_the_prompt(prompt, problem, tmp_path):
    (tmp_path / "cuda").mkdir()
    reference = tmp_path / "cuda" / f"{problem.stem}.cu"
    reference.write_text("__global__ void add_kernel() {}")
    for where in (reference, tmp_path / "cuda"):
        done = prompt("--chip", "M3Max", "--cuda", where)
        assert "M3 Max, a GPU of family Apple9 with 40 cores" in done.stdout
        assert "__global__ void add_kernel() {}" in done.stdout


def test_a_cuda_folder_without_the_problem_and_an_unknown_chip_are_refused(prompt, tmp_path):
    (tmp_path / "none").mkdir()
    done = prompt("--cuda", tmp_path / "none")
    assert done.exit_code == 3
    assert "no CUDA implementation of 'problem'" in done.stderr
    done = prompt("--chip", "M99")
    assert "no chip 'M99'" in done.stderr

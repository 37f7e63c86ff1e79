"""Models behind the chat completions API: the real client against a real local server."""

import json
import os
import subprocess
import sys

import pytest
from chat_server import Answer, chat_server, completion, failure
from problem_files import ADD, METAL, SCALE, reply, write_problem

from metalgen.errors import ProviderError, ToolchainError
from metalgen.generation import generate
from metalgen.problem import open_problem
from metalgen.proposers import Accepted, Attempt, Rejected, Reply
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.prompts import Prompts

KEY = "sk-secret-of-the-test"
RIGHT = reply(
    "kernel void add(device const float* a, device const float* b, device float* y,"
    " uint i [[thread_position_in_grid]]) { y[i] = a[i] + b[i]; }",
    {
        "outputs": {"y": {"dtype": "a.dtype", "shape": ["a.shape[0]", "a.shape[1]"]}},
        "steps": [{"kernel": "add", "args": ["a", "b", "y"], "threads": ["a.numel()"]}],
    },
)


@pytest.fixture
def problem(tmp_path):
    return open_problem(write_problem(tmp_path, ADD))


def proposer(url, **options):
    return OpenAIProposer("test-model", url, environment={"OPENAI_API_KEY": KEY}, **options)


def test_a_reply_carries_text_prompt_and_token_counts(problem):
    with chat_server(completion("hello")) as server:
        answer = proposer(server.url).propose(problem, [])
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("hello", 11, 7)
    assert json.loads(answer.prompt) == server.requests[0]["messages"]
    assert server.requests[0]["model"] == "test-model"
    assert server.keys == [f"Bearer {KEY}"]


def test_neither_temperature_nor_token_limits_are_sent(problem):
    with chat_server(completion("hello")) as server:
        proposer(server.url).propose(problem, [])
    assert set(server.requests[0]) == {"model", "messages"}


@pytest.mark.parametrize("usage", [False, None, {}])
def test_tokens_that_the_service_does_not_count_are_unknown(problem, usage):
    with chat_server(completion("hello", usage=usage)) as server:
        answer = proposer(server.url).propose(problem, [])
    assert (answer.input_tokens, answer.output_tokens, answer.cost) == (None, None, None)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_retried(problem, status):
    answers = [failure(status, "busy"), failure(status, "busy"), completion("hello")]
    with chat_server(*answers) as server:
        assert proposer(server.url).propose(problem, []).text == "hello"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), "refused the API key .401."),
        (failure(404, "The model does not exist"), "404.: The model does not exist; check --model"),
        (failure(429, "You exceeded your quota"), "429.*You exceeded your quota"),
        (failure(500, "oh\nno"), "answered 500: oh no"),
        (failure(400, "context length exceeded"), "answered 400: context length exceeded"),
        (Answer(200, "<html>proxy</html>"), "no choices; check --base-url"),
        (Answer(200, {"object": "error"}), "no choices"),
    ],
)
def test_what_the_service_refuses_is_said_in_one_line_without_the_key(problem, answer, message):
    with chat_server(answer) as server, pytest.raises(ProviderError, match=message) as caught:
        proposer(server.url, retries=1).propose(problem, [])
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreachable_service_is_a_provider_error(problem):
    with pytest.raises(ProviderError, match="cannot reach the service"):
        proposer("http://127.0.0.1:9/v1", retries=0).propose(problem, [])


def test_no_key_is_needed_for_a_service_of_ones_own_but_for_openais(problem):
    with pytest.raises(ProviderError, match="set OPENAI_API_KEY"):
        OpenAIProposer("gpt-5", environment={})
    with chat_server(completion("hello")) as server:
        environment = {"OPENAI_BASE_URL": server.url}
        assert OpenAIProposer("m", environment=environment).propose(problem, []).text == "hello"


def test_the_prompt_names_every_tensor_and_shows_the_module(tmp_path):
    problem = open_problem(write_problem(tmp_path, SCALE))
    system, task = Prompts().conversation(problem, [])
    assert (system.role, task.role) == ("system", "user")
    assert "return x * self.weight + self.bias" in task.content
    for line in ("`x`: float32, shape [6, 10]", "`weight`: float32", "`bias`: float32"):
        assert line in task.content
    assert "{%" not in system.content + task.content


@pytest.mark.parametrize("stage", ["reply", "plan", "compile", "launch", "verify"])
def test_every_kind_of_rejection_is_fed_back(problem, stage):
    attempt = Attempt(Reply("first"), Rejected(stage, "because of 42"))
    *_, answer, feedback = Prompts().conversation(problem, [attempt])
    assert (answer.role, answer.content) == ("assistant", "first")
    assert (feedback.role, "because of 42" in feedback.content) == ("user", True)


def test_an_accepted_candidate_is_asked_to_become_faster(problem):
    attempt = Attempt(Reply("first"), Accepted(12.5, 50.0, "software device"))
    feedback = Prompts().conversation(problem, [attempt])[-1].content
    assert "12.5 µs" in feedback
    assert "faster" in feedback


def test_prompts_may_be_replaced_and_their_gaps_are_errors(problem, tmp_path):
    (tmp_path / "system.md.j2").write_text("be brief")
    (tmp_path / "problem.md.j2").write_text("{{ problem.nothing }}")
    assert "has no attribute 'nothing'" in refusal_of(tmp_path, problem)
    (tmp_path / "problem.md.j2").write_text("\n{% if %}")
    assert "problem.md.j2, line 2, cannot be rendered" in refusal_of(tmp_path, problem)


def refusal_of(folder, problem):
    with pytest.raises(ToolchainError) as caught:
        Prompts(folder).conversation(problem, [])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_templates_that_are_not_replaced_are_metalgens(problem, tmp_path):
    (tmp_path / "system.md.j2").write_text("be brief")
    system, task = Prompts(tmp_path).conversation(problem, [])
    assert system.content == "be brief\n"
    assert task == Prompts().conversation(problem, [])[1]


def test_a_folder_without_templates_is_refused(tmp_path):
    with pytest.raises(ToolchainError, match=r"expected any of accepted\.md\.j2, "):
        Prompts(tmp_path)


def test_a_run_recovers_from_unusable_and_wrong_replies(tmp_path):
    wrong = RIGHT.replace("a[i] + b[i]", "a[i] - b[i]")
    broken = RIGHT.replace("b[i];", "c[i];")
    answers = [
        completion(""),
        completion("I am sorry, I cannot do that."),
        completion(f"```metal\n{METAL}kernel void add(", "length"),
        completion(broken),
        completion(wrong),
        completion(RIGHT),
    ]
    path = write_problem(tmp_path, ADD)
    with chat_server(*answers) as server:
        result = generate(path, [proposer(server.url)], attempts=6, out=tmp_path / "run")
    stages = [getattr(record.verdict, "stage", "accepted") for record in result.attempts]
    reasons = [getattr(record.verdict, "reason", "") for record in result.attempts]
    assert stages == ["reply", "reply", "reply", "compile", "verify", "accepted"], reasons
    last = server.requests[-1]["messages"]
    assert [m["role"] for m in last] == ["system", "user"] + ["assistant", "user"] * 5
    assert "use of undeclared identifier 'c'" in last[9]["content"]
    kept = "".join(
        p.read_bytes().decode(errors="replace")
        for p in (tmp_path / "run").rglob("*")
        if p.suffix != ".metallib" and p.is_file()
    )
    assert KEY not in kept


def test_the_command_line_asks_the_service_and_reports_its_refusal(tmp_path):
    path = write_problem(tmp_path, ADD)
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    command = [sys.executable, "-m", "metalgen", "generate", str(path), "--model", "test-model"]
    with chat_server(failure(401, "no")) as server:
        command += ["--base-url", server.url, "--out", str(tmp_path / "run")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 4
    assert "refused the API key" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr

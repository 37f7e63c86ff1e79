"""Everything a user may get wrong, and everything that only looks wrong: one line, or it works."""

from __future__ import annotations

import json

import pytest
from chat_server import chat_server, failure
from problem_files import write_problem
from study_runs import run_study
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.errors import MetalgenError, ProviderError
from metalgen.generation import Settings
from metalgen.generation.study import proposers_of
from metalgen.proposers.builtin import BuiltinProposer
from metalgen.proposers.openai import OpenAIProposer


def problem(
    tmp_path, forward, inputs="torch.rand(4, 8)", init="pass", signature="self, x", head=""
):
    text = f"""\
import torch
from torch import nn
{head}
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
    def forward({signature}):
        {forward}
def get_inputs(): return [{inputs}]
def get_init_inputs(): return []
"""
    return write_problem(tmp_path, text)


REFUSED = {
    "a file that raises": ({"forward": "return x", "head": "raise ValueError('no')"},
                           "raised ValueError: no while it was imported"),
    "a forward that raises": ({"forward": "raise KeyError('k')"}, "forward raised KeyError: 'k'"),
    "keyword-only inputs": ({"forward": "return x", "signature": "self, x, *, y"},
                            "input 'y' is keyword-only, but get_inputs() gives inputs by position"),
    "a dict as output": ({"forward": "return {'a': x}"},
                         "forward gave a dict; return a tensor or a tuple of tensors"),
    "no tensor among the inputs": ({"forward": "return torch.ones(3) * x", "inputs": "2.0"},
                                   "get_inputs() gives no tensor"),
    "no inputs": ({"forward": "return torch.ones(3)", "signature": "self", "inputs": ""},
                  "get_inputs() gives no tensor"),
    "inputs that Metal has no type for": (
        {"forward": "return x", "inputs": "torch.rand(2, dtype=torch.float64)"},
        "'x' is float64, which Metal does not have"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_problem_that_cannot_be_used_is_refused_in_one_line(evaluators, tmp_path, what):
    changes, message = REFUSED[what]
    with pytest.raises(MetalgenError) as caught:
        run_study(evaluators, problem(tmp_path, **changes), BuiltinProposer())
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert "problem.py" in text


def test_a_file_without_a_model_is_refused_in_one_line(evaluators, tmp_path):
    with pytest.raises(MetalgenError, match=r"has no Model; define a torch.nn.Module called Model"):
        run_study(evaluators, write_problem(tmp_path, "x = 1\n"), BuiltinProposer())


WORKS = {
    "a tuple as output": {"forward": "return x * 2, x + 1"},
    "a list as output": {"forward": "return [x * 2, x + 1]"},
    "integer tensors": {"forward": "return x * 3", "inputs": "torch.arange(32).reshape(4, 8)"},
    "small integer tensors": {
        "forward": "return x + 1",
        "inputs": "torch.arange(32, dtype=torch.int32).reshape(4, 8)",
    },
    "bool tensors": {"forward": "return ~x", "inputs": "torch.rand(4, 8) > 0.5"},
    "a bool beside a tensor": {
        "forward": "return x * 2 if on else x",
        "signature": "self, x, on",
        "inputs": "torch.rand(4), True",
    },
    "loops": {"forward": "for i in range(3): x = x + i\n        return x"},
}


@pytest.mark.parametrize("what", WORKS)
def test_what_only_looks_unusual_works(evaluators, tmp_path, what):
    result = run_study(evaluators, problem(tmp_path, **WORKS[what]), BuiltinProposer())
    assert result.is_accepted, (result.stopped, [record.verdict for record in result.attempts])


def test_control_flow_that_depends_on_values_is_refused_with_what_to_do(evaluators, tmp_path):
    path = problem(tmp_path, forward="return x * 2 if x.sum() > 0 else x - 1")
    result = run_study(evaluators, path, BuiltinProposer())
    (stopped,) = result.stopped
    assert stopped.reason.startswith("not supported: ")
    assert "\n" not in stopped.reason
    assert "depends on values" in stopped.reason or "data-dependent" in stopped.reason


def test_no_key_is_said_with_every_way_out(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for model, variable in (("gpt-5", "OPENAI_API_KEY"), ("claude-opus-4", "ANTHROPIC_API_KEY")):
        with pytest.raises(ProviderError, match=rf"set {variable}, give the --base-url .* builtin"):
            proposers_of(Settings(models=(model,)))


def test_an_unknown_model_is_said_by_whoever_was_asked(evaluators, tmp_path):
    path = problem(tmp_path, forward="return x")
    answer = failure(404, "The model `gpt-77` does not exist")
    with chat_server(answer) as server:
        result = run_study(evaluators, path, OpenAIProposer("gpt-77", server.url, environment={}))
    (stopped,) = result.stopped
    assert stopped.reason == (
        "model 'gpt-77': unknown to the service (404): The model `gpt-77` does not exist; check"
        " --model and --base-url"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--context", "telepathy"], "unknown context 'telepathy'; expected one of plain, cuda"),
        (["--context", "profile"], "it needs --rounds"),
        (["--max-cost", "-1"], "max-cost"),
        (["--rounds", "-1"], "rounds"),
        (["--model", "scripted:nothing"], "no scripted replies at 'nothing'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(tmp_path, options, message):
    command = ["generate", str(problem(tmp_path, forward="return x")), *options]
    done = CliRunner(env={"OPENAI_API_KEY": None}).invoke(make_app(command), command)
    assert done.exit_code in (1, 2)
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_refused_problem_leaves_no_run_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text("x = 1\n")
    command = ["generate", "bad.py", "--model", "builtin", "--json"]
    done = CliRunner().invoke(make_app(command), command)
    assert done.exit_code == 3
    assert "'bad.py' has no Model" in done.stderr
    assert not (tmp_path / "runs" / "bad").exists()
    assert done.stdout == "" or json.loads(done.stdout)

"""The chip that a run writes for: asked for, kept with the run, described to models."""

import json

import pytest
from chat_server import chat_server, completion
from problem_files import ADD, write_problem
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.generation.study import Settings, prompts_of
from metalgen.problem import open_problem


@pytest.fixture
def without_chip(monkeypatch):
    """No chip asked for by the environment, and none left behind by a command."""
    monkeypatch.setenv("METALGEN_CHIP", "")
    monkeypatch.setattr("metalgen.chips.this_mac.this_chip", lambda: None)


def run(*arguments):
    return CliRunner().invoke(make_app(arguments), [str(argument) for argument in arguments])


def test_a_runs_questions_describe_its_chip(without_chip, tmp_path):
    problem = write_problem(tmp_path, ADD)
    with chat_server(completion("no idea")) as server:
        done = run(
            "generate", problem, "--model", "m", "--base-url", server.url, "--attempts", 1,
            "--chip", "m3max30", "--out", tmp_path / "run", "--json",
        )  # fmt: skip
        assert json.loads(done.stdout)
        system = server.requests[0]["messages"][0]["content"]
    assert "M3 Max, a GPU of family Apple9 with 30 cores" in system
    assert "Memory: 300 GB/s" in system


def test_a_chip_that_is_unknown_is_refused_before_anything_is_asked(without_chip, tmp_path):
    done = run("generate", write_problem(tmp_path, ADD), "--model", "m", "--chip", "M99")
    assert done.exit_code != 0
    assert "no chip 'M99'" in done.stderr


def test_kept_settings_word_the_same_questions_again(tmp_path):
    problem = open_problem(write_problem(tmp_path, ADD))
    settings = Settings(chip="M2 Pro 16")
    again = Settings.from_json(json.loads(json.dumps(settings.to_json())))
    first, second = (prompts_of(each).conversation(problem, []) for each in (settings, again))
    assert first == second
    assert "M2 Pro, a GPU of family Apple8 with 16 cores" in first[0].content
    assert "which one is not known" in prompts_of(Settings()).conversation(problem, [])[0].content

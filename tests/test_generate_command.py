"""The commands generate, verify and bench, run as users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from problem_files import ADD, SCALE, add_reply, write_problem


@pytest.fixture
def metalgen(tmp_path):
    """Runs `metalgen` with the arguments in a folder of its own, without any API key."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}

    def run(*arguments):
        command = [sys.executable, "-m", "metalgen", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )

    return run


@pytest.fixture
def replies(tmp_path):
    folder = tmp_path / "replies"
    folder.mkdir()
    (folder / "0.md").write_text(add_reply("y[i] = a[i] - b[i];"))
    (folder / "1.md").write_text(add_reply())
    return folder


def test_generate_tells_each_verdict_and_what_it_measured_on(metalgen, replies, tmp_path):
    write_problem(tmp_path, ADD, "add.py")
    done = metalgen("generate", "add.py", "--model", f"scripted:{replies}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("add: a float32[16, 48], b float32[16, 48] -> float32[16, 48]")
    assert any(line.startswith("scripted: rejected at verify: output 'y'") for line in lines)
    assert any(line.startswith("scripted: accepted: ") for line in lines)
    assert any(line.startswith("measured on software") for line in lines)
    assert lines[-1] == "kept in runs/add"
    checked = metalgen("verify", "runs/add", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["verdict"] == "accepted"


def test_generate_prints_json_and_nothing_else(metalgen, replies, tmp_path):
    noisy = ADD.replace("def get_inputs():", "print('noise')\n\n    def get_inputs():")
    write_problem(tmp_path, noisy, "add.py")
    models = ("--model", "builtin", "--model", f"scripted:{replies}")
    done = metalgen("generate", "add.py", *models, "--attempts", 2, "--json", "--out", "o")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["accepted"]
    assert [(each["model"], each["verdict"]["verdict"]) for each in result["attempts"]] == [
        ("builtin", "accepted"),
        ("scripted", "rejected"),
        ("scripted", "accepted"),
    ]
    assert result["directory"] == "o"


def test_a_run_without_an_accepted_candidate_ends_with_1(metalgen, replies, tmp_path):
    write_problem(tmp_path, ADD, "add.py")
    done = metalgen("generate", "add.py", "--model", f"scripted:{replies}", "--attempts", 1)
    assert done.returncode == 1
    assert "no candidate was accepted in 1 attempts" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["generate", "missing.py"], 3, "no problem file at 'missing.py'"),
        (["generate", "bad.py"], 3, "'bad.py' has no Model"),
        (["generate", "bad.py", "--attempts", "0"], 2, "attempts"),
        (["generate"], 2, "Missing argument"),
        (["generate", "bad.py", "--model", "gpt-5"], 4, "OPENAI_API_KEY"),
        (["verify", "missing", "--problem", "bad.py"], 1, "no candidate at 'missing'"),
        (["bench", "empty", "--model", "builtin"], 3, "no problem files"),
    ],
)
def test_wrong_use_ends_with_its_own_status_and_one_line(
    metalgen, tmp_path, arguments, code, message
):
    (tmp_path / "bad.py").write_text("x = 1\n")
    (tmp_path / "empty").mkdir()
    done = metalgen(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_judges_a_reply_in_a_file(metalgen, replies, tmp_path):
    write_problem(tmp_path, ADD, "add.py")
    wrong = metalgen("verify", replies / "0.md", "--problem", "add.py")
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("rejected at verify: output 'y'")
    right = metalgen("verify", replies / "1.md", "--problem", "add.py")
    assert right.returncode == 0
    assert right.stdout.startswith("accepted: ")


def test_bench_goes_on_past_failures_and_sums_up(metalgen, replies, tmp_path):
    problems = tmp_path / "problems"
    (problems / "deeper").mkdir(parents=True)
    write_problem(problems, ADD, "add.py")
    write_problem(problems, "x = 1\n", "bad.py")
    write_problem(problems / "deeper", SCALE, "scale.py")
    command = ("bench", problems, "--model", f"scripted:{replies}")
    done = metalgen(*command, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = {row["problem"]: row for row in result["rows"]}
    assert rows["add"]["accepted"]
    assert "has no Model" in rows["bad"]["reason"]
    assert rows["scale"]["reason"].startswith("plan: ")
    assert result["directory"] == "runs/bench-problems"
    assert (tmp_path / "runs/bench-problems/add/best/kernels.metal").exists()
    table = metalgen(*command, "--jobs", 2)
    assert "kept in runs/bench-problems-2" in table.stdout
    assert "scale, scripted: rejected at plan: " in table.stdout

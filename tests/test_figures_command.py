"""`metalgen figures` prints what a kept run amounts to."""

from __future__ import annotations

import json

from command_line import metalgen
from kept_rows import Rows, attempt, info, problem, stored


def run(tmp_path):
    rows = Rows(
        info(),
        [problem("p"), problem("q", level=2), problem("zero", is_control=True)],
        [
            attempt("p", "a", speedup=2.0, compiled_us=80.0),
            attempt("p", "b", 1),
            attempt("p", "b", 2, speedup=3.0),
            attempt("q", "a", speedup=0.5, context="cuda"),
        ],
    )
    return stored(rows, tmp_path / "run")


def test_tables_name_models_figures_and_conditions(tmp_path):
    done = metalgen("figures", run(tmp_path))
    assert done.returncode == 0, done.stderr
    for expected in (
        "best of all",
        "correct by attempt",
        "over torch.compile",
        "a + cuda",
        "software device",
        "torch: 2.13.0",
        "1 problem left out as controls",
    ):
        assert expected in done.stdout, expected


def test_json_holds_the_same_and_nothing_else(tmp_path):
    plain = json.loads(metalgen("figures", run(tmp_path), "--json").stdout)
    assert plain["together"]["overall"]["solved"] == 2
    assert plain["together"]["overall"]["correct_by_attempt"] == [1.0, 1.0]
    assert [(each["model"], each["context"]) for each in plain["columns"]][2] == ("a", "cuda")


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path):
    done = metalgen("figures", tmp_path)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "no run at" in done.stderr


def test_a_swarm_is_told_what_drawing_from_it_gives(tmp_path):
    attempts = [attempt("p", "a", speedup=2.0), attempt("p", "b")]
    done = metalgen("figures", stored(Rows(info(), [problem("p")], attempts), tmp_path / "run"))
    assert "pass@1 50%, pass@2 100%" in done.stdout

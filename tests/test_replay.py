"""A kept run, done again: the same rows to the byte, without asking anybody."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from chat_server import chat_server, completion, failure
from command_line import metalgen
from problem_files import ADD, add_reply, write_problem
from study_runs import run_study
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.errors import RunError
from metalgen.generation import Means, conduct
from metalgen.generation.replay import Replay, begin_replay
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.prompts import Prompts
from metalgen.proposers.scripted import ScriptedProposer
from metalgen.runs import open_run

CASSETTE = Path(__file__).parent / "cassettes" / "swarm"
WRONG = add_reply("y[i] = a[i] - b[i];")
UNCOMPILABLE = add_reply("y[i] = a[i] + c[i];")


class Nowhere:
    """Evaluators that must not be needed."""

    places = 1

    async def leave(self):
        pass


@pytest.fixture
def run(evaluators, tmp_path):
    """A run of a language model that answers wrongly four ways, then rightly, then faster."""
    problem = write_problem(tmp_path, ADD, "add.py")
    texts = ["no idea", UNCOMPILABLE, WRONG, add_reply(), add_reply(group_size=32), "tired"]
    with chat_server(*map(completion, texts)) as server:
        proposer = OpenAIProposer("m", server.url, environment={})
        result = run_study(evaluators, problem, proposer, out=tmp_path / "run", rounds=2)
    assert [getattr(r.verdict, "stage", "accepted") for r in result.attempts] == [
        "reply",
        "compile",
        "verify",
        "accepted",
        "accepted",
        "reply",
    ]
    return tmp_path / "run"


def replayed(run, folder, evaluators, prompts=None, **options):
    """The rows of both runs; `prompts` are the templates that the first was asked with."""
    with open_run(run) as earlier:
        replay = Replay(earlier, **options)
        store, settings, proposers = begin_replay(replay, folder)
        if prompts is not None:
            words = Prompts(prompts)
            proposers = {n: OpenAIProposer(n, prompts=words, needs_key=False) for n in proposers}
        with store:
            conduct(store, settings, proposers, Means(evaluators=evaluators), replay=replay)
            return _rows(earlier), _rows(store)


def _rows(run):
    # Jobs are done side by side: their calls mix in another order.
    calls = sorted(run.calls(), key=lambda call: (call.job.problem, call.job.model, call.started))
    return run.attempts(), run.problems(), run.jobs(), calls, run.info.device


def test_a_replay_gives_the_same_rows_without_service_or_device(run, tmp_path):
    before, after = replayed(run, tmp_path / "again", Nowhere())
    assert len(before[0]) == 6
    assert after == before
    kept, again = (sqlite3.connect(folder / "run.sqlite") for folder in (run, tmp_path / "again"))
    for table in ("attempts", "artefacts", "problems", "jobs"):
        rows = [sorted(map(repr, db.execute(f"SELECT * FROM {table}"))) for db in (kept, again)]
        assert rows[0] == rows[1], table
    kept.close()
    again.close()
    for name in ("kernels.metal", "kernels.metallib", "plan.json", "model_new.py"):
        files = [folder / "best" / name for folder in (run, tmp_path / "again")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_prompts_that_changed_are_told_from_those_that_were_answered(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "problem.md.j2").write_text("Write {{ problem.name }}.")
    with open_run(run) as earlier:
        replay = Replay(earlier)
        store, settings, _ = begin_replay(replay, tmp_path / "again")
        words = Prompts(tmp_path / "mine")
        proposers = {"m": OpenAIProposer("m", prompts=words, needs_key=False)}
        with store, pytest.raises(RunError, match="has no answer to what attempt 1 of m at 'add'"):
            conduct(store, settings, proposers, Means(evaluators=Nowhere()), replay=replay)


def test_candidates_may_be_judged_again(run, tmp_path, evaluators):
    before, after = replayed(run, tmp_path / "again", evaluators, judge_again=True)
    assert [a.reply for a in after[0]] == [a.reply for a in before[0]]
    assert [a.stage for a in after[0]] == [a.stage for a in before[0]]
    timed = [(rows[0][3].candidate_us, rows[0][3].eager_us) for rows in (before, after)]
    assert timed[0] != timed[1]  # anew


def test_a_run_that_was_stopped_is_replayed_up_to_there(evaluators, tmp_path):
    problem = write_problem(tmp_path, ADD, "add.py")
    with chat_server(completion(WRONG), failure(400, "no more")) as server:
        proposer = OpenAIProposer("m", server.url, environment={})
        run_study(evaluators, problem, proposer, out=tmp_path / "run")
    before, after = replayed(tmp_path / "run", tmp_path / "again", Nowhere())
    assert after[:3] == before[:3]
    assert after[2][0].state == "stopped"


def test_the_command_line_replays_offline_without_a_key(run, tmp_path):
    (tmp_path / "add.py").unlink()
    done = metalgen("generate", "--replay", "run", "--out", "again", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with open_run(tmp_path / "run") as before, open_run(tmp_path / "again") as after:
        assert after.attempts() == before.attempts()
    assert json.loads(done.stdout)["best"]["attempt"] in (4, 5)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--replay", "run", "--model", "m"], 2, "leave out model"),
        (["--replay", "missing"], 5, "no run at 'missing'"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_use_of_replays_is_said(options, code, message):
    command = ["generate", *options]
    done = CliRunner().invoke(make_app(command), command)
    assert done.exit_code == code
    assert message in done.stderr


def test_the_recorded_swarm_replays_to_the_byte(tmp_path):
    """The cassette was made by cassettes/record.py: a local server in place of three models."""
    before, after = replayed(CASSETTE, tmp_path / "again", Nowhere(), CASSETTE.parent / "prompts")
    assert len(before[0]) > 5
    assert after == before
    assert {attempt.model for attempt in after[0]} == {"steady", "hasty", "chatty"}
    assert {attempt.stage for attempt in after[0]} >= {None, "compile", "verify", "reply"}


def test_a_cassette_is_not_changed_by_being_read(tmp_path):
    file = CASSETTE / "run.sqlite"
    content = file.read_bytes()
    with open_run(CASSETTE) as run:
        assert run.attempts()
        assert run.info.settings["models"]
    assert file.read_bytes() == content
    assert {path.name for path in CASSETTE.iterdir()} == {"run.sqlite"}


def test_replays_of_scripts_need_no_script(evaluators, tmp_path):
    problem = write_problem(tmp_path, ADD, "add.py")
    scripts = [ScriptedProposer((WRONG, add_reply()), name=name) for name in ("scripted", "other")]
    run_study(evaluators, problem, *scripts, out=tmp_path / "run", share=True)
    before, after = replayed(tmp_path / "run", tmp_path / "again", Nowhere())
    assert after == before

"""The attempt loop with real kernels: what is tried, what proposers are shown, what is kept."""

from __future__ import annotations

import json

import pytest
from problem_files import ADD, SCALE, add_reply, reply, write_problem
from study_runs import run_study

from metalgen.errors import ProposalError, ProviderError, RunError, UnsupportedError
from metalgen.generation import generate
from metalgen.generation.record import FILES, RunDirectory, sha256
from metalgen.proposers import Accepted, Rejected, Reply
from metalgen.proposers.scripted import ScriptedProposer

WRONG = add_reply("y[i] = a[i] - b[i];")
UNCOMPILABLE = add_reply("y[i] = a[i] + c[i];")
RIGHT = add_reply()
SLOW = add_reply("float t = 0; for (uint k = 0; k < 5000; ++k) t = sin(t + a[i]);"
                 " y[i] = a[i] + b[i] + (t > 2 ? 1 : 0);")  # fmt: skip


@pytest.fixture
def problem(tmp_path):
    return write_problem(tmp_path, ADD)


@pytest.fixture
def run(evaluators, problem):
    def call(*proposers, path=problem, **settings):
        return run_study(evaluators, path, *proposers, **settings)

    return call


def test_attempts_go_on_until_one_is_right(run):
    result = run(ScriptedProposer(("no idea", UNCOMPILABLE, WRONG, RIGHT, WRONG)))
    stages = [getattr(record.verdict, "stage", "accepted") for record in result.attempts]
    assert stages == ["reply", "compile", "verify", "accepted"]
    assert result.best.record.number == 4
    assert result.best.verdict.candidate_us > 0


def test_a_proposer_is_shown_every_verdict_on_its_own_replies(run):
    seen = []

    class Watching:
        name = "watching"

        def propose(self, problem, history):
            seen.append([(a.reply.text, type(a.verdict)) for a in history])
            return Reply([WRONG, UNCOMPILABLE, RIGHT][len(history)])

    run(ScriptedProposer((WRONG,)), Watching())
    assert seen == [
        [],
        [(WRONG, Rejected)],
        [(WRONG, Rejected), (UNCOMPILABLE, Rejected)],
    ]


def test_compile_errors_carry_the_place_in_the_candidates_own_source(run):
    (record,) = run(ScriptedProposer((UNCOMPILABLE,)), attempts=1).attempts
    assert "kernels.metal:3:" in record.verdict.reason
    assert "use of undeclared identifier 'c'" in record.verdict.reason


def test_rounds_after_the_first_accepted_candidate_keep_the_fastest(run, tmp_path):
    out = tmp_path / "run"
    result = run(ScriptedProposer((WRONG, SLOW, WRONG, RIGHT, WRONG)), rounds=2, out=out)
    assert [record.phase for record in result.attempts] == ["functional"] * 2 + ["optimisation"] * 2
    assert result.best.record.number == 4
    assert (out / "best" / "kernels.metal").read_text() == result.best.candidate.source


def test_all_models_are_tried(run):
    result = run(ScriptedProposer((WRONG,), name="a"), ScriptedProposer((RIGHT,), name="b"))
    assert [record.model for record in result.attempts] == ["a", "b"]
    assert result.best.record.model == "b"


@pytest.mark.parametrize("error", [ProviderError("401"), UnsupportedError("not supported: it")])
def test_a_model_that_gives_up_leaves_the_field_to_the_others(run, error, tmp_path):
    proposers = ScriptedProposer((error,), name="a"), ScriptedProposer((RIGHT,), name="b")
    result = run(*proposers, out=tmp_path / "run")
    kept = (tmp_path / "run" / "attempts.jsonl").read_text().splitlines()
    assert json.loads(kept[0]) == {"model": "a", "stopped": str(error)}
    assert result.stopped[0].model == "a"
    assert result.stopped[0].is_provider_error == isinstance(error, ProviderError)
    assert result.best.record.model == "b"


def test_an_unusable_reply_counts_as_an_attempt(run):
    result = run(ScriptedProposer((ProposalError("cut off"), RIGHT)))
    assert result.attempts[0].verdict == Rejected("reply", "cut off")
    assert result.is_accepted


def test_a_proposer_that_breaks_ends_its_own_attempts_only(run):
    broken = ScriptedProposer((KeyError("oops"),), name="broken")
    result = run(broken, ScriptedProposer((RIGHT,)))
    assert "the proposer itself failed with KeyError" in result.stopped[0].reason
    assert result.is_accepted


def test_a_run_keeps_every_attempt_and_the_best_candidate(run, problem, tmp_path):
    out = tmp_path / "run"
    result = run(ScriptedProposer((WRONG, RIGHT)), out=out)
    lines = [json.loads(line) for line in (out / "attempts.jsonl").read_text().splitlines()]
    assert [line["verdict"]["verdict"] for line in lines] == ["rejected", "accepted"]
    assert [line["reply"] for line in lines] == [WRONG, RIGHT]
    assert {path.name for path in (out / "best").iterdir()} == set(FILES)
    manifest = json.loads((out / "best" / "manifest.json").read_text())
    assert manifest["problem"]["sha256"] == sha256(problem.read_text())
    assert manifest["hashes"]["kernels.metallib"] == sha256(
        (out / "best" / "kernels.metallib").read_bytes()
    )
    assert manifest["attempt"] == 2
    assert manifest["device"]["name"].startswith("software")
    assert manifest["verdict"]["candidate_us"] == result.best.verdict.candidate_us
    assert {path.name for path in out.iterdir()} == {"attempts.jsonl", "best", "run.sqlite"}


def test_an_interrupted_run_leaves_what_it_had(run, tmp_path):
    class Interrupted:
        name = "interrupted"

        def propose(self, problem, history):
            if history:
                raise KeyboardInterrupt
            return Reply(RIGHT)

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), out=out, rounds=1)
    assert len((out / "attempts.jsonl").read_text().splitlines()) == 1
    assert {path.name for path in (out / "best").iterdir()} == set(FILES)


def test_a_second_run_does_not_mix_with_the_first(run, tmp_path):
    out = tmp_path / "run"
    run(ScriptedProposer((RIGHT,)), out=out)
    kept = (out / "attempts.jsonl").read_text()
    with pytest.raises(RunError, match="continue it with: metalgen resume"):
        run(ScriptedProposer((WRONG,)), out=out)
    assert (out / "attempts.jsonl").read_text() == kept


def test_weights_of_one_and_zero_do_not_hide_that_they_are_left_out(run, tmp_path):
    plan = {
        "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
        "steps": [{"kernel": "scale", "args": ["x", "y"], "threads": "x.numel()"}],
    }
    source = (
        "kernel void scale(device const float* x, device float* y,"
        " uint i [[thread_position_in_grid]]) { y[i] = x[i]; }"
    )
    path = write_problem(tmp_path, SCALE, "scale.py")
    (record,) = run(ScriptedProposer((reply(source, plan),)), path=path).attempts
    assert record.verdict.stage == "verify"


def test_a_size_written_into_the_kernel_is_found_at_other_shapes(run):
    wrong = add_reply("if (i < 768) y[i] = a[i] + b[i];")
    (record,) = run(ScriptedProposer((wrong,)), attempts=1).attempts
    assert record.verdict.stage == "verify"
    assert "was never written" in record.verdict.reason
    assert "on other shapes (a [19, 51], b [19, 51])" in record.verdict.reason


def test_aten_steps_are_counted_or_refused(run):
    plan = {
        "outputs": {"y": {"dtype": "a.dtype", "shape": "a.shape"}},
        "steps": [{"aten": "add.Tensor", "args": ["a", "b"], "out": "y"}],
    }
    text = reply("kernel void unused(device float* y) { y[0] = 0; }", plan)
    accepted = run(ScriptedProposer((text,))).best.verdict
    assert isinstance(accepted, Accepted)
    assert accepted.aten_steps == 1
    refused = run(ScriptedProposer((text,)), allow_aten=False).attempts[0].verdict
    assert refused.stage == "plan"


def test_generate_takes_names_and_gives_a_result(problem, tmp_path):
    replies = tmp_path / "replies"
    replies.mkdir()
    for number, text in enumerate((WRONG, RIGHT)):
        (replies / f"{number}.md").write_text(text)
    result = generate(problem, models=[f"scripted:{replies}"], out=tmp_path / "run")
    assert result.is_accepted
    assert json.loads(json.dumps(result.to_json()))["best"]["attempt"] == 2
    again = generate(problem, models=[f"scripted:{tmp_path / 'run' / 'attempts.jsonl'}"])
    assert [r.reply.text for r in again.attempts] == [WRONG, RIGHT]


def test_a_failed_exchange_brings_the_earlier_candidate_back(tmp_path, monkeypatch):
    directory = RunDirectory(tmp_path)
    directory.keep({"plan.json": "first"})
    replace = type(tmp_path).replace

    def interrupted(path, target):
        if path.name.startswith(".best-") and not path.name.endswith(".old"):
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(type(tmp_path), "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        directory.keep({"plan.json": "second"})
    assert (tmp_path / "best" / "plan.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_generate_is_part_of_the_public_face():
    import metalgen

    assert metalgen.generate is generate

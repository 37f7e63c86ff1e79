"""torch.compile as a baseline: measured where it runs, refused with a reason where it does not."""

from __future__ import annotations

import time

import pytest
import torch
from problem_files import ADD, SCALE, add_reply, write_problem

from metalgen.generation.baseline import Refused, _at_most, _compare, compiled_module
from metalgen.generation.candidate import parse_reply
from metalgen.generation.evaluator import Evaluator
from metalgen.generation.sandbox import Limits
from metalgen.problem import load_problem
from metalgen.proposers.builtin import BuiltinProposer


def test_a_candidates_evidence_has_torch_compiles_time_and_every_step(tmp_path):
    with Evaluator(Limits(baseline_s=240.0)) as evaluator:
        problem = evaluator.open(write_problem(tmp_path, SCALE))
        candidate = parse_reply(BuiltinProposer().propose(problem, []).text)
        found = evaluator.evaluate(problem, candidate)
    refused = [note for note in found.verdict.notes if "torch.compile did not run" in note]
    timing = found.details["timing"]
    # Without a C++ compiler there is a reason in its place.
    assert (timing["compiled_us"] is None) == bool(refused)
    if not refused:
        assert 0 < timing["compiled_us"] < 1e6
    steps = found.details["steps"]
    assert {"compile", "launch", "baseline", "time"} <= {step for step, *_ in steps}
    assert all(seconds >= 0 for *_, seconds in steps)
    assert [began for _, _, began, _ in steps] == sorted(began for _, _, began, _ in steps)


def test_refused_candidates_have_their_steps_too(evaluator, tmp_path):
    problem = evaluator.open(write_problem(tmp_path, ADD))
    found = evaluator.evaluate(problem, parse_reply(add_reply("y[i] = a[i];")))
    assert found.verdict.stage == "verify"
    assert "baseline" not in {step for step, *_ in found.details["steps"]}


# PyTorch's own, when its compiler is imported.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_that_is_not_compiled_in_time_gives_a_reason(tmp_path):
    problem = load_problem(write_problem(tmp_path, SCALE))
    found = compiled_module(problem, problem.module, problem.inputs, 0.001)
    assert isinstance(found, Refused)
    assert found.reason.startswith("torch.compile did not run: ")
    assert "\n" not in found.reason


def test_what_takes_too_long_is_ended():
    with pytest.raises(TimeoutError, match="not done after"), _at_most(0.2):
        time.sleep(300)


def test_a_baseline_that_computes_something_else_is_none():
    with pytest.raises(AssertionError):
        _compare((torch.ones(3),), (torch.ones(3) * 1.1,))

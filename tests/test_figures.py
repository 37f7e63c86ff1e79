"""Figures agree with their definitions, computed the slow way."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_rows import Rows, attempt, info, problem

from metalgen.report import Column, figures_of, summarise
from metalgen.report.figures import FAST_P, geometric_mean, pass_at_k
from metalgen.report.outcomes import outcomes_of
from metalgen.report.swarm import best_of

MODELS = ("a", "b", "c")
NAMES = [f"p{i}" for i in range(5)]
SPEEDS = st.sampled_from([0.3, 0.5, 0.9, 1.0, 1.5, 2.0, 4.0])


@st.composite
def jobs(draw):
    """Per problem and model the verdicts of its attempts: None is refused, a number accepted."""
    chosen = {}
    for name, model in itertools.product(NAMES, MODELS):
        refused = draw(st.integers(0, 3))
        speed = draw(st.none() | SPEEDS)
        chosen[name, model] = [None] * refused + ([] if speed is None else [speed])
    return chosen


def rows_of(chosen):
    problems = [problem(name, level=1 + i % 2) for i, name in enumerate(NAMES)]
    attempts = [
        attempt(name, model, number, speed, cost=0.01 * number)
        for (name, model), speeds in chosen.items()
        for number, speed in enumerate(speeds, start=1)
    ]
    return problems, attempts


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_pass_at_k_is_the_share_of_all_draws_with_a_correct_one(counts):
    n, c = counts
    samples = [True] * c + [False] * (n - c)
    for k in range(1, n + 1):
        draws = list(itertools.combinations(samples, k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="pass@3 of 1 correct among 2 samples"):
        pass_at_k(2, 1, 3)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_the_geometric_mean_is_the_root_of_the_product(values):
    assert geometric_mean(values) == pytest.approx(math.prod(values) ** (1 / len(values)))


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_figures_of_all_models_together_are_those_of_the_best_candidates(chosen):
    figures = figures_of(outcomes_of(*rows_of(chosen)))
    best = {
        name: max((s for m in MODELS for s in chosen[name, m] if s is not None), default=None)
        for name in NAMES
    }
    solved = [speed for speed in best.values() if speed is not None]
    assert figures.solved == len(solved)
    assert figures.wins == sum(speed > 1 for speed in solved)
    with_failures = [1.0 if speed is None else speed for speed in best.values()]
    assert figures.eager.geometric_mean == pytest.approx(math.prod(with_failures) ** (1 / 5))
    fallback = math.prod(max(1.0, speed) for speed in with_failures) ** (1 / 5)
    assert figures.eager.geometric_mean_fallback == pytest.approx(fallback)
    assert figures.eager.median == pytest.approx(statistics.median(with_failures))
    if solved:
        root = math.prod(solved) ** (1 / len(solved))
        assert figures.eager.geometric_mean_correct == pytest.approx(root)
        assert figures.eager.median_correct == pytest.approx(statistics.median(solved))
    for p in FAST_P:
        assert figures.eager.fast[p] == sum(s is not None and s > p for s in best.values()) / 5


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_correct_by_attempt_counts_who_was_right_within_k_attempts(chosen):
    figures = figures_of(outcomes_of(*rows_of(chosen)))
    longest = max(map(len, chosen.values()))
    assert len(figures.correct_by_attempt) == longest
    for k, share in enumerate(figures.correct_by_attempt, start=1):
        right = [any(s for m in MODELS for s in chosen[name, m][:k]) for name in NAMES]
        assert share == sum(right) / len(NAMES)


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_costs_are_of_all_attempts_and_shared_among_those_solved_and_won(chosen):
    effort = figures_of(outcomes := outcomes_of(*rows_of(chosen))).effort
    cost = sum(0.01 * n for speeds in chosen.values() for n in range(1, len(speeds) + 1))
    assert effort.cost == pytest.approx(cost)
    if solved := sum(outcome.is_solved for outcome in outcomes):
        assert effort.cost_per_solved == pytest.approx(cost / solved)


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_who_wins_what_is_decided_problem_by_problem(chosen):
    columns = [Column(model) for model in MODELS]
    swarm = best_of(outcomes_of(*rows_of(chosen)), columns)
    for name in NAMES:
        speeds = {m: [s for s in chosen[name, m] if s is not None] for m in MODELS}
        accepted = {m: max(found) for m, found in speeds.items() if found}
        winner = swarm.winners.get(name)
        assert (winner is None) == (not accepted)
        assert winner is None or accepted[winner.model] == max(accepted.values())
    means = {
        m: math.prod(max((s for s in chosen[n, m] if s and s > 1), default=1.0) for n in NAMES)
        ** (1 / 5)
        for m in MODELS
    }
    assert swarm.best_single_geometric_mean == pytest.approx(max(means.values()))
    assert swarm.gain >= 1.0
    assert sum(share.best for share in swarm.shares) == len(swarm.winners)
    alone = [n for n in NAMES if sum(any(s for s in chosen[n, m]) for m in MODELS) == 1]
    assert sum(share.alone for share in swarm.shares) == len(alone)


def test_pass_at_k_of_a_swarm_draws_whole_jobs():
    attempts = [
        attempt("p", "a", 1), attempt("p", "a", 2, speedup=2.0),
        attempt("p", "b", 1), attempt("p", "c", 1),
    ]  # fmt: skip
    figures = figures_of(outcomes_of([problem("p")], attempts))
    assert figures.pass_at_k == pytest.approx((1 / 3, 2 / 3, 1.0))


def test_controls_and_unopened_problems_are_left_out_and_said_to_be():
    rows = Rows(
        info(),
        [
            problem("p"),
            problem("constant", is_control=True, control_reason="always zero"),
            problem("found late"),
            problem("broken", failure="no Model"),
        ],
        [
            attempt("p", speedup=2.0),
            attempt("constant", speedup=99.0),
            attempt("found late", speedup=50.0, is_control=True),
        ],
    )
    summary = summarise(rows)
    assert summary.together.overall.problems == 1
    assert summary.together.overall.eager.geometric_mean == pytest.approx(2.0)
    assert summary.controls == {"constant": "always zero", "found late": None}
    assert [note.split(" left out")[0] for note in summary.asides] == ["2 problems", "1 problem"]


def test_problems_that_nobody_attempted_count_as_not_solved():
    summary = summarise(
        Rows(info(ended=None), [problem("p"), problem("q")], [attempt("p", speedup=2)])
    )
    overall = summary.together.overall
    assert (overall.problems, overall.attempted, overall.solved) == (2, 1, 1)
    assert "has not ended" in summary.asides[0]


def test_attempts_of_the_optimisation_phase_make_it_faster_but_no_more_correct():
    attempts = [
        attempt("p", number=1),
        attempt("p", number=2, speedup=1.2),
        attempt("p", number=3, phase="optimisation"),
        attempt("p", number=4, phase="optimisation", speedup=3.0),
    ]
    figures = figures_of(outcomes_of([problem("p")], attempts))
    assert figures.correct_by_attempt == (0.0, 1.0)
    assert figures.eager.geometric_mean == pytest.approx(3.0)


def test_speed_over_torch_compile_counts_only_where_that_ran():
    attempts = [
        attempt("p", speedup=2.0, compiled_us=75.0),
        attempt("q", speedup=4.0),
        attempt("r"),
    ]
    figures = figures_of(outcomes_of([problem(name) for name in "pqr"], attempts))
    assert figures.compiled.problems == 2
    assert figures.compiled.geometric_mean_correct == pytest.approx(1.5)
    assert figures.compiled.fast[0.0] == 0.5
    assert figures_of(outcomes_of([problem("q")], attempts[1:2])).compiled is None


def test_an_unknown_cost_is_not_taken_for_nothing():
    attempts = [attempt("p", speedup=2.0), attempt("q", cost=None)]
    effort = figures_of(outcomes_of([problem("p"), problem("q")], attempts)).effort
    assert effort.cost is None
    assert effort.cost_per_win is None


def test_steps_are_counted_in_the_best_candidates_alone():
    attempts = [
        attempt("p", number=1, speedup=1.0, metal_steps=0, aten_steps=4),
        attempt("p", number=2, speedup=2.0, metal_steps=3, aten_steps=1),
    ]
    steps = figures_of(outcomes_of([problem("p")], attempts)).steps
    assert (steps.metal, steps.aten, steps.all_metal) == (0.75, 0.25, 0.0)


def test_contexts_stand_side_by_side_with_the_best_of_all_models_in_each():
    rows = Rows(
        info(),
        [problem("p", level=2)],
        [
            attempt("p", "a", speedup=1.3),
            attempt("p", "b", speedup=1.1),
            attempt("p", "a", speedup=1.9, context="cuda+profile"),
        ],
    )
    summary = summarise(rows)
    means = {name: part.overall.eager.geometric_mean for name, part in summary.contexts.items()}
    assert means == pytest.approx({"plain": 1.3, "cuda+profile": 1.9})
    assert list(summary.columns) == [Column("a"), Column("b"), Column("a", "cuda+profile")]
    assert summary.together.levels[2].solved == 1


def test_a_summary_is_plain_json_with_the_device_and_versions_in_it():
    rows = Rows(info(), [problem("p")], [attempt("p", speedup=2.0), attempt("p", "b")])
    plain = json.loads(json.dumps(summarise(rows).to_json(), allow_nan=False))
    assert plain["conditions"]["device"] == "software device"
    assert plain["conditions"]["torch"] == "2.13.0"
    assert plain["columns"][0]["overall"]["eager"]["fast_p"]["1.5"] == 1.0
    assert plain["swarm"]["winners"] == {"p": "m"}


def test_a_run_without_attempts_has_figures_too():
    summary = summarise(Rows(info(), [problem("p")], []))
    assert summary.together.overall.correct == 0.0
    assert summary.together.overall.eager.geometric_mean == 1.0
    assert summarise(Rows(info(), [], [])).together.overall.eager.geometric_mean is None

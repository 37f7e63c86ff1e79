"""The example problems: what the built-in proposer solves of them, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from builtin_runs import agree
from samples_of import every

from metalgen.errors import UnsupportedError
from metalgen.problem import load_problem, open_problem
from metalgen.proposers.builtin import BuiltinProposer

PROBLEMS = Path(__file__).parents[1] / "examples" / "problems"
# Their results need operators, sizes or numbers of steps that depend on the data.
REFUSED = {
    "largest_eight": "topk",
    "unique_counts": "_unique2",
    "halting_depth": "torch.export cannot capture",
}
# Its loop is unrolled for the example's length: right there, and rejected when the length varies.
UNROLLED = {"selective_scan"}
SOLVED = sorted(path for path in PROBLEMS.rglob("*.py") if path.stem not in {*REFUSED, *UNROLLED})


def test_there_are_enough_examples_and_most_are_solved():
    assert len(list(PROBLEMS.rglob("*.py"))) >= 24
    assert len(SOLVED) >= 20


@pytest.mark.parametrize("path", every(3, SOLVED), ids=lambda path: path.stem)
def test_an_example_is_solved(path):
    problem = load_problem(path)
    agree(problem.module, *problem.inputs)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_an_example_beyond_the_templates_is_refused_with_a_reason(name, reason):
    (path,) = PROBLEMS.rglob(f"{name}.py")
    with pytest.raises(UnsupportedError, match=reason):
        BuiltinProposer().propose(open_problem(path), [])

"""The inputs that candidates must get right: which variations are found for which modules."""

from __future__ import annotations

import numpy as np
import torch
from problem_files import ADD, SCALE, write_problem

from metalgen.generation.cases import CaseBook, perturbed
from metalgen.generation.mismatch import Output, find_mismatch
from metalgen.generation.shapes import find_variations, tensors_in
from metalgen.problem import load_problem

HEAD = "import torch\nfrom torch import nn\n"


def load(tmp_path, forward, inputs, init="pass"):
    text = f"""{HEAD}
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
    {forward}
def get_inputs(): return {inputs}
def get_init_inputs(): return []
"""
    return load_problem(write_problem(tmp_path, text))


def shapes(problem):
    """The shapes of all inputs, in each variation."""
    return [
        [tuple(tensor.shape) for tensor in tensors_in(variation.apply(problem.inputs))]
        for variation in find_variations(problem)
    ]


def test_dimensions_that_belong_together_change_together(tmp_path):
    problem = load(
        tmp_path, "def forward(self, a, b): return a @ b", "[torch.rand(8, 20), torch.rand(20, 12)]"
    )
    found = shapes(problem)
    assert len(found) == 2
    for (rows, inner), (same, columns) in found:
        assert inner == same
        assert rows != 8
        assert inner != 20
        assert columns != 12


def test_dimensions_fixed_by_weights_stay(tmp_path):
    problem = load(
        tmp_path,
        "def forward(self, x): return self.fc(x)",
        "[torch.rand(8, 20)]",
        "self.fc = nn.Linear(20, 4)",
    )
    assert [shape for (shape,) in shapes(problem)] == [(5, 20), (11, 20)]


def test_equal_sizes_that_are_independent_come_apart(tmp_path):
    problem = load(
        tmp_path,
        "def forward(self, x): return self.conv(x)",
        "[torch.rand(2, 3, 16, 16)]",
        "self.conv = nn.Conv2d(3, 4, 3)",
    )
    for ((batch, channels, height, width),) in shapes(problem):
        assert batch != 2
        assert channels == 3
        assert len({16, height, width}) == 3


def test_equal_sizes_that_must_stay_equal_stay_equal(tmp_path):
    problem = load(tmp_path, "def forward(self, x): return x @ x", "[torch.rand(9, 9)]")
    for ((rows, columns),) in shapes(problem):
        assert rows == columns != 9


def test_a_module_with_fixed_shapes_has_no_variations(tmp_path):
    forward = "def forward(self, x): return x.reshape(4, 6) * self.w"
    problem = load(tmp_path, forward, "[torch.rand(24)]", "self.w = torch.rand(4, 6)")
    assert shapes(problem) == []


def test_large_inputs_become_small_enough_to_try_many(tmp_path, monkeypatch):
    monkeypatch.setattr("metalgen.generation.shapes.LARGE_BYTES", 4096)
    problem = load(tmp_path, "def forward(self, x): return x + 1", "[torch.rand(60, 100)]")
    for ((rows, columns),) in shapes(problem):
        assert rows * columns * 4 <= 4096 * 1.1  # sizes are rounded to odd ones
    large, *others = CaseBook(problem)
    assert large.inputs[0].shape == (60, 100)
    assert len(others) == 8
    for case in others:
        assert case.inputs[0].nbytes <= 4096 * 1.1


def test_indices_stay_in_range(tmp_path):
    problem = load(
        tmp_path,
        "def forward(self, i): return self.table(i)",
        "[torch.randint(50, (4, 7))]",
        "self.table = nn.Embedding(50, 8)",
    )
    variations = find_variations(problem)
    assert len(variations) == 2
    for variation in variations:
        (indices,) = variation.apply(problem.inputs)
        assert indices.dtype == torch.int64
        assert 0 <= int(indices.min()) <= int(indices.max()) < 50


def names(problem):
    return [case.name for case in CaseBook(problem)]


def test_an_elementwise_module_is_tried_in_every_way(tmp_path):
    assert names(load_problem(write_problem(tmp_path, ADD))) == [
        "the inputs as given",
        "other shapes (a [11, 31], b [11, 31])",
        "other shapes (a [19, 51], b [19, 51])",
        "fresh inputs and weights",
        "inputs of both signs",
        "inputs 50 times as large",
        "rows far apart",
        "inputs 1000 times as small",
        "all inputs zero",
    ]


def test_values_that_the_module_refuses_are_left_out(tmp_path):
    forward = "def forward(self, p, t): return nn.functional.binary_cross_entropy(p, t)"
    found = names(load(tmp_path, forward, "[torch.rand(8), torch.rand(8)]"))
    assert "inputs of both signs" not in found
    assert "fresh inputs and weights" in found


def test_values_without_a_finite_result_are_left_out(tmp_path):
    found = names(
        load(tmp_path, "def forward(self, x): return torch.log(x)", "[torch.rand(8) + 1]")
    )
    assert "all inputs zero" not in found
    assert "fresh inputs and weights" in found


def test_weights_that_would_hide_an_omission_are_changed(tmp_path):
    module = perturbed(load_problem(write_problem(tmp_path, SCALE)), seed=1)
    assert bool(((module.weight > 0.5) & (module.weight < 1.5)).all())
    assert bool((module.bias.abs() < 0.5).all())
    for tensor in (module.weight, module.bias):
        assert tensor.std() > 0.05


def test_running_statistics_stay_valid(tmp_path):
    problem = load(
        tmp_path,
        "def forward(self, x): return self.bn(x)",
        "[torch.rand(8, 6)]",
        "self.bn = nn.BatchNorm1d(6)",
    )
    module = perturbed(problem, seed=1)
    assert bool((module.bn.running_var > 0).all())
    assert int(module.bn.num_batches_tracked) == 0


def test_shared_weights_stay_shared(tmp_path):
    problem = load(
        tmp_path,
        "def forward(self, x): return self.b(self.a(x))",
        "[torch.rand(3, 4)]",
        "self.a = nn.LayerNorm(4); self.b = nn.LayerNorm(4); self.b.weight = self.a.weight",
    )
    module = perturbed(problem, seed=1)
    assert module.a.weight is module.b.weight


def test_cases_are_computed_once(tmp_path):
    book = CaseBook(load_problem(write_problem(tmp_path, ADD)))
    assert [id(case) for case in book] == [id(case) for case in book]


def test_a_reference_that_fails_in_float64_is_replaced_and_noted(tmp_path):
    forward = "def forward(self, x): return x @ torch.ones(4, 2)"
    book = CaseBook(load(tmp_path, forward, "[torch.rand(3, 4)]"))
    first = next(iter(book))
    assert torch.equal(first.expected.precise[0], first.expected.eager[0].double())
    assert "float64 raised RuntimeError" in book.notes[0]


def first_case(tmp_path, forward, inputs):
    return next(iter(CaseBook(load(tmp_path, forward, inputs))))


def judged(case, got):
    expected = case.expected
    return find_mismatch(
        Output("y", got, expected.eager[0], expected.precise[0], moved=expected.moved[0])
    )


def test_an_honest_running_sum_is_right_where_it_cancels(tmp_path):
    case = first_case(
        tmp_path, "def forward(self, x): return x.cumsum(1)", "[torch.randn(64, 2000)]"
    )
    in_float32 = torch.from_numpy(np.cumsum(case.inputs[0].numpy(), axis=1, dtype=np.float32))
    assert judged(case, in_float32) is None
    assert "elements are wrong" in judged(case, in_float32 + 1e-3)


def test_a_floor_that_rounding_flips_is_excused_alone(tmp_path):
    forward = "def forward(self, x): return (x * 3).floor()"
    case = first_case(tmp_path, forward, "[torch.cat([torch.full((1,), 1 / 3), torch.rand(999)])]")
    got = case.expected.eager[0].clone()
    got[0] = 1 - got[0]
    assert judged(case, got) is None
    got[1] += 1
    assert "1 of 1000 elements are wrong" in judged(case, got)


def test_an_argmax_that_rounding_decides_is_excused_alone(tmp_path):
    rows = "torch.rand(100, 8); x[0, 1] = x[0, 0] = 2"
    text = f"""{HEAD}
class Model(nn.Module):
    def forward(self, x): return x.argmax(1)
def get_inputs():
    x = {rows}
    return [x]
def get_init_inputs(): return []
"""
    case = next(iter(CaseBook(load_problem(write_problem(tmp_path, text)))))
    got = case.expected.eager[0].clone()
    got[0] = 1 - got[0]
    assert judged(case, got) is None
    got[1] = (got[1] + 1) % 8
    assert "1 of 100 elements are wrong" in judged(case, got)


def test_running_the_reference_leaves_inputs_and_running_statistics_alone(tmp_path):
    problem = load(
        tmp_path,
        "def forward(self, x): return self.bn(x.add_(1))",
        "[torch.rand(8, 6)]",
        "self.bn = nn.BatchNorm1d(6)",
    )
    before = problem.inputs[0].clone()
    for _ in CaseBook(problem):
        pass
    assert torch.equal(problem.inputs[0], before)
    assert torch.equal(problem.module.bn.running_mean, torch.zeros(6))

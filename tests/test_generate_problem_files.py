"""Problem files: what is loaded from good ones, and one clear line for each bad one."""

from __future__ import annotations

import pytest
import torch
from problem_files import SCALE, write_problem

from metalgen.errors import ProblemError
from metalgen.problem import NumberSpec, Problem, TensorSpec, load_problem, open_problem

HEAD = "import torch\nfrom torch import nn\n"


def problem(
    tmp_path,
    forward="def forward(self, x): return x + 1",
    inputs="[torch.rand(2, 3)]",
    init="pass",
    arguments="[]",
):
    text = f"""{HEAD}
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
    {forward}
def get_inputs(): return {inputs}
def get_init_inputs(): return {arguments}
"""
    return write_problem(tmp_path, text)


def test_a_problem_is_described_by_the_names_that_plans_use(tmp_path):
    described = open_problem(write_problem(tmp_path, SCALE))
    assert described.inputs == (TensorSpec("x", (6, 10), "float32"),)
    assert described.parameters == (
        TensorSpec("weight", (10,), "float32"),
        TensorSpec("bias", (10,), "float32"),
    )
    assert described.outputs == (TensorSpec("out0", (6, 10), "float32"),)
    assert described.name == "problem"
    assert described.training


def test_a_description_survives_being_sent(tmp_path):
    described = open_problem(write_problem(tmp_path, SCALE))
    assert Problem.from_json(described.to_json()) == described


def test_lists_numbers_and_tuples_are_named_by_their_place(tmp_path):
    path = problem(
        tmp_path,
        forward="def forward(self, x, *rest): return x * rest[0], (x + rest[1][0], rest[1][1])",
        inputs="[torch.rand(2), 3, [torch.rand(2), torch.ones(4, dtype=torch.int64)]]",
    )
    described = open_problem(path)
    assert described.inputs == (
        TensorSpec("x", (2,), "float32"),
        NumberSpec("rest.0", 3),
        TensorSpec("rest.1.0", (2,), "float32"),
        TensorSpec("rest.1.1", (4,), "int64"),
    )
    assert [each.dtype for each in described.outputs] == ["float32", "float32", "int64"]


def test_buffers_and_plain_tensor_attributes_count_as_parameters(tmp_path):
    path = problem(
        tmp_path,
        init="self.register_buffer('kept', torch.ones(1)); self.bn = nn.BatchNorm1d(3);"
        " self.plain = torch.ones(2);"
        " self.register_buffer('lost', torch.ones(3), persistent=False)",
        forward="def forward(self, x): return self.bn(x)",
    )
    names = {each.name for each in open_problem(path).parameters}
    assert {"kept", "lost", "plain", "bn.weight", "bn.running_mean"} <= names


def test_a_parameter_with_an_inputs_name_is_told_apart(tmp_path):
    path = problem(
        tmp_path,
        init="self.x = nn.Parameter(torch.ones(3))",
        forward="def forward(self, x): return x + self.x",
    )
    described = open_problem(path)
    assert [each.name for each in described.parameters] == ["self.x"]


def test_a_module_that_is_random_in_training_is_compared_in_eval_mode(tmp_path):
    path = problem(
        tmp_path,
        init="self.dropout = nn.Dropout(0.5)",
        forward="def forward(self, x): return self.dropout(x)",
    )
    described = open_problem(path)
    assert not described.training
    assert "eval mode" in described.notes[0]
    assert not described.load().module.training


def test_describing_leaves_running_statistics_alone(tmp_path):
    path = problem(
        tmp_path,
        init="self.bn = nn.BatchNorm1d(3)",
        forward="def forward(self, x): return self.bn(x)",
    )
    loaded = load_problem(path)
    loaded.run([loaded.inputs[0].clone()])
    assert not torch.equal(loaded.module.bn.running_mean, torch.zeros(3))
    assert torch.equal(load_problem(path).module.bn.running_mean, torch.zeros(3))


def test_inputs_and_weights_repeat_by_seed(tmp_path):
    loaded = load_problem(write_problem(tmp_path, SCALE))
    assert torch.equal(loaded.fresh_inputs(3)[0], loaded.fresh_inputs(3)[0])
    assert not torch.equal(loaded.fresh_inputs(3)[0], loaded.fresh_inputs(4)[0])


def test_a_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_problem.py").write_text("OFFSET = 2\n")
    path = problem(
        tmp_path,
        init="from neighbour_of_problem import OFFSET; self.offset = OFFSET",
        forward="def forward(self, x): return x + self.offset",
    )
    text = path.read_text()
    path.write_text("import neighbour_of_problem\n" + text)
    assert open_problem(path).outputs[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "line 1: invalid syntax; fix the syntax"),
        ("x = 1\n", "has no Model; define a torch.nn.Module called Model"),
        ("Model = 3\n", "Model is a int"),
        ("class Model: pass\ndef get_inputs(): pass\ndef get_init_inputs(): pass\n",
         "Model is not a torch.nn.Module"),
        (HEAD + "class Model(nn.Module): pass\n", "has no get_inputs; define get_inputs()"),
        (HEAD + "class Model(nn.Module): pass\ndef get_inputs(): return []\n",
         "has no get_init_inputs"),
        ("import not_a_module_anywhere\n", "raised ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3 while it was imported"),
        ("1 / 0\n", "raised ZeroDivisionError: division by zero while it was imported"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_cause_and_remedy(tmp_path, text, message):
    path = write_problem(tmp_path, text)
    with pytest.raises(ProblemError) as caught:
        open_problem(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": "torch.rand(2)"}, "get_inputs() gave a Tensor; return a list"),
        ({"inputs": "None"}, "get_inputs() gave None; return a list"),
        ({"inputs": "[1 / 0]"}, "get_inputs() raised ZeroDivisionError"),
        ({"inputs": "[]"}, "does not take the 0 inputs of get_inputs()"),
        ({"inputs": "[torch.rand(1)] * 2"}, "does not take the 2 inputs of get_inputs()"),
        ({"inputs": "[3.0]"}, "get_inputs() gives no tensor"),
        ({"inputs": "[torch.rand(2, dtype=torch.float64)]"}, "'x' is float64, which Metal does"),
        ({"inputs": "[torch.rand(2).to_sparse()]"}, "'x' is not a plain strided tensor"),
        ({"arguments": "3"}, "get_init_inputs() gave a int; return a list"),
        ({"arguments": "[3]"}, "Model(...) raised TypeError"),
        ({"init": "raise ValueError('no\\nreally')"}, "Model(...) raised ValueError: no"),
        ({"forward": "def forward(self, x, *, y): return x"}, "input 'y' is keyword-only"),
        ({"forward": "def forward(self, x): raise KeyError('k')"}, "forward raised KeyError: 'k'"),
        ({"forward": "def forward(self, x): return {'a': x}"}, "forward gave a dict; return a"),
        ({"forward": "def forward(self, x): return x, None"}, "forward gave None; return a"),
        ({"forward": "def forward(self, x): return 1.0"}, "forward gave a float; return a"),
        ({"forward": "def forward(self, x): return torch.rand_like(x)"}, "draws random numbers"),
    ],
)  # fmt: skip
def test_a_problem_that_cannot_be_used_is_refused_with_cause_and_remedy(tmp_path, changes, message):
    with pytest.raises(ProblemError) as caught:
        open_problem(problem(tmp_path, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_without_a_file_is_refused(tmp_path):
    with pytest.raises(ProblemError, match="no problem file at"):
        open_problem(tmp_path / "missing.py")
    with pytest.raises(ProblemError, match="is a folder"):
        open_problem(tmp_path)
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProblemError, match="not UTF-8"):
        open_problem(tmp_path / "binary.py")

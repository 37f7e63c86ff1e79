"""Stand-alone ModelNew files, run here on tensors of the software device.

`torch.mps.compile_shader` exists on Macs only; metalgen's own stands in for it, so that the files'
host code and kernels are really executed.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch
from problem_files import ADD, SCALE, add_plan, add_reply, reply, write_problem

import metalgen
from metalgen.errors import UnsupportedError
from metalgen.generation import parse_reply
from metalgen.generation.model_new import render_model_new
from metalgen.problem import open_problem


@pytest.fixture(autouse=True)
def _compile_shader_of_metalgen(monkeypatch):
    monkeypatch.setattr(torch.mps, "compile_shader", metalgen.compile_shader)


def written(tmp_path, problem, text):
    """The module that is written for a reply, imported."""
    path = write_problem(tmp_path, problem)
    rendered = render_model_new(parse_reply(text), open_problem(path))
    target = tmp_path / "model_new.py"
    target.write_text(rendered)
    spec = importlib.util.spec_from_file_location("model_new", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_same(module):
    """ModelNew with Model's weights gives what Model gives."""
    model, new = module.Model(*module.get_init_inputs()), module.ModelNew(*module.get_init_inputs())
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter)
    new.load_state_dict(model.state_dict())
    inputs = module.get_inputs()
    with torch.no_grad():
        torch.testing.assert_close(new(*inputs), model(*inputs))
    return model, new, inputs


def test_an_elementwise_module_runs_without_metalgen(tmp_path):
    module = written(tmp_path, ADD, add_reply())
    assert_same(module)
    assert "metalgen." not in (tmp_path / "model_new.py").read_text().split("=" * 98)[1]


SCALE_SOURCE = """
kernel void scale(device const float* x, device const float* w, device const float* b,
                  device float* y, constant uint& columns, uint2 i [[thread_position_in_grid]]) {
  y[i.y * columns + i.x] = x[i.y * columns + i.x] * w[i.x] + b[i.x];
}"""
SCALE_STEP = {
    "kernel": "scale",
    "args": ["x", "weight", "bias", "y", {"uint": "x.shape[1]"}],
    "threads": ["x.shape[1]", "x.shape[0]"],
    "group_size": [8, 2],
}
LIKE_X = {"dtype": "x.dtype", "shape": ["x.shape[0]", "x.shape[1]"]}


def test_parameters_are_the_modules_own(tmp_path):
    plan = {"outputs": {"y": LIKE_X}, "steps": [SCALE_STEP]}
    assert_same(written(tmp_path, SCALE, reply(SCALE_SOURCE, plan)))


def test_threadgroups_become_as_many_threads(tmp_path):
    step = {k: v for k, v in SCALE_STEP.items() if k != "threads"}
    step |= {"threadgroups": ["x.shape[1]", "ceil_div(x.shape[0], 2)"], "group_size": [1, 2]}
    plan = {"outputs": {"y": LIKE_X}, "steps": [step]}
    assert_same(written(tmp_path, SCALE, reply(SCALE_SOURCE, plan)))


def test_what_is_done_once_is_done_again_when_a_weight_changes(tmp_path):
    source = (
        SCALE_SOURCE
        + """
kernel void twice(device const float* w, device float* t, uint i [[thread_position_in_grid]]) {
  t[i] = 2 * w[i];
}
kernel void half_(device const float* t, device float* h, uint i [[thread_position_in_grid]]) {
  h[i] = t[i] / 2;
}"""
    )
    once = {"threads": "weight.shape[0]", "once": True}
    plan = {
        "buffers": {
            "t": {"dtype": "float32", "shape": "weight.shape"},
            "h": {"dtype": "float32", "shape": "t.shape"},
        },
        "outputs": {"y": LIKE_X},
        "steps": [
            {"kernel": "twice", "args": ["weight", "t"], **once},
            {"kernel": "half_", "args": ["t", "h"], **once},
            {**SCALE_STEP, "args": ["x", "h", "bias", "y", {"uint": "x.shape[1]"}]},
        ],
    }
    model, new, inputs = assert_same(written(tmp_path, SCALE, reply(source, plan)))
    prepared = new._prepare()
    assert new._prepare() is prepared
    with torch.no_grad():
        model.weight.mul_(3)
        new.load_state_dict(model.state_dict())
        torch.testing.assert_close(new(*inputs), model(*inputs))


MIXED = """
    from __future__ import annotations
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 3))

        def forward(self, x, scales, lambda_=2, *more):
            return x * lambda_ + scales[1], x + more[0]

    def get_inputs():
        return [torch.rand(4, 6).t(), [torch.rand(1), torch.rand(6, 4)], 3, torch.rand(6, 4)]

    def get_init_inputs():
        return []
"""


def test_lists_numbers_structs_and_several_outputs_are_written_out(tmp_path):
    source = """struct P { float factor; uint n; };
kernel void f(device const float* x, device const float* s, device float* y, constant P& p,
              constant uint3& pad, constant half& zero, uint i [[thread_position_in_grid]]) {
  if (i < p.n) y[i] = x[i] * p.factor + s[i] + float(zero) + float(pad.z - 5);
}"""
    like = {"dtype": "x.dtype", "shape": "x.shape"}
    struct = {"struct": [{"float": "lambda_"}, {"uint": "x.numel()"}]}
    plan = {
        "outputs": {"y": {**like, "fill": 0}, "z": like},
        "steps": [
            {
                "kernel": "f",
                "args": ["x", "scales.1", "y", struct, {"uint3": [0, 1, 5]}, {"half": 0}],
                "threads": "max(x.numel(), 1)",
            },
            {"aten": "add.Tensor", "args": ["x", "more.0"], "kwargs": {"alpha": 1}, "out": "z"},
        ],
    }
    assert_same(written(tmp_path, MIXED, reply(source, plan)))


def test_a_source_with_quotes_and_backslashes_survives(tmp_path):
    body = 'y[i] = a[i] + b[i];  // """ and \\ and more'
    assert_same(written(tmp_path, ADD, add_reply(body + "\n")))


def test_what_pytorch_cannot_launch_is_refused(tmp_path):
    text = reply("kernel void add(device float* y) { y[0] = 0; }", add_plan(constants={"c": 1}))
    with pytest.raises(UnsupportedError, match="function constants"):
        written(tmp_path, ADD, text)

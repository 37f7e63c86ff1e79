"""Packed kernels for parameters of other sizes: used where they were judged right for them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from command_line import metalgen as run_metalgen
from torch import nn

import metalgen
from metalgen.optimize.packing import build_pack, module_pattern
from metalgen.packs import open_pack
from metalgen.problem import open_problem

PROBLEM = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.part = nn.Linear(width, out)

    def forward(self, x):
        return torch.relu(self.part(x))

def get_inputs():
    return [torch.randn(6, 16)]

def get_init_inputs():
    return [16, 12]
"""
KERNELS = """
#include <metal_stdlib>
using namespace metal;

kernel void linear_relu(device float* out [[buffer(0)]], device const float* x [[buffer(1)]],
                        device const float* weight [[buffer(2)]],
                        device const float* bias [[buffer(3)]],
                        constant uint& width [[buffer(4)]], constant uint& columns [[buffer(5)]],
                        uint i [[thread_position_in_grid]]) {
  float sum = bias[i % columns];
  for (uint k = 0; k < width; ++k) {
    sum = fma(x[i / columns * width + k], weight[i % columns * width + k], sum);
  }
  out[i] = max(sum, 0.0f);
}
"""
SHAPED = ('"x.shape[1]"', '"part.weight.shape[0]"')


@pytest.fixture(autouse=True)
def _no_times_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path / "times"))


def plan(width: str, columns: str) -> str:
    return f"""{{
      "outputs": {{"out": {{"dtype": "x.dtype", "shape": ["x.shape[0]", {columns}]}}}},
      "steps": [{{
        "kernel": "linear_relu",
        "args": ["out", "x", "part.weight", "part.bias",
                 {{"uint": {width}}}, {{"uint": {columns}}}],
        "threads": ["out.numel()"],
        "group_size": [64]
      }}]
    }}"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose candidate takes any sizes."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "linear_relu.py").write_text(PROBLEM)
    reply = f"```metal\n{KERNELS}```\n```json\n{plan(*SHAPED)}\n```\n"
    (folder / "reply.md").write_text(reply)
    done = run_metalgen(
        *("generate", folder / "linear_relu.py", "--out", folder / "run"),
        *("--model", f"scripted:{folder / 'reply.md'}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def packed(run, folder, *sizes: str):
    """A pack of the candidate with another plan."""
    shutil.copytree(run / "best", folder / "best")
    (folder / "best" / "plan.json").write_text(plan(*sizes))
    return build_pack([folder / "best"], folder / "pack", "acme").pack


class Two(nn.Module):
    """The packed layer twice, in sizes that are not its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 40), nn.Linear(40, 7)

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))))


def regions_with_the_pack(pack) -> int:
    """How many regions of a model of other sizes the pack's kernel is right for."""
    model, x = Two().eval(), torch.randn(5, 16)
    fast = metalgen.optimize_for_metal(model, policy="metal", packs=pack)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))
    classes = [list(region.classes.values()) for region in fast.metal_report.regions]
    return sum("pack acme 1.0: linear_relu" in each.us for (each,) in classes)


def test_a_kernel_that_takes_any_sizes_is_used_for_parameters_of_other_sizes(run, tmp_path):
    pack = packed(run, tmp_path, *SHAPED)
    (entry,) = pack.manifest.kernels
    shapes = {operand.name: operand.shape for operand in entry.pattern.operands}
    rows, width = shapes["x"]
    (columns,) = shapes["part.bias"]
    assert shapes["part.weight"] == [columns, width]
    assert len({rows, width, columns}) == 3
    assert all(isinstance(size, str) for size in (rows, width, columns))
    assert sum("parameters of other sizes" in case for case in entry.cases) == 3
    assert regions_with_the_pack(pack) == 2


def test_a_kernel_that_is_right_for_its_own_sizes_alone_is_used_for_them_alone(run, tmp_path):
    pack = packed(run, tmp_path, '"x.shape[1]"', "12")
    (entry,) = pack.manifest.kernels
    shapes = {operand.name: operand.shape for operand in entry.pattern.operands}
    assert shapes["part.weight"] == [12, 16]
    assert not any("parameters of other sizes" in case for case in entry.cases)
    assert regions_with_the_pack(pack) == 0
    assert open_pack(pack.path).manifest == pack.manifest


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        ("nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.GELU())", [2, 4, 9, 7]),
        ("nn.Sequential(nn.Conv1d(4, 6, 3), nn.Tanh())", [2, 4, 9]),
        ("nn.Sequential(nn.Linear(8, 8), nn.Softmax(-1), nn.Linear(8, 4))", [3, 8]),
    ],
)
def test_a_graph_written_as_a_problem_of_its_own_sizes_computes_what_it_did(
    tmp_path, module, shape
):
    from metalgen.optimize.other_sizes import _own_sizes, open_names, problem_of

    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "class Model(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        f"        self.parts = {module}\n\n"
        "    def forward(self, x):\n"
        "        return self.parts(x)\n\n"
        f"def get_inputs():\n    return [torch.randn({shape})]\n\n"
        "def get_init_inputs():\n    return []\n"
    )
    problem = open_problem(tmp_path / "own.py").load()
    pattern = module_pattern(problem, has_open_parameters=True)
    assert open_names(pattern)
    (tmp_path / "same.py").write_text(problem_of(problem, pattern, _own_sizes(problem, pattern)))
    same = open_problem(tmp_path / "same.py").load()
    for name, value in problem.named_parameters().items():
        same.named_parameters()[name].copy_(value)
    with torch.no_grad():
        torch.testing.assert_close(same.module(*problem.inputs), problem.module(*problem.inputs))
    assert json.loads(pattern.model_dump_json())["results"] == pattern.results

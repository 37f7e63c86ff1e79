"""The examples that prompts hold: each is judged as candidates are, and chosen where it fits."""

import json

import pytest
from problem_files import write_problem

from metalgen.generation.candidate import parse_reply
from metalgen.problem import Problem
from metalgen.proposers import Accepted
from metalgen.proposers.prompts import Prompts, examples_for, names
from metalgen.resources import templates

FOLDER = templates() / "prompts" / "examples"
INDEX = json.loads((FOLDER / "index.json").read_text())["examples"]

# What each example says that it is for: __init__, forward, inputs.
MODULES = {
    "elementwise": (
        "self.scale = nn.Parameter(torch.rand(96))",
        "x): return torch.relu(x) * self.scale",
        "torch.randn(16, 96)",
    ),
    "reduction": ("pass", "x): return torch.mean(x, dim=1)", "torch.randn(8, 300)"),
    "softmax": ("pass", "x): return torch.softmax(x, dim=1)", "torch.randn(8, 700)"),
    "norm": (
        "self.norm = nn.LayerNorm(200)",
        "x): return torch.relu(self.norm(x))",
        "torch.randn(8, 200)",
    ),
    "product": (
        "self.fc = nn.Linear(72, 50)",
        "x): return torch.relu(self.fc(x))",
        "torch.randn(40, 72)",
    ),
    "convolution": (
        "self.conv = nn.Conv2d(5, 10, 3, padding=1)",
        "x): return torch.relu(self.conv(x))",
        "torch.randn(2, 5, 12, 17)",
    ),
    "pooling": (
        "self.pool = nn.MaxPool2d(3, stride=2, padding=1)",
        "x): return self.pool(x)",
        "torch.randn(2, 3, 13, 18)",
    ),
    "attention": (
        "pass",
        "q, k, v): return F.scaled_dot_product_attention(q, k, v)",
        "*(torch.randn(1, 2, 33, 64) for _ in range(3))",
    ),
}


def problem_text(name):
    init, forward, inputs = MODULES[name]
    return f"""
import torch
import torch.nn as nn
import torch.nn.functional as F

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}

    def forward(self, {forward}

def get_inputs():
    return [{inputs}]

def get_init_inputs():
    return []
"""


@pytest.mark.parametrize("name", MODULES)
def test_an_example_is_right_for_its_module_and_other_batch_sizes(name, evaluator, tmp_path):
    problem = evaluator.open(write_problem(tmp_path, problem_text(name)))
    candidate = parse_reply((FOLDER / f"{name}.md.j2").read_text())
    verdict = evaluator.evaluate(problem, candidate, allow_aten=False).verdict
    assert isinstance(verdict, Accepted), verdict


@pytest.mark.parametrize("name", MODULES)
def test_an_example_is_chosen_for_the_module_it_is_about(name):
    assert name in examples_for(problem_text(name))


def test_every_example_is_in_the_index_and_tested():
    listed = [entry["name"] for entry in INDEX]
    assert sorted(listed) == sorted(MODULES)
    assert sorted(listed) == sorted(f.name.removesuffix(".md.j2") for f in FOLDER.glob("*.md.j2"))


@pytest.mark.parametrize(
    ("source", "chosen"),
    [
        ("self.a = nn.Conv2d(3, 8, 3); self.n = nn.BatchNorm2d(8)", ["convolution", "norm"]),
        ("return F.softmax(x @ self.weight, dim=-1)", ["product", "softmax"]),
        ("return torch.sigmoid(x)", ["elementwise"]),
        ("return x.sum(dim=1)", ["reduction"]),
        ("", ["elementwise"]),
    ],
)
def test_examples_follow_the_operators_of_a_problem(source, chosen):
    assert examples_for(source) == chosen


def problem(source="return torch.sigmoid(x)"):
    return Problem(path="p.py", source=source, inputs=(), parameters=(), outputs=())


def test_every_template_and_example_can_be_replaced_by_ones_own(tmp_path):
    for name in (*names(), "examples/elementwise.md.j2"):
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("MINE")
        if "/" in name:
            (folder / "role.md.j2").write_text("ROLE")
        words = Prompts(folder)
        texts = [message.content for message in words.conversation(problem(), [])]
        if name.removesuffix(".md.j2") in (
            "system", "role", "contract", "rules", "device", "problem", "examples/elementwise",
        ):  # fmt: skip
            assert any("MINE" in text for text in texts), name


def test_an_example_that_cannot_be_rendered_is_refused_by_name(tmp_path):
    (tmp_path / "device.md.j2").write_text("{{ chip.nothing }}")
    from metalgen.errors import ToolchainError

    with pytest.raises(ToolchainError, match="nothing"):
        Prompts(tmp_path).conversation(problem(), [])

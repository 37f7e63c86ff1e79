"""Kernel packs: built from runs, installed as wheels, found in other models, checked before use."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from command_line import metalgen as run_metalgen
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import metalgen
from metalgen.errors import PackError
from metalgen.optimize.packing import build_pack
from metalgen.packs import find_matches, installed_packs, open_pack
from metalgen.packs.wheel import write_wheel

PROBLEM = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x, y):
        return torch.tanh(y + x * self.scale) - x

def get_inputs():
    return [torch.randn(6, 32), torch.randn(6, 32)]

def get_init_inputs():
    return [32]
"""
KERNELS = """
#include <metal_stdlib>
using namespace metal;

kernel void scaled_tanh(device float* out [[buffer(0)]], device const float* x [[buffer(1)]],
                        device const float* y [[buffer(2)]],
                        device const float* scale [[buffer(3)]],
                        constant uint& width [[buffer(4)]], uint i [[thread_position_in_grid]]) {
  out[i] = precise::tanh(fma(x[i], scale[i % width], y[i])) - x[i];
}
"""
PLAN = {
    "outputs": {"out": {"dtype": "x.dtype", "shape": ["x.shape[0]", 32]}},
    "steps": [
        {
            "kernel": "scaled_tanh",
            "args": ["out", "x", "y", "scale", {"uint": 32}],
            "threads": ["x.numel()"],
            "group_size": [64],
        }
    ],
}


class Other(nn.Module):
    """The same mathematics between other operators, with other names and swapped operands."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(32) + 0.5)
        self.before = nn.Linear(8, 32)

    def forward(self, a: Tensor) -> Tensor:
        b = self.before(a)
        c = torch.sin(b)
        return torch.exp(torch.tanh(self.gain * c + b) - c)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in which a script, in a language model's place, wrote the kernel."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "scaled_tanh.py").write_text(PROBLEM)
    reply = f"```metal\n{KERNELS}```\n```json\n{json.dumps(PLAN)}\n```\n"
    (folder / "reply.md").write_text(reply)
    done = run_metalgen(
        *("generate", folder / "scaled_tanh.py", "--out", folder / "run"),
        *("--model", f"scripted:{folder / 'reply.md'}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def pack(run, tmp_path_factory):
    return build_pack([run], tmp_path_factory.mktemp("packs") / "acme", "acme", "1.2").pack


def contenders(report) -> set[str]:
    return {
        name for region in report.regions for each in region.classes.values() for name in each.us
    }


def test_a_packed_kernel_computes_the_same_graph_in_another_model(pack):
    model = Other().eval()
    fast = metalgen.optimize_for_metal(model, policy="metal", packs=pack)
    with torch.no_grad():
        for rows in (6, 11):
            x = torch.randn(rows, 8)
            torch.testing.assert_close(fast(x), model(x))
        model.gain.mul_(-2)
        torch.testing.assert_close(fast(x), model(x))
    assert "pack acme 1.2: scaled_tanh" in contenders(fast.metal_report)


@pytest.mark.parametrize(
    "forward",
    [
        lambda a, b, gain: torch.tanh(b + a * gain) + a,  # another operator
        lambda a, b, gain: torch.tanh(b + a * gain) - b,  # another operand
        lambda a, b, gain: torch.tanh(b - a * gain) - a,
        lambda a, b, gain: torch.tanh(torch.add(b, a * gain, alpha=2)) - a,  # another number
        lambda a, b, gain: (torch.tanh(b + (c := a * gain)) - a) * c,  # an inner value is read
        lambda a, b, gain: torch.tanh(b.half() + (a * gain).half()) - a.half(),  # another dtype
        lambda a, b, gain: torch.tanh(b[:, :8] + a[:, :8] * gain[:8]) - a[:, :8],  # another width
    ],
)
def test_what_is_not_the_same_graph_is_not_found(pack, forward):
    a, b, gain = torch.randn(4, 32), torch.randn(4, 32), torch.randn(32)
    assert matches(pack, lambda a, b, gain: torch.tanh(gain * a + b) - a, a, b, gain) == 1
    assert matches(pack, forward, a, b, gain) == 0


def matches(pack, function, *inputs: Tensor) -> int:
    """How often the pack's pattern is found in a function of inputs and, at last, a parameter."""
    graph = make_fx(function, tracing_mode="fake")(*inputs).graph
    *_, parameter = graph.find_nodes(op="placeholder")
    return len(list(find_matches(pack.kernels[0].entry.pattern, graph, {parameter.name})))


def test_a_packed_kernel_that_is_wrong_is_refused_and_the_model_is_right(run, tmp_path):
    kept = tmp_path / "run" / "best"
    shutil.copytree(run / "best", kept)
    wrong = metalgen.compiler.compile_source(KERNELS.replace("- x[i]", "- 1.001f * x[i]"))
    (kept / "kernels.metallib").write_bytes(wrong)
    packed = build_pack([kept], tmp_path / "pack", "wrong").pack
    model, x = Other().eval(), torch.randn(6, 8)
    fast = metalgen.optimize_for_metal(model, policy="metal", packs=packed)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))
    refused = [
        text
        for region in fast.metal_report.regions
        for each in region.classes.values()
        for text in each.refused
    ]
    assert any("pack wrong 1.0: scaled_tanh: wrong" in text for text in refused)


def test_a_pack_is_installed_as_a_wheel_and_found_by_its_entry_point(pack, tmp_path, monkeypatch):
    site = tmp_path / "site"
    wheel = write_wheel(pack, tmp_path)
    pip = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site))
    subprocess.run([sys.executable, *pip, str(wheel)], check=True)
    assert installed_packs() == ()
    monkeypatch.syspath_prepend(str(site))
    (found,) = installed_packs()
    assert (found.manifest.name, found.manifest.version) == ("acme", "1.2")
    assert found.kernels[0].metallib("cpu") == pack.kernels[0].metallib("cpu")
    report = metalgen.explain(Other().eval(), torch.randn(6, 8), policy="metal")
    assert "pack acme 1.2: scaled_tanh" in contenders(report)


def test_a_file_that_was_changed_after_packing_is_refused(pack, tmp_path):
    changed = tmp_path / "pack"
    shutil.copytree(pack.path, changed)
    with (changed / "scaled_tanh" / "kernels.metallib").open("ab") as file:
        file.write(b"x")
    with pytest.raises(PackError, match="not the file that was packed"):
        open_pack(changed).kernels[0].metallib("cpu")
    model, x = Other().eval(), torch.randn(6, 8)
    fast = metalgen.optimize_for_metal(model, policy="metal", packs=changed)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))
    assert not any(
        each.contender.startswith("pack")
        for region in fast.metal_report.regions
        for each in region.classes.values()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": 2}, "form: Input should be 1"),
        ({"name": "../up"}, "name: String should match"),
        ({"kernels": []}, "kernels: List should have at least 1 item"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_a_manifest_that_is_not_sound_is_refused(pack, tmp_path, change, message):
    manifest = json.loads((pack.path / "pack.json").read_text())
    (tmp_path / "pack.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(PackError, match=re.escape(message)):
        open_pack(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["calls"][0]["args"].__setitem__(0, {"ref": 9}), "which is not before"),
        (lambda p: p["results"].append(0), "a result is no call's value"),
        (lambda p: p["operands"][0]["shape"].append({"pow": [2, 3]}), "size {'pow'"),
        (lambda p: p["operands"][0]["shape"].append({"mul": ["s9", 2]}), "size s9"),
    ],
)
def test_a_pattern_that_is_not_sound_is_refused(pack, tmp_path, change, message):
    manifest = json.loads((pack.path / "pack.json").read_text())
    change(manifest["kernels"][0]["pattern"])
    (tmp_path / "pack.json").write_text(json.dumps(manifest))
    with pytest.raises(PackError, match=re.escape(message)):
        open_pack(tmp_path)


def test_sizes_that_the_pattern_has_open_must_agree_with_one_another(pack):
    """Its two inputs have as many rows; those of this graph need not."""
    (entry,) = pack.manifest.kernels
    x, y = (operand for operand in entry.pattern.operands if operand.kind == "input")
    assert x.shape == y.shape == ["s0", 32]

    def forward(a, b, gain):
        return torch.tanh(b + a * gain) - a

    a, gain = torch.randn(6, 32), torch.randn(32)
    assert matches(pack, forward, a, torch.randn(6, 32), gain) == 1
    assert matches(pack, forward, a, torch.randn(1, 32), gain) == 0


def test_a_parameter_is_not_found_in_an_input(pack):
    (entry,) = pack.manifest.kernels
    inputs = torch.randn(6, 32), torch.randn(6, 32), torch.randn(32)
    graph = make_fx(lambda a, b, gain: torch.tanh(b + a * gain) - a, tracing_mode="fake")(*inputs)
    assert list(find_matches(entry.pattern, graph.graph, set())) == []


def test_the_command_line_packs_lists_and_judges(run, tmp_path):
    done = run_metalgen("pack", run, "-o", tmp_path / "acme", "--wheel", tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["kernels"] == ["scaled_tanh"]
    assert list(tmp_path.glob("metalgen_pack_acme-1.0-py3-none-any.whl"))
    listed = run_metalgen("packs", tmp_path / "acme", "--verify", "--json")
    ((kernel,),) = [pack["kernels"] for pack in json.loads(listed.stdout)]
    assert kernel["operators"][-1] == "sub.Tensor"
    assert kernel["verdict"].startswith("accepted")
    with pytest.raises(PackError, match="exists; name another folder"):
        build_pack([run], tmp_path / "acme", "acme")


def test_what_cannot_be_packed_is_told_with_the_reason(run, tmp_path):
    rejected = tmp_path / "rejected"
    shutil.copytree(run / "best", rejected)
    manifest = json.loads((rejected / "manifest.json").read_text())
    manifest["verdict"]["verdict"] = "rejected"
    (rejected / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackError, match="nothing to pack: scaled_tanh: it was not accepted"):
        build_pack([rejected], tmp_path / "pack", "p")
    with pytest.raises(PackError, match="no kept candidate"):
        build_pack([tmp_path], tmp_path / "pack", "p")
    assert not (tmp_path / "pack").exists()

"""Profiles as models and users see them: text, pictures, and what crosses between processes."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from chat_server import chat_server, completion
from matplotlib import image
from problem_files import write_problem
from profiled import metallib, plan, random, square, step
from typer.testing import CliRunner

from metalgen.chips import find_chip
from metalgen.cli.app import make_app
from metalgen.compiler import compile_source
from metalgen.generation.candidate import parse_reply
from metalgen.problem import load_problem, open_problem
from metalgen.profile import Profile, profile_candidate, profile_data, render
from metalgen.profile.profile import _MOST_COUNTED
from metalgen.profile.text import percent, quantity, time
from metalgen.proposers.blocking import run_blocking
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.prompts import Prompts

NAMES = ["summary", "memory", "timeline", "roofline"]
LINEAR = """
    import torch
    import torch.nn as nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(96))

        def forward(self, x):
            return torch.relu(x) * self.scale

    def get_inputs():
        return [torch.randn(16, 96)]

    def get_init_inputs():
        return []
"""
REPLY = """
```metal
#include <metal_stdlib>
using namespace metal;
kernel void relu_scale(device const float* x [[buffer(0)]], device const float* scale [[buffer(1)]],
                       device float* y [[buffer(2)]], constant uint& columns [[buffer(3)]],
                       uint2 p [[thread_position_in_grid]]) {
  y[p.y * columns + p.x] = max(x[p.y * columns + p.x], 0.0f) * scale[p.x];
}
```
```json
{"outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
 "steps": [{"kernel": "relu_scale", "args": ["x", "scale", "y", {"uint": "x.shape[1]"}],
            "threads": ["x.shape[1]", "x.shape[0]"], "group_size": [32, 1]}]}
```
"""


def data(of, inputs, chip="M3 Max"):
    return profile_data(of, metallib(), inputs, {}, find_chip(chip))


@pytest.fixture(scope="module")
def product():
    return render(data(square("product", [32, 8]), {"a": random(64, 64), "b": random(64, 64)}))


def test_the_text_says_what_was_counted_and_what_is_predicted(product):
    text = product.text
    assert text.startswith("Profile of 1 dispatch, counted on the software device\n")
    assert "Predicted for M3 Max (40 cores) by a roofline model, not measured" in text
    assert f"{2 * 64**3 / 1000:.3g} kFLOP" in text
    assert "grid 64 x 64 x 1 threads, threadgroups of 32 x 8 x 1: 16 of them" in text
    assert "lanes that do work: 100%" in text
    assert "load   a            device" in text
    assert "What stands out:" in text


def test_the_four_pictures_show_something(product):
    assert [picture.name for picture in product.pictures] == NAMES
    for picture in product.pictures:
        pixels = image.imread(io.BytesIO(picture.png))
        assert pixels.shape[:2] == (750, 1200)
        inked = (pixels[..., :3].min(axis=2) < 0.9).mean()
        assert 0.01 < inked < 0.6, picture.name
        edge = np.concatenate([pixels[:3].ravel(), pixels[-3:].ravel()])
        assert edge.min() > 0.9, f"{picture.name} runs over its edge"


def test_pictures_of_the_same_profile_are_the_same_bytes():
    of = square("product", [32, 8])
    inputs = {"a": random(32, 32), "b": random(32, 32)}
    first, second = (render(data(of, inputs)) for _ in range(2))
    assert [p.png for p in first.pictures] == [p.png for p in second.pictures]
    assert first.text == second.text


def test_a_profile_crosses_between_processes_whole(product):
    plain = json.loads(json.dumps(product.to_json()))
    again = Profile.from_json(plain)
    assert again == product


def test_what_stands_out_is_named():
    scattered = plan({"y": [4096]}, step("apart", ["x", "y", {"uint": 32}], [4096], [64]))
    assert (
        "the load of x touches 32.0 times the cache lines it needs"
        in render(data(scattered, {"x": random(4096 * 32)})).text
    )
    chained = plan(
        {"y": [1024], "z": [1024]},
        step("scale", ["x", "y", {"uint": 1024}], [1024], [256]),
        step("scale", ["y", "z", {"uint": 1024}], [1024], [256]),
    )
    assert (
        "2 dispatches pass y to each other through memory"
        in render(data(chained, {"x": random(1024)})).text
    )
    halved = plan({"y": [4]}, step("halve", ["x", "y"], [1024], [256]))
    assert "9 barriers in each threadgroup" in render(data(halved, {"x": random(1024)})).text


def test_what_would_take_too_long_to_count_is_told_from_air():
    n = 4096
    found = data(square("product", [32, 8]), {"a": torch.zeros(n, n), "b": torch.zeros(n, n)})
    assert found.how == "told from AIR"
    assert n**3 / 32 * 2 > _MOST_COUNTED
    assert found.rows[0].figures.flops == 2 * n**3
    assert any("would take too long" in note for note in found.notes)


def test_a_plan_without_arithmetic_or_with_aten_steps_can_be_drawn():
    copied = plan({"y": [256]}, step("apart", ["x", "y", {"uint": 1}], [256], [64]))
    assert len(render(data(copied, {"x": random(256)})).pictures) == 4
    in_aten = plan({"y": [16]}, {"aten": "relu", "args": ["x"], "out": "y"})
    found = render(data(in_aten, {"x": random(16)}))
    assert "relu runs in ATen and is not in this profile" in found.text
    assert len(found.pictures) == 4


def test_a_candidate_is_profiled_with_its_problems_inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_CHIP", "M2 Pro")
    problem = load_problem(write_problem(tmp_path, LINEAR))
    candidate = parse_reply(REPLY)
    metal = compile_source(candidate.source)
    found = profile_candidate(problem, candidate.source, candidate.plan, metal, torch.device("cpu"))
    assert "grid 96 x 16 x 1 threads" in found.text
    assert "Predicted for M2 Pro (19 cores)" in found.text
    other = profile_candidate(
        problem, candidate.source, candidate.plan, metal, torch.device("cpu"), chip="M1"
    )
    assert "Predicted for M1 (8 cores)" in other.text


def run(*arguments):
    listed = ["profile", *map(str, arguments)]
    return CliRunner().invoke(make_app(listed), listed)


def test_the_command_profiles_a_candidate_and_writes_pictures(tmp_path):
    problem = write_problem(tmp_path, LINEAR)
    (tmp_path / "reply.md").write_text(REPLY)
    done = run(
        tmp_path / "reply.md", "--problem", problem, "--chip", "M1", "--out", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    assert "Predicted for M1 (8 cores)" in done.stdout
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted([*(f"{name}.png" for name in NAMES), "profile.txt"])


def test_the_command_takes_kernels_with_a_plan_or_shows_their_instructions(tmp_path):
    from profiled import SOURCE

    source = tmp_path / "k.metal"
    source.write_text(SOURCE)
    done = run(source)
    assert done.exit_code == 0, done.output
    assert "halve: " in done.stdout
    assert "threadgroup memory 1024 bytes" in done.stdout
    (tmp_path / "plan.json").write_text(
        json.dumps(
            {
                "outputs": {"y": {"dtype": "float32", "shape": ["x.shape[0]"]}},
                "steps": [step("scale", ["x", "y", {"uint": "x.shape[0]"}], ["x.shape[0]"], [256])],
            }
        )
    )
    done = run(
        source, "--plan", tmp_path / "plan.json", "--size", "x=2048", "--chip", "M1", "--json"
    )
    assert done.exit_code != 0  # a number has no shape
    done = run(source, "--plan", tmp_path / "plan.json", "--size", "x=2048:float32", "--json")
    assert done.exit_code == 0, done.output
    assert "grid 2048 x 1 x 1" in json.loads(done.stdout)["text"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no candidate at 'nowhere'"),
        (["run.gputrace"], "need a Mac"),
    ],
)
def test_what_cannot_be_profiled_is_one_line(arguments, message):
    done = run(*arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_figures_are_worded_for_people():
    assert time(1.5e-6) == "1.5 µs"
    assert time(0.25) == "250 ms"
    assert quantity(12_300_000) == "12.3 M"
    assert percent(0.5) == "50%"


def test_a_sub_agent_is_shown_the_pictures_and_answers_with_hints(product, tmp_path):
    problem = open_problem(write_problem(tmp_path, LINEAR))
    environment = {"OPENAI_BASE_URL": ""}
    with chat_server(completion("- keep `a` in threadgroup memory")) as server:
        reader = OpenAIProposer("seer", server.url, environment=environment)
        request = reader.prompts.hint_request(
            problem, "kernel void product() {}", "{}", product, with_pictures=True
        )

        async def ask():
            async with reader.chat:
                return await reader.chat.ask(request)

        reply = run_blocking(ask())
    assert reply.text == "- keep `a` in threadgroup memory"
    (question,) = server.requests[0]["messages"]
    text, *pictures = question["content"]
    assert "kernel void product() {}" in text["text"]
    assert [p["image_url"]["url"][:22] for p in pictures] == ["data:image/png;base64,"] * 4
    sent = base64.b64decode(pictures[0]["image_url"]["url"][22:])
    assert sent == product.pictures[0].png


def test_a_sub_agent_without_vision_reads_the_text(product, tmp_path):
    problem = open_problem(write_problem(tmp_path, LINEAR))
    (question,) = Prompts().hint_request(problem, "s", "{}", product, with_pictures=False)
    assert question.pictures == ()
    assert "lanes that do work: 100%" in question.content

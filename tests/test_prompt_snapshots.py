"""Every prompt as it is rendered, held against tests/snapshots/prompts.

After a change to templates/prompts: `pytest tests/test_prompt_snapshots.py --update-snapshots`, and
review the difference.
"""

import dataclasses
from pathlib import Path

import pytest

from metalgen.chips import find_chip
from metalgen.problem import NumberSpec, Problem, TensorSpec
from metalgen.proposers import Accepted, Attempt, Rejected, Reply, Shared
from metalgen.proposers.prompts import Message, Picture, Prompts, names

SNAPSHOTS = Path(__file__).parent / "snapshots" / "prompts"

BARE = Problem(
    path=Path("bare.py"),
    source="class Model: ...\n",
    inputs=(),
    parameters=(),
    outputs=(TensorSpec("out0", (4,), "int64"),),
)
FULL = Problem(
    path=Path("full.py"),
    source='class Model:\n    """Scales <x> & adds "bias" {{ not a template }}."""\n\n',
    inputs=(TensorSpec("x", (16, 1024), "float32"), NumberSpec("dim", 1), NumberSpec("on", True)),
    parameters=(
        TensorSpec("fc.weight", (8, 1024), "float16"),
        TensorSpec("scalar", (), "float32"),
    ),
    outputs=(TensorSpec("out0", (16, 8), "float32"), TensorSpec("out1", (), "bool")),
    training=False,
    notes=("dropout draws random numbers", "the module runs in evaluation mode"),
)
REASONS = {
    "reply": "there is no fenced `metal` block; answer with one and a fenced `json` block",
    "plan": "steps[0].args[3]: unknown name 'z'; known are x, fc.weight, y",
    "compile": "kernels.metal:7:12: error: undeclared identifier 'c'\n  y[i] = c[i];\n         ^",
    "launch": "kernel 'add': argument 'x' (buffer 0, float): expected float32, found int64",
    "verify": "output 'y' is wrong in 3 of 16 elements\n  at [0, 1]: 0.5, expected 1.25",
}
WARNINGS = (
    "kernels.metal:3:7: warning: unused variable 'scale' [-Wunused-variable]",
    "kernels.metal:9:5: warning: expression result unused [-Wunused-value]",
)
VERDICTS = {
    **{f"rejected_{stage}": Rejected(stage, reason) for stage, reason in REASONS.items()},
    "rejected_timeout": Rejected("launch", "kernel 'add' timed out after 30 s: a loop?"),
    "rejected_with_warnings": Rejected("verify", REASONS["verify"], WARNINGS),
    "accepted": Accepted(12.34, 50.0, "Apple M3 Max"),
    "accepted_with_warnings": Accepted(12.34, 50.0, "Apple M3 Max", warnings=WARNINGS[:1]),
    "accepted_with_notes": Accepted(12.34, 5.0, "software device", 1, ("1 step is ATen",)),
}
SHARED = Shared("gpt-5", "kernel void f() {}\n", '{"steps": []}\n', Accepted(5.0, 50.0, "M3"))


SLOWER = Attempt(Reply("?"), Accepted(20.0, 50.0, "Apple M3 Max"), "- read `x` once\n")


class PROFILE:
    text = "- `add` reads 12 bytes per element\n"
    pictures = (Picture("roofline", b"png"),)


def rendered():
    """Every prompt by the name of its snapshot."""
    prompts = Prompts()
    system, bare = prompts.conversation(BARE, [])
    _, full = prompts.conversation(FULL, [])
    found = {"system": system, "problem_bare": bare, "problem_full": full}
    for chip in (None, "M3 Max", "A18 Pro"):  # of the last neither clock nor bandwidth is known
        words = Prompts(chip=None if chip is None else find_chip(chip))
        name = f"device_{'any' if chip is None else chip.replace(' ', '_').lower()}"
        found[name] = Message("system", words.section("device", BARE))
    for part in ("role", "contract", "rules"):
        found[part] = Message("system", prompts.section(part, BARE))
    for name, verdict in VERDICTS.items():
        found[name] = prompts.conversation(BARE, [Attempt(Reply("?"), verdict)])[-1]
    found["cuda"] = prompts.conversation(BARE, [], cuda="__global__ void f() {}\n")[1]
    found["shared"] = prompts.conversation(BARE, [], shared=SHARED)[1]
    hinted = Attempt(Reply("?"), VERDICTS["accepted"], "- read `x` once\n", SHARED)
    accepted = Attempt(Reply("?"), VERDICTS["accepted"])
    softmax = dataclasses.replace(BARE, source="class Model: ... torch.softmax(x, -1)\n")
    linear = dataclasses.replace(BARE, source="class Model: ... torch.matmul(x, w)\n")
    found["accepted_product"] = prompts.conversation(linear, [accepted])[-1]
    found["accepted_softmax"] = prompts.conversation(softmax, [accepted])[-1]
    found["accepted_with_hints"] = prompts.conversation(BARE, [hinted])[-1]
    found["accepted_slower"] = prompts.conversation(BARE, [accepted, SLOWER])[-1]
    for pictures in (False, True):
        name = "hints_with_pictures" if pictures else "hints"
        request = prompts.hint_request(BARE, "kernel\n", "{}\n", PROFILE, with_pictures=pictures)
        assert [p.name for p in request[0].pictures] == (["roofline"] if pictures else [])
        found[name] = request[0]
    return {name: message.content for name, message in found.items()}


@pytest.mark.parametrize("name", sorted(rendered()))
def test_a_prompt_is_as_reviewed(name, request):
    path = SNAPSHOTS / f"{name}.md"
    text = rendered()[name]
    if request.config.getoption("--update-snapshots"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), "no snapshot yet: run with --update-snapshots"
    assert text == path.read_text(encoding="utf-8")


def test_every_snapshot_is_of_a_prompt():
    assert {path.stem for path in SNAPSHOTS.iterdir()} == set(rendered())


def test_every_template_has_a_snapshot():
    templates = {name.removesuffix(".md.j2") for name in names()}
    assert templates == {name.split("_")[0] for name in rendered()}

"""Reading candidates out of replies, in the many forms that models give them."""

from __future__ import annotations

import json

import pytest

from metalgen.errors import PlanError, ProposalError
from metalgen.generation import parse_reply
from metalgen.generation.lenient_json import loads_leniently

METAL = """#include <metal_stdlib>
using namespace metal;
kernel void f(device const float* x, device float* y, uint i [[thread_position_in_grid]]) {
  y[i] = x[i];  // { unbalanced, in a comment
}
"""
STEPS = [{"kernel": "f", "args": ["x", "y"], "threads": "x.numel()"}]
PLAN = {"outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}}, "steps": STEPS}
JSON = json.dumps(PLAN)
LOOSE = """{
  // the plan
  "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape",},},  # one output
  /* one
     step */
  "steps": [{"kernel": "f", "args": ["x", "y",], "threads": "x.numel() // 1", "once": False}],
}"""
OLD = METAL.replace("y[i] = x[i]", "y[i] = 0")

FORMS = {
    "as asked for": f"```metal\n{METAL}```\n\n```json\n{JSON}\n```\n",
    "with prose": f"Sure!\n\n```metal\n{METAL}```\nand\n```json\n{JSON}\n```\nHope it helps.",
    "as C++": f"```cpp\n{METAL}```\n```json\n{JSON}\n```",
    "without languages": f"```\n{METAL}```\n```\n{JSON}\n```",
    "with a file name": f'```metal title="k.metal"\n{METAL}```\n```json plan.json\n{JSON}\n```',
    "with tildes": f"~~~metal\n{METAL}~~~\n~~~json\n{JSON}\n~~~",
    "indented": f"1.  ```metal\n{METAL}    ```\n2.  text\n    ```json\n    {JSON}\n    ```",
    "with Windows line ends": f"```metal\n{METAL}```\n```json\n{JSON}\n```".replace("\n", "\r\n"),
    "plan first": f"```json\n{JSON}\n```\n```metal\n{METAL}```",
    "without fences": f"{METAL}\n{JSON}\n",
    "without fences, prose after": f"{METAL}\n{JSON}\nThat is all.",
    "plan outside of fences": f"```metal\n{METAL}```\nLaunch plan:\n{JSON}",
    "loose JSON": f"```metal\n{METAL}```\n```json\n{LOOSE}\n```",
    "loose JSON as jsonc": f"```metal\n{METAL}```\n```jsonc\n{LOOSE}\n```",
    "last fence missing": f"```metal\n{METAL}```\n```json\n{JSON}",
    "a second thought": f"```metal\n{OLD}```\nNo:\n```metal\n{METAL}```\n```json\n{JSON}\n```",
    "plan in a wrapper": f'```metal\n{METAL}```\n```json\n{{"launch_plan": {JSON}}}\n```',
    "one object": json.dumps({"source": METAL, "plan": PLAN}),
    "one object in a fence": f"```json\n{json.dumps({'metal': METAL, **PLAN})}\n```",
    "an object before": f'```json\n{{"a": 1}}\n```\n```metal\n{METAL}```\n```json\n{JSON}\n```',
    "reasoning": f"<think>{{ if }} ```x``` </think>\n```metal\n{METAL}```\n```json\n{JSON}\n```",
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.replace(" ", "-"))
def test_a_candidate_is_found(form):
    candidate = parse_reply(FORMS[form])
    assert "".join(candidate.source.split()) == "".join(METAL.split())
    assert candidate.plan.steps[0].kernel == "f"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the reply is empty"),
        (" \n ", "the reply is empty"),
        ("I am sorry, I cannot help with that.", "no ```metal block with a kernel and no ```json"),
        (f"```metal\n{METAL}```", "no ```json block with the launch plan"),
        (f"```json\n{JSON}\n```", "no ```metal block with a kernel"),
        (f"```metal\n{METAL}```\n```json\n{JSON[:-30]}", "it was probably cut off"),
        (f"```metal\n{METAL[:-30]}", "it was probably cut off"),
        (
            f"```metal\n{METAL}```\n```json\n{JSON.replace(':', '=')}\n```",
            "json block is not valid",
        ),
        (f'```metal\n{METAL}```\n```json\n{{"a": 1}}\n```', "has neither outputs nor steps"),
        (f"```metal\nfloat f() {{ return 1; }}\n```\n```json\n{JSON}\n```", "no ```metal block"),
    ],
)
def test_a_reply_without_a_candidate_is_refused_with_what_is_missing(text, message):
    with pytest.raises(ProposalError) as caught:
        parse_reply(text)
    assert message in str(caught.value)


def test_a_malformed_plan_is_the_plans_fault():
    text = f"```metal\n{METAL}```\n```json\n{json.dumps({**PLAN, 'extra': 1})}\n```"
    with pytest.raises(PlanError, match="extra: unknown key"):
        parse_reply(text)


@pytest.mark.parametrize("text", ["{" * 50_000, '{"a":' * 20_000, "```\n" * 20_000, '[{"' * 9000])
def test_a_reply_that_repeats_itself_is_read_quickly(text):
    with pytest.raises(ProposalError):
        parse_reply(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "x, ] // no comment"}', {"a": "x, ] // no comment"}),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}),
        ('{"a": 1, // one\n "b": 2 # two\n}', {"a": 1, "b": 2}),
        ('{"a": True, "b": None, "c": "True"}', {"a": True, "b": None, "c": "True"}),
        ('{"a": "quote \\" and , }"} rest', {"a": 'quote " and , }'}),
    ],
)
def test_loose_json_is_read_without_touching_strings(text, value):
    assert loads_leniently(text)[0] == value

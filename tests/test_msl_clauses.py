"""The specification clause by clause: `msl/clauses.txt` is run, docs/msl-coverage.md made of it.

`python tests/test_msl_clauses.py` writes the document anew.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

import metalgen

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "msl-coverage.md"
PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
KERNEL = "kernel void f(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]])"
NUMBER = re.compile(r"(?:^|, )(\d+(?:\.\d+)*) (?=[A-Z])")
HEAD = """# The Metal specification, clause by clause

The clauses that concern compute kernels, of the Metal Shading Language Specification, version 4
(2025-06-05). Made by `python tests/test_msl_clauses.py` from the tables in `tests/msl`, and kept
true by a test. "checked" counts the values in `clauses.txt` that kernels compute on the software
device, "refused" the sources in `refused.txt` that must not compile.

| clause | | checked | refused | remarks |
|---|---|---|---|---|
"""


def _sections(name):
    text = (HERE / "msl" / name).read_text()
    return [section.split("\n\n", 1) for section in text.split("\n== ")[1:]]


def _cases():
    for title, case in _sections("clauses.txt"):
        source, numbers = case.rsplit("\n=> ", 1)
        yield title, source, [float(number) for number in numbers.split()]


@pytest.mark.parametrize(
    ("source", "expected"), [pytest.param(*case[1:], id=case[0]) for case in _cases()]
)
def test_it_computes_what_the_clause_says(source, expected):
    whole = source if "kernel" in source else f"{KERNEL} {{\n{source}\n}}"
    out = torch.full((64,), -99.0)
    threads = 32 if len(expected) == 32 else 1
    metalgen.compile_shader(PREAMBLE + whole).f(out, threads=threads, group_size=32)
    torch.testing.assert_close(out[: len(expected)], torch.tensor(expected), rtol=1e-3, atol=1e-3)


def document():
    kernels, refusals, unsupported = Counter(), Counter(), Counter()
    for title, _, numbers in _cases():
        kernels.update(dict.fromkeys(NUMBER.findall(title), len(numbers)))
    for title, cases in _sections("refused.txt"):
        messages = re.findall(r"^=> (.*)", cases, re.MULTILINE)
        named = sum(message.startswith("not supported") for message in messages)
        for number in NUMBER.findall(title):
            refusals[number] += len(messages) - named
            unsupported[number] += named
    lines = (HERE / "msl" / "specification.txt").read_text().split("\n\n", 1)[1].splitlines()
    return HEAD + "".join(_row(line, kernels, refusals, unsupported) for line in lines)


def _row(line, kernels, refusals, unsupported):
    clause, _, remark = line.partition(" | ")
    number = clause.split()[0]
    if kernels[number] or (refusals[number] and not unsupported[number]):
        state = "covered"
    elif unsupported[number]:
        state = "refused by name"
    else:
        state = "see remarks"
        assert remark, f"nothing tests clause {clause}, and nothing is said about it"
    counts = [str(count[number] or "") for count in (kernels, refusals + unsupported)]
    return f"| {clause} | {state} | {counts[0]} | {counts[1]} | {remark} |\n"


def test_the_document_says_what_the_tables_hold():
    assert DOCUMENT.read_text() == document(), "run: python tests/test_msl_clauses.py"


def test_every_clause_that_a_table_names_is_listed():
    listed = {
        line.split()[0] for line in (HERE / "msl/specification.txt").read_text().splitlines()[3:]
    }
    for name in ("clauses.txt", "refused.txt"):
        for title, _ in _sections(name):
            assert NUMBER.findall(title), f"no clause in {title!r}"
            assert set(NUMBER.findall(title)) <= listed, title


if __name__ == "__main__":
    DOCUMENT.write_text(document())

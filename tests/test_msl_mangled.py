"""Sources that are no Metal at all: the rewriting leaves their errors to clang."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalgen.compiler.clang import compile_to_air
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.preprocess import Origin, Preprocessed
from metalgen.compiler.repairs import REPAIRS
from metalgen.compiler.rewrite import rewrite
from metalgen.compiler.tokens import tokenize
from metalgen.errors import CompileError

SOURCES = [
    [
        token.text
        for token in tokenize(path.read_text())
        if token.kind != "pragma" and not token.text.startswith("//")
    ]
    for path in sorted((Path(__file__).parent / "msl").glob("*.metal"))
]
WORDS = sorted({word for source in SOURCES for word in source})


@st.composite
def mangled_sources(draw):
    words = draw(st.sampled_from(SOURCES))
    first = draw(st.integers(0, len(words) - 1))
    words = words[first : first + draw(st.integers(1, 300))]
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(words)))
        removed = draw(st.integers(0, 2))
        words[at : at + removed] = draw(st.lists(st.sampled_from(WORDS), max_size=2))
    return " ".join(words)


@settings(max_examples=300, deadline=None)
@given(mangled_sources(), st.lists(st.integers(0, 2000), max_size=4))
def test_rewriting_and_repairing_never_fail_themselves(text, offsets):
    source = Preprocessed(text, (Origin("mangled", 1),), ())
    rewrite(source, CompileOptions(untrusted=True))
    for repair in REPAIRS:
        edits = repair.edit(text, [offset for offset in offsets if offset < len(text)])
        rewrite(source.changed_by(edits), CompileOptions(untrusted=True))


@pytest.mark.parametrize(
    "source",
    [
        "",
        "kernel",
        "kernel void",
        "[[kernel]]",
        "template [[host_name(",
        "kernel void f(device float* x [[buffer(",
        "kernel void f() { threadgroup float",
        "constant bool b [[function_constant(",
        "struct S { S(",
        "}}}}))))]]]]",
        "\0\0",
        "#if",
        'kernel void f() { "',
        "é" * 100,
    ],
)
def test_beginnings_of_sources_are_compile_errors(source):
    with pytest.raises(CompileError, match="error"):
        compile_to_air(source, name="k.metal")

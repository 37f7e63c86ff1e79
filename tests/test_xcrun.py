"""What is asked of Apple's compiler, and what becomes of its answers: with a stand-in for xcrun."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metalgen.compiler.options import CompileOptions
from metalgen.compiler.source import Source
from metalgen.compiler.xcrun import XcrunToolchain
from metalgen.errors import CompileError, ToolchainError

# Notes how it was called; the "object" it makes is its input.
RECORD = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
while [ $# -gt 0 ]; do
  case "$1" in
    -o) output="$2"; shift ;;
    --version) echo "Apple metal version 32023.155"; exit 0 ;;
    *.air) inputs="$inputs $1" ;;
  esac
  shift
done
cat $inputs > "$output"
"""
REFUSE = """#!/bin/sh
cat > /dev/null
echo "a.metal:1:1: error: unknown type name 'flot'" >&2
exit 1
"""
CRASH = """#!/bin/sh
cat > /dev/null
echo "LLVM ERROR: out of memory" >&2
exit 134
"""
MISSING = """#!/bin/sh
echo "xcrun: error: unable to find utility \\"metal\\"" >&2
exit 72
"""


@pytest.fixture
def xcrun(tmp_path, monkeypatch):
    """Puts a script in the place of xcrun; gives back the calls it noted."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def install(script: str) -> Path:
        (tmp_path / "xcrun").write_text(script)
        (tmp_path / "xcrun").chmod(0o755)
        return tmp_path / "calls"

    return install


def source(**properties) -> Source:
    return Source(**{"text": "kernel void f() {}", "name": "a.metal", **properties})


def test_a_source_is_compiled_under_its_own_name_with_all_options(xcrun):
    calls = xcrun(RECORD)
    air = XcrunToolchain().compile(
        source(include_dirs=(Path("headers"),), defines={"N": "4"}),
        CompileOptions(math="safe", standard="metal3.1"),
    )
    assert air.content == b'#line 1 "a.metal"\nkernel void f() {}'
    assert air.warnings == ()
    (call,) = calls.read_text().splitlines()
    for expected in (
        "-sdk macosx metal -x metal",
        "-std=metal3.1 -mmacosx-version-min=14.0",
        "-fno-fast-math",
        "-I headers",
        "-DN=4",
    ):
        assert expected in call


def test_fast_maths_is_the_default_as_it_is_apples(xcrun):
    calls = xcrun(RECORD)
    XcrunToolchain().compile(source(), CompileOptions())
    assert "-ffast-math" in calls.read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (CompileOptions(math="relaxed"), "relaxed -fmetal-math-fp32-functions=fast"),
        (CompileOptions(functions="precise"), "fast -fmetal-math-fp32-functions=precise"),
    ],
)
def test_what_only_newer_compilers_know_is_said_in_their_words(xcrun, options, expected):
    calls = xcrun(RECORD)
    XcrunToolchain().compile(source(), options)
    assert f"-fmetal-math-mode={expected}" in calls.read_text()


def test_objects_are_linked_in_their_order(xcrun):
    xcrun(RECORD)
    assert XcrunToolchain().link([b"one ", b"two"]) == b"one two"


def test_errors_in_the_source_are_shown_as_the_compiler_words_them(xcrun):
    xcrun(REFUSE)
    with pytest.raises(CompileError, match=r"^a\.metal:1:1: error: unknown type name 'flot'$"):
        XcrunToolchain().compile(source(), CompileOptions())


def test_a_crash_of_the_compiler_is_not_blamed_on_the_source(xcrun):
    xcrun(CRASH)
    with pytest.raises(ToolchainError, match=r"xcrun metal failed on a\.metal: LLVM ERROR"):
        XcrunToolchain().compile(source(), CompileOptions())


def test_a_missing_metal_compiler_says_how_to_get_it(xcrun):
    xcrun(MISSING)
    with pytest.raises(ToolchainError, match="xcodebuild -downloadComponent MetalToolchain"):
        _ = XcrunToolchain().fingerprint


def test_the_compilers_version_is_part_of_the_fingerprint(xcrun):
    xcrun(RECORD)
    assert "32023.155" in XcrunToolchain().fingerprint


def test_a_machine_without_xcrun_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolchainError, match="cannot run xcrun: No such file or directory"):
        XcrunToolchain().compile(source(), CompileOptions())


def test_untrusted_sources_may_not_reach_outside(xcrun):
    calls = xcrun(RECORD)
    with pytest.raises(CompileError, match="outside of the include directories"):
        XcrunToolchain().compile(
            source(text='#include "/etc/passwd"\n'), CompileOptions(untrusted=True)
        )
    assert not calls.exists()

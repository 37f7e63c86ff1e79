"""What is only warned of: told to whoever asks, each time, in Metal's words, and never an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import metalgen as run_metalgen

import metalgen
from metalgen.compiler import CompileOptions, compile_files, compile_source

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
KERNEL = "kernel void f(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]])"
INTERNAL = re.compile(r"__metal|__air|__global|__local\b|__private|__generic|OpenCL|_metalgen_")
MSL = Path(__file__).parent / "msl"


def warnings_of(source, **arguments):
    found = []
    compile_source(source, name="k.metal", on_warning=found.append, **arguments)
    return found


def _table():
    for case in (MSL / "warned.txt").read_text().strip().split("\n\n")[1:]:
        source, message = case.rsplit("\n=> ", 1)
        yield pytest.param(source, message, id=message)


@pytest.mark.parametrize(("source", "message"), list(_table()))
def test_it_is_warned_of_and_compiles(source, message):
    told = "\n".join(warnings_of(PREAMBLE + source.replace("KERNEL", KERNEL)))
    assert f"warning: {message}" in told
    assert not INTERNAL.search(told)


def test_a_warning_shows_its_line_and_what_it_notes():
    source = f"{PREAMBLE}{KERNEL} {{\n  if (x[i] = 3)\n    x[i] = 1;\n}}\n"
    (told,) = warnings_of(source)
    assert told.startswith(
        "k.metal:4:12: warning: using the result of an assignment as a condition without "
        "parentheses [-Wparentheses]\n  if (x[i] = 3)\n           ^\n"
        "k.metal:4:12: note: place parentheses around the assignment to silence this warning\n"
    )


def test_kept_results_tell_their_warnings_again():
    source = f"{PREAMBLE}{KERNEL} {{ float kept; x[i] = 1; }}"
    first = warnings_of(source)
    assert len(first) == 1
    assert warnings_of(source) == first
    assert len(compile_source(source)) > 0


@pytest.mark.parametrize("path", sorted(MSL.glob("**/*.metal")), ids=lambda path: path.stem)
def test_nothing_is_warned_of_in_what_the_rewriting_and_the_headers_add(path):
    told = []
    options = CompileOptions(standard="metal4.0")
    compile_files([path], options=options, on_warning=told.append)
    assert not [text for text in told if "-Wunused" not in text and "-Wuninit" not in text]


def test_warnings_in_an_included_file_name_that_file(tmp_path):
    (tmp_path / "inner.h").write_text("inline float g() {\n  int idle = 1;\n  return 2;\n}\n")
    source = f'{PREAMBLE}#include "inner.h"\n{KERNEL} {{ x[i] = g(); }}'
    (told,) = warnings_of(source, include_dirs=[tmp_path])
    assert told.startswith(f"{tmp_path}/inner.h:2:7: warning: unused variable 'idle'")


def test_the_command_line_prints_warnings_and_succeeds(tmp_path):
    source = tmp_path / "k.metal"
    source.write_text(f"{PREAMBLE}{KERNEL} {{ float idle = 1; x[i] = 1; }}")
    done = run_metalgen("build", source, "-o", tmp_path / "k.metallib")
    assert done.returncode == 0
    assert "k.metal:3:90: warning: unused variable 'idle' [-Wunused-variable]" in done.stderr
    assert "1 warning generated." in done.stderr


def test_a_library_compiled_from_text_tells_its_warnings_too():
    told = []
    source = f"{PREAMBLE}{KERNEL} {{ float spare = 1; x[i] = 1; }}"
    metalgen.compile_shader(source, on_warning=told.append)
    assert ["spare" in text for text in told] == [True]

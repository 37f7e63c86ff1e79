"""`metalgen build`: sources to a metallib, or to errors that say where and what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import metalgen

from metalgen.air import Metallib
from metalgen.cache import Cache
from metalgen.compiler import CompileOptions, compile_files, compile_source
from metalgen.errors import CompileError

SCALE = """#include <metal_stdlib>
using namespace metal;
kernel void scale(device float* y [[buffer(0)]], constant float& a [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  y[i] *= a;
}
"""
BROKEN = SCALE.replace("*= a", "*= missing").replace("device float* y", "device flot* y")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _use_shared_cache(shared_cache, monkeypatch):
    # Precompiling the headers takes longer than most of these tests.
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(shared_cache))


@pytest.fixture
def cache(tmp_path, monkeypatch, _use_shared_cache):
    """A cache of the test's own, empty."""
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_sources_become_one_metallib(tmp_path):
    first = write(tmp_path / "first.metal", SCALE)
    second = write(tmp_path / "second.metal", SCALE.replace("scale", "scale_again"))
    output = tmp_path / "both.metallib"
    done = metalgen("build", first, second, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{output}: 2 kernels, ")
    assert Metallib.open(output).names == ("scale", "scale_again")


def test_every_error_is_shown_with_its_line_and_a_caret(tmp_path):
    source = write(tmp_path / "broken.metal", BROKEN)
    done = metalgen("build", source, "-o", tmp_path / "x.metallib")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{source}:3:26: error: unknown type name 'flot'" in done.stderr
    assert f"{source}:5:11: error: use of undeclared identifier 'missing'" in done.stderr
    assert "  y[i] *= missing;\n          ^" in done.stderr
    assert done.stderr.endswith("2 errors generated.\n")
    assert not (tmp_path / "x.metallib").exists()


def test_errors_of_all_sources_are_shown(tmp_path):
    first = write(tmp_path / "first.metal", SCALE.replace("*= a", "*= one"))
    second = write(tmp_path / "second.metal", SCALE.replace("*= a", "*= two"))
    done = metalgen("build", first, second, "-o", tmp_path / "x.metallib")
    assert "first.metal:5:11: error: use of undeclared identifier 'one'" in done.stderr
    assert "second.metal:5:11: error: use of undeclared identifier 'two'" in done.stderr


def test_json_reports_success_and_errors(tmp_path):
    source, output = write(tmp_path / "scale.metal", SCALE), tmp_path / "x.metallib"
    report = json.loads(metalgen("build", source, "-o", output, "--json").stdout)
    assert report["ok"] is True
    assert report["kernels"] == ["scale"]
    assert report["bytes"] == output.stat().st_size
    write(source, BROKEN)
    done = metalgen("build", source, "-o", output, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["diagnostics"][1] == {
        "file": str(source),
        "line": 5,
        "column": 11,
        "severity": "error",
        "message": "use of undeclared identifier 'missing'",
    }


def test_macros_and_header_directories_are_passed_on(tmp_path):
    (tmp_path / "include").mkdir()
    write(tmp_path / "include" / "factor.h", "#define FACTOR (HALF * 2)\n")
    source = write(
        tmp_path / "scale.metal", f"#include <factor.h>\n{SCALE.replace('*= a', '*= FACTOR')}"
    )
    output = tmp_path / "x.metallib"
    done = metalgen("build", source, "-o", output, "-I", tmp_path / "include", "-DHALF=0.5f")
    assert (done.returncode, done.stderr) == (0, "")
    assert "HALF" in metalgen("build", source, "-o", output, f"-I{tmp_path}/include").stderr


def test_headers_beside_a_source_are_found(tmp_path):
    write(tmp_path / "factor.h", "#define FACTOR 2\n")
    source = write(
        tmp_path / "scale.metal", f'#include "factor.h"\n{SCALE.replace("*= a", "*= FACTOR")}'
    )
    assert metalgen("build", source, "-o", tmp_path / "x.metallib").returncode == 0


@pytest.mark.parametrize(
    ("standard", "air", "language", "macos"),
    [("metal3.1", (2, 6), (3, 1), 14), ("metal3.2", (2, 7), (3, 2), 15)],
)
def test_the_standard_decides_versions_and_macro(standard, air, language, macos):
    source = SCALE.replace("*= a", "*= __METAL_VERSION__")
    metallib = Metallib(compile_source(source, options=CompileOptions(standard=standard)))
    function = metallib.function("scale")
    assert (function.air_version, function.language_version) == (air, language)
    assert metallib.header.os_version == (macos, 0)


def test_kernels_of_one_name_in_two_sources_are_refused(tmp_path):
    sources = [write(tmp_path / f"{n}.metal", SCALE) for n in range(2)]
    with pytest.raises(CompileError, match="more than one source defines kernel scale"):
        compile_files(sources)


def test_a_missing_source_is_an_error_of_its_own(tmp_path):
    done = metalgen("build", tmp_path / "none.metal", "-o", tmp_path / "x.metallib")
    assert done.returncode == 1
    assert "none.metal: error: cannot read: No such file or directory" in done.stderr


def test_a_source_that_is_not_text_is_an_error(tmp_path):
    (tmp_path / "binary.metal").write_bytes(b"kernel \xff\xfe")
    done = metalgen("build", tmp_path / "binary.metal", "-o", tmp_path / "x.metallib")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        f"{tmp_path}/binary.metal: error: not UTF-8 at byte 7",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Missing argument"),
        (["a.metal"], "Missing option"),
        (["a.metal", "-o", "x", "-std", "metal9"], "'metal9'"),
        (["a.metal", "-o", "x", "-D", "1x"], "-D expects NAME or NAME=VALUE, found '1x'"),
        (["a.metal", "-o", "x", "--fast"], "No such option"),
    ],
)
def test_wrong_usage_says_what_was_wrong(arguments, expected):
    done = metalgen("build", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    source = write(tmp_path / "scale.metal", SCALE)
    done = metalgen("build", source, "-o", tmp_path / "none" / "x.metallib")
    assert done.returncode == 5
    expected = f"metalgen: error: {tmp_path}/none/x.metallib: No such file or directory\n"
    assert done.stderr == expected


def test_a_full_disk_leaves_the_old_output(tmp_path):
    source = write(tmp_path / "scale.metal", SCALE)
    directory = tmp_path / "out"
    directory.mkdir()
    (directory / "x.metallib").write_bytes(b"before")
    assert metalgen("build", source, "-o", tmp_path / "first").returncode == 0
    # From the cache, since a file may not grow beyond 1 KiB: writing fails half-way, as on a full
    # disk.
    limited = f"ulimit -f 1; trap '' XFSZ; exec {sys.executable} -m metalgen"
    done = subprocess.run(
        ["bash", "-c", f'{limited} build "$0" -o "$1"', source, directory / "x.metallib"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert "File too large" in done.stderr
    assert [path.name for path in directory.iterdir()] == ["x.metallib"]
    assert (directory / "x.metallib").read_bytes() == b"before"


def test_an_interrupted_build_leaves_nothing(tmp_path):
    # Enough to compile that the signal finds it busy.
    kernels = "".join(SCALE.replace("scale", f"scale{n}") for n in range(200))
    source = write(tmp_path / "many.metal", kernels)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "metalgen", "build", source, "-o", tmp_path / "out" / "x"]
    build = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while build.poll() is None and not has_children(build.pid):
        time.sleep(0.02)
    build.send_signal(signal.SIGINT)
    _, errors = build.communicate(timeout=300)
    assert (build.returncode, errors) == (130, "metalgen: interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []


INTERRUPTED = """
import runpy, signal, sys, threading

start = threading.Timer.start


def interrupted(timer):
    start(timer)
    signal.raise_signal(signal.SIGINT)


threading.Timer.start = interrupted
sys.argv = ["metalgen", "build", sys.argv[1], "-o", sys.argv[2]]
runpy.run_module("metalgen", run_name="__main__")
"""


def test_an_interrupt_while_the_compiler_starts_ends_a_build_at_once(tmp_path):
    source = write(tmp_path / "many.metal", SCALE)
    command = [sys.executable, "-c", INTERRUPTED, source, tmp_path / "x"]
    cold = {**os.environ, "METALGEN_CACHE_DIR": os.fspath(tmp_path / "cache")}
    build = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env=cold
    )
    assert (build.returncode, build.stderr) == (130, "metalgen: interrupted\n")
    assert not (tmp_path / "x").exists()


def has_children(process: int) -> bool:
    """Whether a process has started another: of a build, the compiler."""
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, check=False)
    return found.returncode == 0


def test_a_cache_that_cannot_be_written_to_is_only_a_warning(tmp_path):
    source = write(tmp_path / "scale.metal", SCALE)
    done = metalgen(
        "build",
        source,
        "-o",
        tmp_path / "x.metallib",
        environment={"METALGEN_CACHE_DIR": os.fspath(source)},
    )
    assert done.returncode == 0
    assert done.stderr.startswith("metalgen: warning: compiling without a cache: cannot write to")
    assert done.stderr.count("\n") == 1


def test_compiling_again_takes_the_result_from_the_cache(cache):
    first = compile_source(SCALE)
    (stored,) = [path for path in cache.directory.glob("?/*") if path.is_file()]
    before = stored.stat().st_ino
    assert compile_source(SCALE) == first
    assert cache.use().entries == 1 + len(list(cache.directory.glob("*.pch")))
    assert stored.stat().st_ino == before


def test_whatever_differs_is_compiled_anew(cache):
    changes = [
        {},
        {"options": CompileOptions(math="safe")},
        {"options": CompileOptions(standard="metal3.1")},
        {"options": CompileOptions(untrusted=True)},
        {"defines": {"UNUSED": "1"}},
        {"name": "other.metal"},
    ]
    for number, change in enumerate(changes):
        compile_source(SCALE, **change)
        assert len(list(cache.directory.glob("?/*"))) == number + 1


def test_errors_are_not_cached(cache):
    for _ in range(2):
        with pytest.raises(CompileError, match="flot"):
            compile_source(BROKEN)
    assert list(cache.directory.glob("?/*")) == []


def test_a_changed_header_is_compiled_anew(tmp_path):
    header = write(tmp_path / "kernel_name.h", "#define NAME scale_one\n")
    source = f'#include "kernel_name.h"\n{SCALE.replace("scale", "NAME")}'
    assert Metallib(compile_source(source, include_dirs=[tmp_path])).names == ("scale_one",)
    write(header, "#define NAME scale_two\n")
    assert Metallib(compile_source(source, include_dirs=[tmp_path])).names == ("scale_two",)

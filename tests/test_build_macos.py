"""How a build on macOS chooses its Metal compiler: CMake's part, with stand-ins for xcrun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metalgen import resources
from metalgen.errors import ToolchainError

ROOT = Path(__file__).parents[1]
XCODE_26 = '#!/bin/sh\necho "Apple metal version 32023.850"\n'
XCODE_16 = """#!/bin/sh
case "$*" in
  *metal4.0*) echo "error: invalid value 'metal4.0' in '-std=metal4.0'" >&2; exit 1 ;;
esac
echo "Apple metal version 32023.404"
"""
NO_TOOLCHAIN = """#!/bin/sh
echo "xcrun: note: ignored" >&2
echo "error: cannot execute tool 'metal' due to missing Metal Toolchain" >&2
exit 1
"""


@pytest.fixture
def configure(tmp_path):
    """Runs the build's choice as on macOS, with a script in the place of xcrun."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not on PATH")
    script = tmp_path / "choose.cmake"
    script.write_text(
        f'set(APPLE TRUE)\ninclude("{ROOT}/cmake/MetalCompiler.cmake")\n'
        'message(STATUS "chosen: ${METAL_STANDARDS}")\n'
    )

    def run(xcrun: str | None, **environment: str) -> subprocess.CompletedProcess[str]:
        tools = tmp_path / "bin"
        tools.mkdir(exist_ok=True)
        if xcrun is not None:
            (tools / "xcrun").write_text(xcrun)
            (tools / "xcrun").chmod(0o755)
        return subprocess.run(
            [cmake, "-P", str(script)],
            env={"PATH": str(tools), **environment},
            capture_output=True,
            text=True,
        )

    return run


def test_xcode_26_makes_both_metallibs(configure):
    assert "chosen: metal3.1;metal4.0" in configure(XCODE_26).stdout


def test_an_older_xcode_makes_the_one_it_can_and_says_so(configure):
    done = configure(XCODE_16)
    assert "chosen: metal3.1\n" in done.stdout
    assert "it needs Xcode 26" in done.stdout


def test_a_missing_metal_toolchain_stops_the_build_with_its_remedies(configure):
    done = configure(NO_TOOLCHAIN)
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "cannot execute tool 'metal' due to missing Metal Toolchain" in said
    assert "xcodebuild -downloadComponent MetalToolchain" in said
    assert "METALGEN_COMPILER=clang pip install" in said


def test_a_mac_without_xcrun_stops_the_build_too(configure):
    done = configure(None)
    assert done.returncode != 0
    assert "There is no Metal compiler (xcrun metal: No such file" in done.stderr


def test_metalgens_own_compiler_is_used_only_when_asked_for_and_said_to_be(configure):
    done = configure(None, METALGEN_COMPILER="clang")
    assert done.returncode == 0
    assert "chosen: metal3.1;metal4.0" in done.stdout
    assert "made by metalgen's own compiler, not by Apple's" in done.stderr


def make(tmp_path, standard, **environment):
    source = tmp_path / "a.metal"
    source.write_text("kernel void f(device float* y [[buffer(0)]]) { y[0] = 1; }\n")
    output = tmp_path / f"lib-{standard}.metallib"
    command = [sys.executable, "-m", "metalgen.compiler", str(source)]
    done = subprocess.run(
        [*command, "--standard", standard, "--signed", "-o", str(output)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return output, json.loads(output.with_suffix(".json").read_text())


def test_a_metallib_of_metalgens_own_compiler_is_marked(tmp_path):
    output, maker = make(tmp_path, "metal4.0")
    assert maker["standard"] == "metal4.0"
    assert maker["compiler"].startswith("metalgen's own (clang of ziglang")
    assert output.read_bytes()[:4] == b"MTLB"


def test_a_metallib_of_apples_compiler_is_marked_as_apples(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "xcrun").write_text(
        "#!/bin/sh\n"
        'case "$*" in *--version*) echo "Apple metal version 7 (metalfe-7)"; exit ;; esac\n'
        'while [ "$1" != -o ]; do shift; done\n'
        'echo made > "$2"\n'
    )
    (tools / "xcrun").chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    _, maker = make(tmp_path, "metal3.1", PATH=path, METALGEN_COMPILER="xcrun")
    assert maker == {
        "compiler": "Apple's (Apple metal version 7 (metalfe-7))",
        "standard": "metal3.1",
    }


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installation with the given files in its data directory."""

    def install(macos: str, *names: str):
        for name in names:
            (tmp_path / name).touch()
        monkeypatch.setattr(resources, "_data_directories", lambda: iter([tmp_path]))
        monkeypatch.setattr(sys, "platform", "darwin" if macos else "linux")
        monkeypatch.setattr(resources.platform, "mac_ver", lambda: (macos, ("", "", ""), "arm64"))

    return install


BOTH = ("metalgen-metal3.1.metallib", "metalgen-metal4.0.metallib")


@pytest.mark.parametrize(
    ("macos", "names", "chosen"),
    [
        ("14.5", BOTH, "metalgen-metal3.1.metallib"),
        ("15.1", BOTH, "metalgen-metal3.1.metallib"),
        ("26.1", BOTH, "metalgen-metal4.0.metallib"),
        ("26.1", BOTH[:1], "metalgen-metal3.1.metallib"),
        ("", BOTH, "metalgen-metal3.1.metallib"),
    ],
)
def test_the_operating_system_chooses_the_metallib(installed, macos, names, chosen):
    installed(macos, *names)
    assert resources.metallib().name == chosen


def test_an_installation_without_metallibs_says_so(installed):
    installed("26.0")
    with pytest.raises(ToolchainError, match=r"without metalgen-metal3.1.metallib"):
        resources.metallib()

"""The wheel by itself: everything it needs is inside, and its kernels run without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.thorough  # half a minute: .ci/run has it


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel, built and installed into a directory of its own."""
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation"]
    build += ["--wheel-dir", str(directory), "-Cbuild-dir=" + str(directory / "build")]
    subprocess.run(build, check=True, timeout=1500)
    (wheel,) = directory.glob("metalgen-*.whl")
    target = directory / "installed"
    install = [*pip, "install", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, timeout=600)
    return target


def run(unpacked, code):
    """Runs `code` with the unpacked wheel, without a PATH and without the compiler's package."""
    installed = Path(sysconfig.get_paths()["purelib"])
    environment = {
        "PYTHONPATH": os.pathsep.join([str(unpacked), str(installed)]),
        "PATH": "",
        "HOME": str(unpacked / "home"),
    }
    # -S: no site, so that an editable install of metalgen is not found instead.
    command = [sys.executable, "-S", "-c", f"import sys; sys.modules['ziglang'] = None\n{code}"]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_wheel_carries_its_kernels_templates_and_sources(unpacked):
    code = """
from metalgen import resources
print(resources.metallib(), resources.templates(), resources.metal_sources())
"""
    paths = [Path(path) for path in run(unpacked, code)]
    assert all(unpacked in path.parents and path.exists() for path in paths)
    names = {path.name for path in (ROOT / "metal").iterdir()}
    assert {path.name for path in paths[2].iterdir()} == names


def test_the_ops_of_the_wheel_run_without_a_compiler(unpacked):
    code = """
import torch, metalgen
a, b = torch.randn(40, 30), torch.randn(30, 20)
torch.testing.assert_close(metalgen.ops.fused_gemm(a, b, activation="relu"), (a @ b).relu())
print(metalgen.__file__, *(name for name in sys.modules if name.startswith("metalgen.compiler")))
"""
    assert run(unpacked, code) == [str(unpacked / "metalgen" / "__init__.py")]
    made = [path for path in (unpacked / "home").rglob("*") if path.suffix in (".zip", ".pch")]
    assert made == [], "the wheel had to build something that it should carry"

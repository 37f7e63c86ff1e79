"""`metalgen doctor`: what it finds here, what it finds broken, and what it advises."""

from __future__ import annotations

import contextlib
import io
import json
import sys

import pytest
from apple.soft_mps import on_soft_mps
from command_line import metalgen

NAMES = [
    "system",
    "Xcode",
    "compiler",
    "torch",
    "native core",
    "kernel library",
    "software device",
    "Apple GPU",
]


def findings(done):
    return {found["name"]: found for found in json.loads(done.stdout)}


def test_everything_is_examined_and_what_works_is_said_to():
    done = metalgen("doctor", "--json")
    found = findings(done)
    assert list(found) == NAMES
    assert "agrees with PyTorch" in found["software device"]["detail"]
    if sys.platform == "linux":
        assert done.returncode == 0, done.stdout
        assert found["Apple GPU"]["outcome"] == "absent"


def test_people_read_one_line_a_finding():
    lines = metalgen("doctor").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines if not line.startswith(" ")] == NAMES


def test_a_broken_device_is_reported_in_its_own_words():
    done = metalgen("doctor", "--json", environment={"METALGEN_NUM_THREADS": "none"})
    assert done.returncode == 5
    found = findings(done)["software device"]
    assert found["outcome"] == "failed"
    assert "METALGEN_NUM_THREADS is 'none'" in found["detail"]


@pytest.mark.parametrize(
    ("module", "finding", "remedy"),
    [
        ("torch", "torch", "pip install 'torch>=2.7'"),
        ("ziglang", "compiler", "pip install 'ziglang>=0.17,<0.18'"),
    ],
)
def test_a_missing_package_comes_with_its_remedy(tmp_path, module, finding, remedy):
    (tmp_path / f"{module}.py").write_text(f"raise ImportError('No module named {module}')")
    done = metalgen("doctor", "--json", environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 5, done.stdout + done.stderr
    found = findings(done)
    assert list(found) == NAMES
    assert found[finding]["outcome"] == "failed"
    assert found[finding]["remedy"] == remedy


@on_soft_mps
def test_a_gpu_is_held_against_pytorch_with_and_without_copies():
    from metalgen.cli.doctor import doctor

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        doctor(as_json=True)
    found = {finding["name"]: finding for finding in json.loads(printed.getvalue())}
    assert found["Apple GPU"]["outcome"] == "ok"
    assert found["Apple GPU"]["detail"].startswith(
        "Software Metal (Apple9, Metal 3): agrees with PyTorch"
    )
    assert "us through copies" in found["Apple GPU"]["detail"]

"""What all commands share: help, versions, exit statuses, and errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from command_line import metalgen


def test_help_lists_the_commands_and_the_exit_statuses():
    done = metalgen("--help")
    assert done.returncode == 0
    for expected in ("build", "inspect", "devices", "generate", "Exit status: 0 done", "--version"):
        assert expected in done.stdout


def test_help_needs_none_of_the_slow_libraries():
    check = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "import metalgen.cli\n"
        "try: metalgen.cli.main()\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'numpy', 'llvmlite', 'openai', 'pydantic', 'jinja2'}\n"
        "sys.exit(', '.join(slow & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_that_of_the_package():
    assert metalgen("--version").stdout == "metalgen 0.1.0\n"


def test_no_arguments_show_the_help():
    assert "Usage: metalgen" in metalgen().stdout


def test_an_unknown_command_is_wrong_usage():
    done = metalgen("bild")
    assert done.returncode == 2
    assert "No such command 'bild'" in done.stderr


def test_devices_lists_at_least_the_software_device():
    done = metalgen("devices", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cpu" in [device["tensors"] for device in json.loads(done.stdout)]
    assert "for tensors on cpu" in metalgen("devices").stdout


def test_the_cache_is_shown_and_cleared(tmp_path):
    environment = {"METALGEN_CACHE_DIR": str(tmp_path / "cache")}
    source = tmp_path / "nothing.metal"
    source.write_text("kernel void nothing() {}")
    metalgen("build", source, "-o", tmp_path / "x.metallib", environment=environment)
    held = json.loads(metalgen("cache", "--json", environment=environment).stdout)
    assert held["directory"] == str(tmp_path / "cache")
    assert held["entries"] >= 1
    cleared = json.loads(metalgen("cache", "--clear", "--json", environment=environment).stdout)
    assert (cleared["entries"], cleared["cleared"]) == (held["entries"], True)
    assert " 0 entries" in metalgen("cache", environment=environment).stdout


@pytest.mark.parametrize(
    ("command", "lost"), [("devices", "metalgen.device"), ("inspect", "metalgen.cli.inspect")]
)
def test_an_unexpected_error_is_one_line_that_tells_how_to_see_more(tmp_path, command, lost):
    """A command breaks in a way nobody thought of: while it runs, or before, while it loads."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{lost!r}] = None")
    environment = {"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}
    done = metalgen(command, environment=environment)
    assert done.returncode == 70
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("metalgen: internal error: ModuleNotFoundError: ")
    shown = metalgen(command, environment={**environment, "METALGEN_TRACEBACK": "1"})
    assert "Traceback (most recent call last)" in shown.stderr

"""Captures on a Mac, as far as can be tested elsewhere: scripts, arguments, what goes wrong."""

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from metalgen.errors import ToolchainError, UnsupportedError
from metalgen.profile import Profile
from metalgen.profile.gputrace import (
    capture,
    capture_environment,
    capture_folder,
    require_capture,
)
from metalgen.profile.on_a_mac import with_capture
from metalgen.profile.xcode import VIEWS, quoted, screenshots, script

PNG = b"\x89PNG\r\n\x1a\n"


def stand_in(folder, body):
    """An osascript that reads the script into a file and then does as told."""
    path = folder / "osascript"
    path.write_text(f"#!/bin/sh\n[ \"$1\" = - ] || exit 9\ncat > '{folder}/script'\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# Writes a PNG to every file that the script would have screencapture write.
TAKES_PICTURES = r"""
grep -o 'quoted form of "[^"]*"' SCRIPT | sed 's/.*"\(.*\)"/\1/' | while read -r file; do
  printf '\211PNG\r\n\032\n' > "$file"
done
"""


def test_every_view_becomes_a_picture(tmp_path):
    osascript = stand_in(tmp_path, TAKES_PICTURES.replace("SCRIPT", f"'{tmp_path}/script'"))
    pictures = screenshots(tmp_path / "run.gputrace", osascript=osascript)
    assert [picture.name for picture in pictures] == [view.name for view in VIEWS]
    assert all(picture.png.startswith(PNG) for picture in pictures)
    text = (tmp_path / "script").read_text()
    assert f'set tracePath to "{tmp_path.resolve()}/run.gputrace"' in text
    assert all(f'"{view.label}"' in text for view in VIEWS)


def test_names_with_quotes_and_backslashes_stay_strings():
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    text = script(Path('/tmp/a"b.gputrace'), {VIEWS[0]: Path("/tmp/x y.png")})
    assert '"/tmp/a\\"b.gputrace"' in text
    assert '"/tmp/x y.png"' in text


def test_every_tell_and_repeat_of_the_script_is_closed():
    text = script(Path("run.gputrace"), {view: Path(f"/tmp/{view.name}.png") for view in VIEWS})
    lines = [line.strip() for line in text.splitlines()]
    for word in ("tell", "repeat", "try"):
        opened = [
            line for line in lines
            if line.split(" ")[0] == word and not (word == "tell" and _is_whole(line))
        ]  # fmt: skip
        assert len(opened) == lines.count(f"end {word}"), word


def _is_whole(line):
    """Whether a tell says all on its line; `tell a to tell b` opens a block."""
    last = line.rsplit("tell ", 1)[-1]
    return " to " in last


@pytest.mark.parametrize(
    ("stderr", "remedy"),
    [
        ("System Events got an error: not allowed assistive access. (-25211)", "Accessibility"),
        ("Not authorized to send Apple events to Xcode. (-1743)", "Automation"),
        ("Can't get application Xcode. (-1728)", "install Xcode"),
        ("no window shows the trace (1001)", "by hand"),
        ("something else (-50)", "something else"),
    ],
)
def test_what_applescript_refuses_comes_with_its_remedy(tmp_path, stderr, remedy):
    osascript = stand_in(tmp_path, f'echo "{stderr}" >&2; exit 1')
    with pytest.raises(ToolchainError, match=remedy) as raised:
        screenshots(tmp_path / "run.gputrace", osascript=osascript)
    assert "\n" not in str(raised.value)


def test_a_run_without_pictures_and_one_with_broken_ones_are_refused(tmp_path):
    with pytest.raises(ToolchainError, match="showed none of Summary"):
        screenshots(tmp_path / "run.gputrace", osascript=stand_in(tmp_path, "true"))


def test_without_osascript_there_are_no_pictures():
    with pytest.raises(UnsupportedError, match="need a Mac"):
        screenshots(Path("run.gputrace"), osascript="/nowhere/osascript")


def test_a_capture_needs_a_mac_and_a_process_that_may(monkeypatch):
    with pytest.raises(UnsupportedError, match="needs a Mac"):
        require_capture({})
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UnsupportedError, match="MTL_CAPTURE_ENABLED=1"):
        require_capture({})
    require_capture(capture_environment({}))
    assert capture_environment({"A": "b"}) == {"A": "b", "MTL_CAPTURE_ENABLED": "1"}
    assert capture_folder({}) is None
    assert capture_folder({"METALGEN_CAPTURE": "traces"}) == Path("traces")


@pytest.fixture
def on_a_mac(monkeypatch, tmp_path):
    """A process that may capture, as far as torch and Metal need not be there."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("MTL_CAPTURE_ENABLED", "1")
    monkeypatch.setattr(torch.mps, "synchronize", lambda: None)
    monkeypatch.chdir(tmp_path)


def test_a_capture_is_taken_around_the_work(on_a_mac, monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(torch.mps.profiler, "metal_capture", metal_capture(done))
    trace = capture(tmp_path / "runs" / "one.gputrace", lambda: done.append("work"))
    assert done == ["begin", "work", "end"]
    assert trace.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def metal_capture(done):
    """In place of torch's: makes the folder that Metal would, named as libtorch_cpu.dylib does."""

    @contextmanager
    def captured(name):
        done.append("begin")
        yield
        done.append("end")
        Path(f"0000-{name}.gputrace").mkdir()

    return captured


def test_a_profile_gets_xcodes_pictures_or_the_reason_why_not(on_a_mac, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.mps.profiler, "metal_capture", metal_capture([]))
    stand_in(tmp_path, TAKES_PICTURES.replace("SCRIPT", f"'{tmp_path}/script'"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = with_capture(Profile("text\n"), lambda: None, tmp_path / "kept")
    assert [p.name for p in found.pictures] == [f"xcode-{view.name}" for view in VIEWS]
    assert "Xcode's views of a capture" in found.text
    assert (tmp_path / "kept" / "candidate.gputrace").is_dir()
    stand_in(tmp_path, "echo 'no window shows the trace (1001)' >&2; exit 1")
    without = with_capture(Profile("text\n"), lambda: None, tmp_path / "kept")
    assert without.pictures == ()
    assert "No pictures from Xcode: Xcode cannot be driven" in without.text


def test_a_capture_that_fails_is_one_line(on_a_mac, monkeypatch, tmp_path):
    def refuse(name):
        raise RuntimeError("Metal capture is not enabled\nstack")

    monkeypatch.setattr(torch.mps.profiler, "metal_capture", refuse)
    with pytest.raises(ToolchainError, match=r"not enabled$"):
        capture(tmp_path / "one.gputrace", lambda: None)
    with pytest.raises(UnsupportedError, match=r"ends in \.gputrace"):
        capture(tmp_path / "one.trace", lambda: None)


def test_the_stand_in_is_called_as_osascript_is(tmp_path):
    path = stand_in(tmp_path, "true")
    assert subprocess.run([path, "file"], check=False, stdin=subprocess.DEVNULL).returncode == 9

"""Times on disk: found again by other processes, whatever becomes of the file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from metalgen import kept_times
from metalgen.kept_times import KeptTimes, Time, kept_path


def test_what_one_process_measured_another_finds(tmp_path):
    path = tmp_path / "times.json"
    program = (
        "import sys, pathlib; from metalgen.kept_times import KeptTimes, Time\n"
        "kept = KeptTimes(pathlib.Path(sys.argv[1]), 'v1')\n"
        "kept.keep('M3', 'gelu', '4x8', {'templates': Time(3.5)}); kept.save()"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=120)
    kept = KeptTimes(path, "v1")
    assert kept.times("M3", "gelu", "4x8") == {"templates": Time(3.5)}
    assert kept.times("M2", "gelu", "4x8") == {}
    assert kept.times("M3", "gelu", "8x8") == {}


def test_two_who_write_the_same_file_keep_both_their_times(tmp_path):
    first, second = (KeptTimes(tmp_path / "times.json", "v1") for _ in range(2))
    first.keep("M3", "gelu", "4", {"aten": Time(1.0)})
    second.keep("M3", "gelu", "4", {"templates": Time(2.0)})
    first.save()
    second.save()
    read = KeptTimes(tmp_path / "times.json", "v1")
    assert read.times("M3", "gelu", "4") == {"aten": Time(1.0), "templates": Time(2.0)}


def test_a_prediction_does_not_replace_what_was_measured_but_the_reverse(tmp_path):
    kept = KeptTimes(tmp_path / "times.json", "v1")
    for time in (Time(9.0, is_measured=False), Time(5.0), Time(1.0, is_measured=False)):
        kept.keep("M3", "gelu", "4", {"templates": time})
    assert kept.times("M3", "gelu", "4") == {"templates": Time(5.0)}


def test_times_of_another_version_are_passed_over_in_silence(tmp_path):
    path = tmp_path / "times.json"
    old = KeptTimes(path, "v1")
    old.keep("M3", "gelu", "4", {"aten": Time(1.0)})
    old.save()
    assert KeptTimes(path, "v2").all() == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": "v1"}', '{"version": "v1", "devices": {"M3": {"a": 1}}}', ""]
)
def test_a_damaged_file_is_passed_over_with_a_warning_and_written_anew(tmp_path, text):
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.warns(RuntimeWarning, match="damaged and passed over"):
        kept = KeptTimes(path, "v1")
    kept.keep("M3", "gelu", "4", {"aten": Time(1.0)})
    with pytest.warns(RuntimeWarning, match="damaged and passed over"):
        kept.save()
    assert KeptTimes(path, "v1").times("M3", "gelu", "4") == {"aten": Time(1.0)}


def test_a_directory_that_cannot_be_written_to_only_warns(tmp_path):
    (tmp_path / "file").write_text("")
    kept = KeptTimes(tmp_path / "file" / "times.json", "v1")
    kept.keep("M3", "gelu", "4", {"aten": Time(1.0)})
    with pytest.warns(RuntimeWarning, match="measured times are not kept"):
        kept.save()
    assert kept.times("M3", "gelu", "4") == {"aten": Time(1.0)}


def test_the_file_is_bounded_and_the_oldest_leave_first(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_times, "LIMIT", 2)
    kept = KeptTimes(tmp_path / "times.json", "v1")
    for name in ("old", "used", "new"):
        kept.keep("M3", name, "4", {"aten": Time(1.0)})
        kept.keep("M3", "used", "4", {"aten": Time(1.0)})
    kept.save()
    subjects = json.loads((tmp_path / "times.json").read_text())["devices"]["M3"]
    assert set(subjects) == {"used", "new"}


def test_one_device_is_forgotten_alone(tmp_path):
    kept = KeptTimes(tmp_path / "times.json", "v1")
    for device in ("M2", "M3"):
        kept.keep(device, "gelu", "4", {"aten": Time(1.0)})
    kept.save()
    assert kept.forget("M2") == 1
    read = KeptTimes(tmp_path / "times.json", "v1")
    assert [device for device, *_ in read.all()] == ["M3"]
    assert kept.forget() == 1


def test_the_directory_of_times_can_be_another_than_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path / "cache"))
    assert kept_path("tuned").parent != tmp_path / "cache"
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path / "times"))
    assert kept_path("tuned") == tmp_path / "times" / "tuned.json"
    monkeypatch.delenv("METALGEN_TIMES_DIR")
    assert kept_path("tuned") == tmp_path / "cache" / "tuned.json"

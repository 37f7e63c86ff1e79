"""`metalgen choices`: what it lists and forgets."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from metalgen import kept_times
from metalgen.cli.app import make_app
from metalgen.kept_times import Time
from metalgen.ops import winners
from metalgen.optimize.means import kept_choices


@pytest.fixture
def choices(monkeypatch, tmp_path):
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path))
    winners.forget()

    def run(*arguments):
        command = ["choices", *arguments]
        done = CliRunner().invoke(make_app(command), command)
        assert done.exit_code == 0, done.output
        return done.output

    yield run
    winners.forget()


def keep_some() -> None:
    winners.keep("Apple M3", "gemm", "float16", (512, 512, 512), {"tiles": Time(9.0)})
    kept = kept_choices()
    kept.keep("Apple M3", "0123", "float32 4x8", {"aten": Time(5.0), "templates 7": Time(3.0)})
    kept.keep("Apple M1", "4567", "float32 4x8", {"aten": Time(2.0, is_measured=False)})
    kept.save()
    kept_times.close_all()  # as the next process begins


def test_what_is_kept_is_listed_by_device(choices):
    assert choices() == "nothing was measured yet\n"
    keep_some()
    listed = choices()
    assert "Apple M3, operations\n  gemm float16  512x512x512: tiles 9.0 us\n" in listed
    assert "Apple M3, regions\n  0123  float32 4x8: templates 7 3.0 us, aten 5.0 us\n" in listed
    assert "aten 2.0 us predicted" in listed
    found = json.loads(choices("--json", "--device", "Apple M1"))
    assert [each["times"] for each in found] == [{"aten": {"us": 2.0, "measured": False}}]


def test_one_device_or_all_can_be_forgotten(choices):
    keep_some()
    assert choices("--forget", "--device", "Apple M3") == "forgot 2 subjects\n"
    assert "Apple M3" not in choices()
    assert json.loads(choices("--forget", "--json")) == {"forgotten": 1}
    kept_times.close_all()
    assert choices() == "nothing was measured yet\n"

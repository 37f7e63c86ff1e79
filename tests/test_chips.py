"""The data base of Apple's GPUs: complete, sourced, found by every name a user may type."""

import json
import os
import stat

import pytest
from typer.testing import CliRunner

from metalgen.chips import all_chips, find_chip, recognise, sources
from metalgen.chips.this_mac import chip_of, gpu_cores
from metalgen.cli.app import make_app
from metalgen.errors import UnsupportedError

M_SERIES = [f"M{n}{kind}" for n in range(1, 6) for kind in ("", " Pro", " Max")]
A_SERIES = ["A14", "A15", "A16", "A17 Pro", "A18", "A18 Pro", "A19", "A19 Pro"]


def figures(chip):
    for holder in (chip, chip.family):
        for name in type(holder).model_fields:
            figure = getattr(holder, name)
            if hasattr(figure, "source"):
                yield name, figure


@pytest.mark.parametrize("name", [*M_SERIES, *A_SERIES, "M1 Ultra", "M2 Ultra", "M3 Ultra"])
def test_every_chip_from_a14_to_m5_is_known(name):
    assert find_chip(name).name == name


@pytest.mark.parametrize("chip", all_chips(), ids=lambda chip: chip.title)
def test_every_figure_has_a_source_that_is_listed(chip):
    named = dict(figures(chip))
    assert {figure.source for figure in named.values()} <= sources().keys()
    assert {"cores", "fp32_per_cycle", "simdgroup_matrix"} <= named.keys()


def test_every_source_is_used():
    used = {figure.source for chip in all_chips() for _, figure in figures(chip)}
    unused = {key for key in sources() if key not in used}
    assert unused <= {"chips-and-cheese-m1", "metal-benchmarks"}  # of the rates


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("M3 Max", "M3 Max (40 cores)"),
        ("m3max", "M3 Max (40 cores)"),
        ("M3Max-30", "M3 Max (30 cores)"),
        ("Apple M1", "M1 (8 cores)"),
        ("a19pro", "A19 Pro (6 cores)"),
    ],
)
def test_a_chip_is_found_however_it_is_written(text, title):
    assert find_chip(text).title == title


def test_an_unknown_chip_is_refused_with_the_known_ones():
    with pytest.raises(UnsupportedError, match=r"no chip 'M99'; known are A14, .*M3 Max"):
        find_chip("M99")


def test_a_device_is_recognised_by_metals_name_and_its_cores():
    assert recognise("Apple M2 Pro", 16).title == "M2 Pro (16 cores)"
    assert recognise("Apple M2 Pro").title == "M2 Pro (19 cores)"
    assert recognise("Apple A17 Pro GPU").name == "A17 Pro"
    assert recognise("Apple M2", 7).title == "M2 (7 cores)"  # a count that no source has
    assert recognise("software device (2 threads)") is None
    assert recognise("Apple M77") is None


def test_binnings_differ_in_what_the_sources_say_differs():
    assert find_chip("M3 Max 30").bandwidth.value == 300
    assert find_chip("M3 Max 40").bandwidth.value == 400
    assert find_chip("M5 Max 32").bandwidth is None  # no source gives it


def test_peaks_agree_with_what_others_publish():
    assert find_chip("M1").fp32_tflops == pytest.approx(2.617, abs=0.01)
    assert find_chip("A14").fp32_tflops == pytest.approx(0.654, abs=0.01)
    assert find_chip("A14").fp16_tflops == pytest.approx(1.309, abs=0.01)
    assert find_chip("M5 Max").fp32_tflops is None  # its clock is unknown


def test_the_gpus_cores_are_read_from_the_io_registry(tmp_path, monkeypatch):
    stand_in = tmp_path / "ioreg"
    stand_in.write_text(
        '#!/bin/sh\n[ "$2" = AGXAccelerator ] && echo \'  "gpu-core-count" = 14\'\n'
    )
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert gpu_cores() == 14
    assert chip_of("Apple M1 Pro").title == "M1 Pro (14 cores)"
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    assert gpu_cores() is None
    assert chip_of("Apple M1 Pro").title == "M1 Pro (16 cores)"


def run(*arguments):
    return CliRunner().invoke(make_app(arguments), list(arguments))


def test_the_list_names_every_chip_and_shows_gaps_as_gaps():
    done = run("chips")
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in (*M_SERIES, *A_SERIES))
    line = next(line for line in done.output.splitlines() if line.startswith("M5 Max"))
    assert "?" in line
    assert run("devices", "--chips").output == done.output


def test_one_chip_is_shown_with_the_source_of_each_figure():
    done = run("chips", "M4Max")
    assert "546" in done.output
    assert "second hand" in done.output
    assert "unknown" in done.output
    (plain,) = json.loads(run("chips", "M4Max", "--json").output)
    assert plain["bandwidth"] == {"value": 546, "source": "apple-m4"}
    assert plain["sources"]["apple-m4"]["kind"] == "apple"
    assert plain["slc_mib"] is None


def test_an_unknown_name_is_one_line():
    done = run("chips", "M99")
    assert done.exit_code != 0
    assert done.stderr.count("\n") == 1

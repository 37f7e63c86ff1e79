"""`metalgen tune`: what it prints, keeps and refuses."""

import json

import pytest
from typer.testing import CliRunner

from metalgen.cli.app import make_app
from metalgen.ops import winners


@pytest.fixture
def tune(monkeypatch, tmp_path):
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path))
    winners.forget()

    def run(*arguments):
        command = ["tune", *arguments]
        return CliRunner().invoke(make_app(command), command)

    yield run
    winners.forget()


def test_tuning_prints_every_variant_and_keeps_the_first(tune):
    found = tune("selective_scan", "--shape", "40", "--rounds", "1")
    assert found.exit_code == 0, found.output
    head, *variants, kept = found.output.splitlines()
    assert head.startswith("selective_scan 40 float32, measured on software")
    assert len(variants) == 3
    assert kept == f"kept {variants[0].split()[0]}"


def test_a_chip_that_is_not_here_is_predicted_and_said_to_be(tune):
    found = tune("softmax", "--shape", "512", "--chip", "M2", "--json")
    told = json.loads(found.output)
    assert told["device"].startswith("M2")
    assert told["measured"] is False
    assert all(us > 0 for us in told["us"].values())


def test_without_a_kernel_all_are_listed_with_their_parameters(tune):
    listed = json.loads(tune("--json").output)
    assert listed["gemm"]["shape"] == ["m", "n", "k"]
    assert "splits" in listed["gemm"]["parameters"]
    assert "--shape mxnxk" in tune().output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gem",), "no kernel family 'gem'"),
        (("gemm",), "expected --shape mxnxk, such as 512x512x512"),
        (("gemm", "--shape", "4x4"), "in whole numbers, found '4x4'"),
        (("rows", "--shape", "4", "--dtype", "int8"), "expected one of float32"),
        (("rows", "--shape", "4", "--device", "cuda"), "expected a device of cpu"),
        (("rows", "--shape", "4", "--chip", "M99"), "no chip 'M99'"),
        (("rows", "--shape", "0"), "all above 0, found 0"),
    ],
)
def test_wrong_requests_get_one_clear_line(tune, arguments, message):
    found = tune(*arguments)
    assert found.exit_code != 0
    assert message in " ".join(found.output.replace("│", " ").split())

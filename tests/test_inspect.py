"""`metalgen inspect`: what the kernels of a metallib look like, for people and for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from air_modules import assemble, some_kernel
from apple_metallib import apple_metallib
from command_line import metalgen

from metalgen.air import Argument, Field, KernelInfo, Metallib, write_metallib
from metalgen.cli.describe import attributes, declaration, line, members


@pytest.fixture(scope="module")
def metallib(tmp_path_factory):
    path = tmp_path_factory.mktemp("inspect") / "kernels.metallib"
    names = ("scale", "scale_rows", "odd name: \u2192 \U0001f600")
    path.write_bytes(write_metallib([assemble(some_kernel(name)) for name in names]))
    return path


def buffer(**properties) -> Argument:
    return Argument(
        **{
            "position": 0,
            "name": "x",
            "kind": "buffer",
            "index": 2,
            "type_name": "float",
            "type_size": 4,
            "address_space": "device",
            "access": "read_write",
            **properties,
        }
    )


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (buffer(), "device float* x"),
        (buffer(access="read"), "device const float* x"),
        (buffer(address_space="constant", access="read"), "constant float* x"),
        (buffer(is_reference=True), "device float& x"),
        (buffer(is_reference=True, array_length=3), "device float (&x)[3]"),
        (buffer(kind="threadgroup", address_space="threadgroup"), "threadgroup float* x"),
        (
            buffer(kind="texture", type_name="texture2d<float, sample>"),
            "texture2d<float, sample> x",
        ),
    ],
)
def test_arguments_are_declared_as_in_metal(argument, expected):
    assert declaration(argument) == expected


def test_attributes_are_written_as_in_metal():
    assert attributes(buffer()) == "[[buffer(2)]]"
    assert attributes(buffer(condition="has_x")) == "[[buffer(2), function_constant(has_x)]]"
    position = buffer(kind="builtin", builtin="thread_position_in_grid", index=None)
    assert attributes(position) == "[[thread_position_in_grid]]"


def test_members_of_structs_are_listed_with_their_own():
    inner = Field("elements", "float", 0, 8, 32, resource=buffer(name="elements"))
    outer = Field("lists", "metal::array", 16, 256, fields=(inner,))
    assert list(members((outer, Field("n", "uint", 272, 4, 2)))) == [
        (0, 16, "metal::array lists"),
        (1, 0, "device float* elements[32]"),
        (0, 272, "uint n[2]"),
    ]


def test_a_line_says_all_that_a_caller_needs():
    assert line(some_kernel()) == (
        "scale  (device float* x, constant Parameters& parameters, threadgroup half* scratch)  "
        "at most 256 threads  constants bool is_causal (20)"
    )
    assert line(KernelInfo("nothing", threadgroup_bytes=64)) == "nothing  ()  threadgroup 64 B"


def test_every_kernel_has_a_line(metallib):
    done = metalgen("inspect", metallib)
    assert (done.returncode, done.stderr) == (0, "3 of 3 kernels\n")
    names = [shown.split("  ")[0] for shown in done.stdout.splitlines()]
    assert names == ["scale", "scale_rows", "odd name: \u2192 \U0001f600"]


def test_a_pattern_selects_kernels(metallib):
    done = metalgen("inspect", metallib, "--grep", "_rows$")
    assert done.stdout.startswith("scale_rows  (")
    assert done.stderr == "1 of 3 kernels\n"


def test_one_kernel_is_shown_with_everything(metallib):
    shown = metalgen("inspect", metallib, "--kernel", "scale").stdout
    for expected in (
        "constant Parameters& parameters",
        "[[buffer(3)]]",
        "long strides[1]",
        "at 8",
        "[[thread_position_in_grid]]",
        "unused",
        "at most 256 threads",
        "constants bool is_causal (20)",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    "selection", [[], ["--kernel", "scale"], ["--grep", "^scale$"], ["--grep", "^$"]]
)
def test_json_holds_the_fields_of_the_interface(metallib, selection):
    shown = json.loads(metalgen("inspect", metallib, "--json", *selection).stdout)
    held = Metallib.open(metallib)
    names = [] if selection[1:] == ["^$"] else ["scale"] if selection else list(held.names)
    expected = [json.loads(json.dumps(asdict(held.kernel(name)))) for name in names]
    assert shown == expected


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["--kernel", "scole"], 3, "no kernel 'scole' among its 3; similar: scale"),
        (["--grep", "["], 2, "'[' is not a regular expression"),
        (["--grep", "a", "--kernel", "b"], 2, "--kernel and --grep exclude each other"),
    ],
)
def test_what_cannot_be_shown_is_explained(metallib, arguments, status, expected):
    done = metalgen("inspect", metallib, *arguments)
    assert done.returncode == status
    assert expected in done.stderr


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("kernel void f() {}" * 20)
    done = metalgen("inspect", tmp_path / "text")
    assert done.returncode == 3
    assert done.stderr == (
        f"metalgen: error: {tmp_path}/text: not a metallib: expected 'MTLB' at the start, "
        "found b'kern'\n"
    )


def test_a_reader_that_leaves_early_is_no_error():
    command = f'{sys.executable} -m metalgen inspect "$0" | head -n 1; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", command, apple_metallib()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_all_of_apples_kernels_are_described():
    done = metalgen("inspect", apple_metallib())
    assert (done.returncode, done.stderr) == (0, "17251 of 17251 kernels\n")
    shown = done.stdout.splitlines()
    assert len(shown) == 17251
    assert (
        "block_softmax_float32  (device const float* in, device float* out, "
        "constant int& axis_size)  threadgroup 256 B"
    ) in shown

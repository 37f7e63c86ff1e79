"""Damaged and foreign files end in a MetallibError that says what was wrong, and never in more."""

from __future__ import annotations

import contextlib
import os
import struct

import llvmlite.binding as llvm
import pytest
from air_modules import assemble, some_kernel
from hypothesis import given, settings
from hypothesis import strategies as st

from metalgen.air import Metallib, write_metallib
from metalgen.air.bitcode import read_module
from metalgen.air.metadata import kernel_info
from metalgen.errors import MetallibError

FUNCTIONS = [assemble(some_kernel(name)) for name in ("first", "second")]
SOUND = write_metallib(FUNCTIONS)
BITCODE = FUNCTIONS[0].bitcode

# Where to write what: positions as fractions, so that one strategy serves texts of any length.
damages = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
)


def damaged(data: bytes, damage: list[tuple[float, int]]) -> bytes:
    copy = bytearray(data)
    for place, value in damage:
        copy[int(place * len(copy))] = value
    return bytes(copy)


def read_everything(data: bytes) -> None:
    metallib = Metallib(data)
    for name in metallib.names:
        metallib.kernel(name)


@given(damages)
@settings(max_examples=300)
def test_bytes_written_over_a_metallib_are_noticed_or_harmless(damage):
    with contextlib.suppress(MetallibError):  # anything else fails the test
        read_everything(damaged(SOUND, damage))


@given(st.integers(0, len(SOUND) - 1))
def test_a_truncated_metallib_is_refused(length):
    with pytest.raises(MetallibError, match=r"truncated|not a metallib|expected"):
        read_everything(SOUND[:length])


@given(damages)
@settings(max_examples=600)
def test_damaged_bitcode_is_noticed_or_harmless_without_its_checksum_too(damage):
    with contextlib.suppress(MetallibError):
        kernel_info(read_module(damaged(BITCODE, damage)), "first")


@given(st.integers(0, len(BITCODE) - 1))
def test_truncated_bitcode_is_refused(length):
    with pytest.raises(MetallibError):
        kernel_info(read_module(BITCODE[:length]), "first")


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data):
    with pytest.raises(MetallibError):
        read_everything(data)


@given(st.integers(0, len(BITCODE) - 1), st.integers(1, 255))
def test_every_changed_byte_of_bitcode_fails_the_checksum(place, change):
    where = SOUND.index(BITCODE) + place
    data = SOUND[:where] + bytes([SOUND[where] ^ change]) + SOUND[where + 1 :]
    with pytest.raises(MetallibError, match=r"kernel 'first': .* does not match its checksum"):
        Metallib(data).bitcode("first")


def test_a_text_file_is_said_to_be_none(tmp_path):
    path = tmp_path / "kernels.metal"
    path.write_text("kernel void f() {}")
    with pytest.raises(MetallibError, match=r"kernels.metal: not a metallib: expected 'MTLB'"):
        Metallib.open(path)


def test_a_truncated_file_says_how_much_is_missing(tmp_path):
    path = tmp_path / "half.metallib"
    path.write_bytes(SOUND[:-100])
    expected = f"half.metallib: truncated metallib: expected {len(SOUND)} bytes, found"
    with pytest.raises(MetallibError, match=expected):
        Metallib.open(path)


def test_a_missing_file_is_named():
    with pytest.raises(MetallibError, match=r"cannot read nowhere.metallib: No such file"):
        Metallib.open("nowhere.metallib")


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MetallibError, match=r"cannot read .*pipe: Illegal seek"):
        Metallib.open(tmp_path / "pipe")


def test_an_endless_count_of_kernels_is_not_believed():
    data = bytearray(SOUND)
    struct.pack_into("<I", data, 0x58, 0xFFFFFFFF)
    with pytest.raises(MetallibError, match="record 3 of 4294967295"):
        read_everything(bytes(data))


def test_metadata_that_contains_itself_is_refused():
    inside = "!2, " * 40 + "!2"
    module = llvm.parse_assembly(
        "define void @first() { ret void }\n"
        "!air.kernel = !{!0}\n"
        "!0 = !{ptr @first, !1, !2}\n"
        "!1 = !{}\n"
        f"!2 = distinct !{{{inside}}}\n",
        llvm.create_context(),
    )
    with pytest.raises(MetallibError, match="nested too deeply"):
        kernel_info(read_module(bytes(module.as_bitcode())), "first")


def test_bitcode_that_does_not_describe_its_kernel_is_refused():
    written = write_metallib([assemble(some_kernel("another"))])
    renamed = written.replace(b"another\0", b"unknown\0", 1)
    with pytest.raises(MetallibError, match=r"'unknown' does not describe it in !air\.kernel"):
        Metallib(renamed).kernel("unknown")

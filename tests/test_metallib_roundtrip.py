"""What is written into a metallib is what is read from it, and what Apple's compiler writes."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import llvmlite.binding as llvm
import pytest
from air_modules import assemble, kernels, some_kernel
from apple_metallib import apple_metallib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalgen.air import FunctionConstant, KernelInfo, Metallib, metadata_text, write_metallib
from metalgen.air.bitcode import read_module
from metalgen.air.metadata import kernel_info
from metalgen.air.records import read_record
from metalgen.errors import MetallibError, UnsupportedError


@pytest.fixture(scope="module")
def apple():
    return Metallib.open(apple_metallib())


def sample(metallib: Metallib, step: int) -> list[str]:
    """Every so many of a metallib's kernels, from each of its families."""
    return list(metallib.names[::step])


@given(st.lists(kernels(), max_size=4, unique_by=lambda info: info.name))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_interface_that_is_written_is_read_back(infos):
    functions = [assemble(info) for info in infos]
    metallib = Metallib(write_metallib(functions))
    assert metallib.names == tuple(info.name for info in infos)
    assert [metallib.kernel(name) for name in metallib.names] == infos
    assert [metallib.bitcode(name) for name in metallib.names] == [f.bitcode for f in functions]


def test_a_file_gives_what_its_bytes_give(tmp_path):
    functions = [assemble(some_kernel(name)) for name in ("first", "second")]
    path = tmp_path / "two.metallib"
    path.write_bytes(write_metallib(functions))
    metallib = Metallib.open(path)
    assert metallib.kernel("second") == some_kernel("second")
    assert list(metallib.functions()) == functions


def test_an_empty_metallib_is_valid():
    assert Metallib(write_metallib([])).names == ()


def test_versions_of_air_and_language_are_kept():
    function = assemble(some_kernel(), air_version=(2, 6), language_version=(3, 1))
    metallib = Metallib(write_metallib([function]))
    assert metallib.function("scale") == function
    assert metallib.header.os_version == (14, 0)


def test_the_header_is_that_of_apples_files_for_macos_14():
    written = write_metallib([assemble(some_kernel(), air_version=(2, 6), language_version=(3, 1))])
    assert written[:16].hex(" ", 4) == "4d544c42 01800200 07000081 0e000000"
    assert struct.unpack_from("<Q", written, 16) == (len(written),)


def test_static_threadgroup_memory_is_laid_out_with_its_alignment():
    variables = (
        "@bytes = internal addrspace(3) global [3 x i8] undef, align 1\n"
        "@vectors = internal addrspace(3) global [2 x <3 x float>] undef, align 16\n"
        "@structs = internal addrspace(3) global { i8, i64 } undef, align 8\n"
        "@elsewhere = internal addrspace(2) global [64 x float] undef, align 4\n"
    )
    function = assemble(KernelInfo("kernel"), globals=variables)
    metallib = Metallib(write_metallib([function]))
    # 3 bytes, 13 of padding, two vectors of 3 that take the room of 4, and a padded struct.
    assert metallib.kernel("kernel").threadgroup_bytes == 16 + 32 + 16


def test_two_kernels_of_one_name_are_refused():
    function = assemble(some_kernel())
    with pytest.raises(MetallibError, match="two kernels are named 'scale'"):
        write_metallib([function, function])


def test_a_function_constant_of_a_type_metal_has_none_for_is_refused():
    info = replace(some_kernel(), constants=(FunctionConstant("shape", 0, "double"),))
    with pytest.raises(UnsupportedError, match="function constant 'shape' of type double"):
        write_metallib([assemble(info)])


def test_an_unknown_kernel_is_answered_with_similar_names():
    metallib = Metallib(write_metallib([assemble(some_kernel("scale_rows"))]))
    with pytest.raises(MetallibError, match=r"no kernel 'scale_row' .* similar: scale_rows"):
        metallib.kernel("scale_row")


def test_apples_kernels_survive_being_rewritten(apple):
    functions = [apple.function(name) for name in sample(apple, 97)]
    again = Metallib(write_metallib(functions))
    assert list(again.functions()) == functions
    assert [again.kernel(f.name) for f in functions] == [apple.kernel(f.name) for f in functions]


def test_apples_metadata_survives_llvm_and_being_rewritten(apple):
    for name in sample(apple, 211):
        info = replace(apple.kernel(name), threadgroup_bytes=0)
        assert kernel_info(read_module(assemble(info).bitcode), name) == info


def test_function_constants_are_listed_as_apple_lists_them(apple):
    """The public metadata of kernels with constants, tag by tag."""
    names = [name for name in sample(apple, 31) if apple.kernel(name).constants]
    assert names
    written = write_metallib(apple.function(name) for name in names)
    assert public_tags(written) == [public_tag(apple_metallib(), name) for name in names]


def public_tags(data: bytes) -> list[bytes]:
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    found = []
    for _ in Metallib(data).names:
        (size,) = struct.unpack_from("<I", data, offset)
        found.append(data[offset + 4 : offset + 4 + size])
        offset += 4 + size
    return found


def public_tag(path, name: str) -> bytes:
    """One kernel's public metadata out of Apple's file, whose sizes count themselves."""
    metallib = Metallib.open(path)
    with path.open("rb") as file:
        (section,) = struct.unpack("<Q", file.read(0x30)[0x28:])
        start, end = metallib._records[name]
        tags, _ = read_record(metallib._list, start, end, name)
        file.seek(section + struct.unpack("<3Q", tags[b"OFFT"])[0])
        (size,) = struct.unpack("<I", file.read(4))
        return file.read(size - 4)


def test_arguments_agree_with_what_llvm_prints(apple):
    pattern = re.compile(
        r'= !\{i32 (\d+), .*!"air.arg_type_name", !"([^"]*)", !"air.arg_name", !"([^"]*)"'
    )
    for name in sample(apple, 307):
        printed = pattern.findall(str(llvm.parse_bitcode(apple.bitcode(name))))
        ours = [(str(a.position), a.type_name, a.name) for a in apple.kernel(name).arguments]
        assert ours == printed


def test_threadgroup_memory_agrees_with_what_llvm_prints(apple):
    widths = {"float": 4, "half": 2, "bfloat": 2, "i8": 1, "i16": 2, "i32": 4, "i64": 8}
    pattern = re.compile(r"addrspace\(3\) global \[(\d+) x (\w+)\] undef, align (\d+)$", re.M)
    checked = 0
    for name in sample(apple, 61):
        text = str(llvm.parse_bitcode(apple.bitcode(name)))
        variables = pattern.findall(text)
        if len(variables) != text.count("addrspace(3) global"):
            continue  # structs and vectors: the layouts that another test is about
        expected = 0
        for count, kind, alignment in variables:
            expected = -(-expected // int(alignment)) * int(alignment) + int(count) * widths[kind]
        assert apple.kernel(name).threadgroup_bytes == expected
        checked += expected > 0
    assert checked > 20


def test_what_a_constant_decides_about_is_kept(apple):
    info = apple.kernel("steel_gemm_fused_nt_float16_float16_bm64_bn64_bk16_wm1_wn2")
    assert {a.name: a.condition for a in info.arguments if a.condition} == {
        "C": "use_out_source",
        "addmm_params": "use_out_source",
        "batch_shape": "has_batch",
        "batch_strides": "has_batch",
    }
    assert FunctionConstant("use_out_source", 100, "bool") in info.constants
    assert info.max_total_threads == 64


def test_metadata_names_the_global_that_holds_a_constant():
    text = metadata_text(some_kernel(), symbols={"is_causal": "where it is"})
    expected = '!{ptr addrspace(2) @"where it is", !"bool", !"is_causal", i32 20, i1 true}'
    assert expected in text

"""What the software device's runtime defines, beside what kernels can call."""

from __future__ import annotations

import re
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from runtime_harness import call

import metalgen.compiler
from metalgen.software import runtime
from metalgen.software.runtime.archive import build

DECLARATIONS = Path(metalgen.compiler.__file__).parent / "include" / "air_functions.txt"
DECLARATION = re.compile(r"^declare (?P<result>.+) @(?P<name>air\.[\w.]+)\((?P<parameters>.*)\)$")
VECTOR = re.compile(r"\.v\d+(?=[a-z])")
BARRIERS = ("air.wg.barrier", "air.simdgroup.barrier")
# Functions of the place where a thread stands.
NOT_FOR_ONE_THREAD = ("air.simd_", "air.quad_", "air.simdgroup_matrix", "air.get_thread_index")


def declarations() -> list[re.Match[str]]:
    """The functions that metalgen's own Metal headers may call."""
    matches = [DECLARATION.match(line) for line in DECLARATIONS.read_text().splitlines()]
    return [match for match in matches if match and match["name"] not in BARRIERS]


def names() -> list[str]:
    return [match["name"] for match in declarations()]


def test_the_headers_call_a_good_many_functions():
    assert len(names()) > 1000


def test_every_function_of_the_headers_links_as_they_declare_it():
    text = "\n".join(
        re.sub(r" addrspace\(\d+\)", "", match[0])
        for match in declarations()
        if not match["name"].startswith(NOT_FOR_ONE_THREAD)
    )
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    runtime.link(module, context)
    module.verify()
    undefined = [f.name for f in module.functions if f.is_declaration and "llvm." not in f.name]
    assert undefined == []


def wide_name(name: str) -> str:
    if name.startswith("air.simdgroup_matrix"):
        return f"rowmajor.{name}"
    return "v32." + VECTOR.sub(".", name)


def test_every_function_without_memory_has_a_form_for_whole_simd_groups():
    one_thread_only = ("air.atomic.", "air.dot.", "air.frexp.", "air.modf.", "air.sincos.")
    missing = [
        name
        for name in names()
        if not name.startswith(one_thread_only) and not runtime.defined(wide_name(name))
    ]
    assert missing == []


def test_the_lanes_of_a_simd_group_are_numbered_in_order():
    numbers = call("v32.air.get_thread_index_in_simdgroup.i16")
    assert (numbers == np.arange(32)).all()
    assert (call("v32.air.get_simdgroup_size.i16") == 32).all()


def test_a_kernel_is_linked_with_the_functions_that_it_calls_alone():
    maths = "exp.f32 log.f32 fmax.f32 sin.f16 fma.f32 min.s.i32 convert.f.f32.s.i32".split()
    lanes = "simd_sum.f32 simd_max.f32 simd_shuffle_down.f32".split()
    text = "\n".join(runtime.declaration(f"v32.air.{name}") for name in (*maths, *lanes))
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    runtime.link(module, context)
    linked = [function.name for function in module.functions if not function.is_declaration]
    assert len(linked) < 40


def test_the_archive_is_replaced_as_a_whole(tmp_path):
    pytest.importorskip("ziglang")
    output = tmp_path / "maths.zip"
    output.write_bytes(b"stale")
    build(output)
    assert output.read_bytes()[:2] == b"PK"
    assert [path.name for path in tmp_path.iterdir()] == ["maths.zip"]

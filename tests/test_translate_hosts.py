"""Translation for processors with fewer instructions than the one that runs the tests."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadgroups import POSITION, Dispatcher, assemble, device

from metalgen.software import narrow_floats, target, translate


@pytest.fixture
def plain_host(monkeypatch):
    """A host with nothing beyond the first 64-bit processors."""
    if "x86_64" not in llvm.get_default_triple():
        pytest.skip("the oldest x86-64 processor is only that of an x86-64 host")

    plain = target.Host(llvm.get_default_triple(), "x86-64", "")
    monkeypatch.setattr(target, "host", lambda: plain)


@pytest.mark.parametrize("strands", ["thread", "simdgroup"])
@pytest.mark.parametrize(("dtype", "type_"), [(torch.float16, "half"), (torch.bfloat16, "bfloat")])
def test_narrow_floats_work_without_instructions_for_them(plain_host, strands, dtype, type_):
    bitcode = assemble(
        "kernel",
        [device("out", 0), device("x", 1), POSITION],
        f"""
          %odd = mul i32 %position, 7
          %place = urem i32 %odd, 100
          %from = getelementptr {type_}, ptr addrspace(1) %x, i32 %place
          %to = getelementptr {type_}, ptr addrspace(1) %out, i32 %place
          %value = load {type_}, ptr addrspace(1) %from
          %wide = fpext {type_} %value to float
          %third = fdiv float %wide, 3.0
          %result = fptrunc float %third to {type_}
          store {type_} %result, ptr addrspace(1) %to
          ret void
        """,
    )
    x = torch.randn(100).to(dtype)
    out = torch.zeros(100, dtype=dtype)
    buffers = {0: out.view(torch.int16).numpy(), 1: x.view(torch.int16).numpy()}
    kernel = translate(bitcode, "kernel", strands=strands)
    Dispatcher(kernel, buffers).run((100, 1, 1), (100, 1, 1))
    assert torch.equal(out, (x.float() / 3).to(dtype))


def converter(function: str, argument: str, result: str, integers: tuple[type, type]):
    """The conversion as a function of bit patterns."""
    text = narrow_floats._TEXT + (
        f"define {result} @test({argument} %x) {{\n"
        f"  %in = bitcast {argument} %x to {TYPES[function][0]}\n"
        f"  %out = call {TYPES[function][1]} @{function}({TYPES[function][0]} %in)\n"
        f"  %bits = bitcast {TYPES[function][1]} %out to {result}\n"
        f"  ret {result} %bits\n}}"
    )
    module = llvm.parse_assembly(text, llvm.create_context())
    machine = target.machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(integers[1], integers[0])(engine.get_function_address("test"))
    call.engine = engine
    return call


TYPES = {
    "half_of_float": ("float", "half"),
    "bfloat_of_float": ("float", "bfloat"),
    "float_of_half": ("half", "float"),
    "half_of_double": ("double", "half"),
    "bfloat_of_double": ("double", "bfloat"),
}
target.initialize()
HALF_OF_FLOAT = converter("half_of_float", "i32", "i16", (ctypes.c_uint32, ctypes.c_uint16))
BFLOAT_OF_FLOAT = converter("bfloat_of_float", "i32", "i16", (ctypes.c_uint32, ctypes.c_uint16))
FLOAT_OF_HALF = converter("float_of_half", "i16", "i32", (ctypes.c_uint16, ctypes.c_uint32))
HALF_OF_DOUBLE = converter("half_of_double", "i64", "i16", (ctypes.c_uint64, ctypes.c_uint16))


def test_every_half_becomes_the_float_of_its_value():
    halves = np.arange(1 << 16, dtype=np.uint16)
    expected = halves.view(np.float16).astype(np.float32)
    found = np.array([FLOAT_OF_HALF(int(h)) for h in halves], np.uint32).view(np.float32)
    assert np.array_equal(found, expected, equal_nan=True)


@given(st.integers(0, (1 << 32) - 1))
def test_floats_round_to_the_nearest_half_and_bfloat(bits):
    value = np.array([bits], np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    found = np.array([HALF_OF_FLOAT(bits)], np.uint16).view(np.float16)
    assert np.array_equal(found, half, equal_nan=True)
    brain = torch.from_numpy(value).to(torch.bfloat16).float().numpy()
    found = np.array([BFLOAT_OF_FLOAT(bits) << 16], np.uint32).view(np.float32)
    assert np.array_equal(found, brain, equal_nan=True)


@given(st.floats(-70000, 70000) | st.floats(-1e-4, 1e-4))
def test_doubles_round_once_to_half(value):
    bits = int(np.array([value]).view(np.uint64)[0])
    with np.errstate(over="ignore"):
        expected = np.float16(value)
    assert np.array([HALF_OF_DOUBLE(bits)], np.uint16).view(np.float16)[0] == expected

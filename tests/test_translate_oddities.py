"""What only others' kernels have: functions that call themselves, argument buffers, copies between
address spaces, vectors at any place, tensor operations."""

from __future__ import annotations

import numpy as np
import pytest
from threadgroups import POSITION, Dispatcher, Parameter, assemble, device

from metalgen.errors import UnsupportedError
from metalgen.software import runtime, translate
from metalgen.software.dump import Dump
from metalgen.software.prepare import prepare
from metalgen.software.simdgroup import lower_to_simdgroups

FACTORIAL = """
declare i32 @air.min.s.i32(i32, i32)

define internal i32 @factorial(i32 %n) {
  %end = icmp sle i32 %n, 1
  br i1 %end, label %one, label %more
one:
  ret i32 1
more:
  %less = sub i32 %n, 1
  %capped = call i32 @air.min.s.i32(i32 %less, i32 7)
  %rest = call i32 @factorial(i32 %capped)
  %product = mul i32 %n, %rest
  ret i32 %product
}
"""
AT = """
  %wide = zext i32 %position to i64
  %at = getelementptr i32, ptr addrspace(1) %out, i64 %wide
"""


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


@pytest.fixture(params=["any", "rows"])
def variant(request):
    return request.param


def test_recursive_functions_of_numbers_run_lane_by_lane(strands, variant):
    body = (
        f"{AT} %n = call i32 @factorial(i32 %position) store i32 %n, ptr addrspace(1) %at ret void"
    )
    bitcode = assemble("f", [device("out", 0), POSITION], body, FACTORIAL)
    out = np.zeros(40, np.int32)
    kernel = translate(bitcode, "f", strands=strands, variant=variant)
    Dispatcher(kernel, {0: out}).run((40, 1, 1), (32, 1, 1))
    assert out[:9].tolist() == [1, 1, 2, 6, 24, 120, 720, 5040, 40320]
    assert out[9:].tolist() == [n * 5040 for n in range(9, 40)]


def test_a_recursive_function_that_meets_other_threads_is_refused(strands):
    outside = FACTORIAL.replace("@air.min.s.i32", "@air.simd_shuffle.s.i32")
    body = (
        f"{AT} %n = call i32 @factorial(i32 %position) store i32 %n, ptr addrspace(1) %at ret void"
    )
    bitcode = assemble("f", [device("out", 0), POSITION], body, outside)
    with pytest.raises(
        UnsupportedError, match=r"not supported: the recursive function 'factorial'"
    ):
        translate(bitcode, "f", strands=strands)


def test_an_argument_buffer_holds_pointers_to_others(strands, variant):
    table = Parameter(
        "ptr addrspace(2) %table",
        '!"air.indirect_buffer", !"air.location_index", i32 0, i32 1, !"air.read", '
        '!"air.address_space", i32 2',
    )
    body = f"""
      %out = load ptr addrspace(1), ptr addrspace(2) %table
      {AT}
      store i32 %position, ptr addrspace(1) %at
      ret void
    """
    out = np.zeros(40, np.int32)
    pointers = np.array([out.ctypes.data], np.uint64)
    kernel = translate(
        assemble("f", [table, POSITION], body), "f", strands=strands, variant=variant
    )
    Dispatcher(kernel, {0: pointers}).run((40, 1, 1), (32, 1, 1))
    assert out.tolist() == list(range(40))


def test_blocks_are_copied_from_two_address_spaces(strands, variant):
    outside = "\n".join(
        f"declare void @llvm.memcpy.p0.p{space}.i64(ptr, ptr addrspace({space}), i64, i1)"
        for space in (1, 2)
    )
    body = f"""
      %private = alloca [4 x i32], align 16
      call void @llvm.memcpy.p0.p1.i64(ptr %private, ptr addrspace(1) %x, i64 16, i1 false)
      %second = getelementptr i32, ptr %private, i64 2
      call void @llvm.memcpy.p0.p2.i64(ptr %second, ptr addrspace(2) %y, i64 8, i1 false)
      %which = and i32 %position, 3
      %place = getelementptr i32, ptr %private, i32 %which
      %value = load i32, ptr %place
      {AT}
      store i32 %value, ptr addrspace(1) %at
      ret void
    """
    y = Parameter(
        "ptr addrspace(2) %y",
        '!"air.buffer", !"air.location_index", i32 2, i32 1, !"air.read", '
        '!"air.address_space", i32 2',
    )
    bitcode = assemble("f", [device("out", 0), device("x", 1), y, POSITION], body, outside)
    out = np.zeros(40, np.int32)
    kernel = translate(bitcode, "f", strands=strands, variant=variant)
    buffers = {0: out, 1: np.array([5, 6, 7, 8], np.int32), 2: np.array([9, 10], np.int32)}
    Dispatcher(kernel, buffers).run((40, 1, 1), (32, 1, 1))
    assert out.tolist() == [5, 6, 9, 10] * 10


@pytest.mark.parametrize("uniform", [False, True], ids=["lanes", "uniform"])
def test_vectors_lie_where_scalars_may(strands, variant, uniform):
    start = "i64 1" if uniform else "i64 %wide"
    body = f"""
      {AT}
      %from = getelementptr i32, ptr addrspace(1) %x, {start}
      %four = load <4 x i32>, ptr addrspace(1) %from, align 16
      %more = add <4 x i32> %four, splat (i32 10)
      %fifth = mul i64 %wide, 5
      %to = getelementptr i32, ptr addrspace(1) %out, i64 %fifth
      store <4 x i32> %more, ptr addrspace(1) %to, align 16
      ret void
    """
    bitcode = assemble("f", [device("out", 0), device("x", 1), POSITION], body)
    kernel = translate(bitcode, "f", strands=strands, variant=variant)
    out, x = np.zeros((40, 5), np.int32), np.arange(50, dtype=np.int32)
    Dispatcher(kernel, {0: out, 1: x}).run((40, 1, 1), (32, 1, 1))
    first = np.full(40, 1) if uniform else np.arange(40)
    assert out[:, :4].tolist() == (first[:, None] + np.arange(10, 14)).tolist()


def test_tensor_operations_are_refused_by_their_name(strands):
    outside = "declare void @__tensorops_impl_matmul2d_op_run_cooperative_f16_f16_f32(ptr)"
    body = """
      %p = alloca i32
      call void @__tensorops_impl_matmul2d_op_run_cooperative_f16_f16_f32(ptr %p)
      ret void
    """
    with pytest.raises(UnsupportedError, match=r"^not supported: Metal 4's tensor operations"):
        translate(assemble("f", [device("out", 0)], body, outside), "f", strands=strands)


@pytest.mark.parametrize("meeting", ["", "call void @air.wg.barrier(i32 1, i32 1)"])
def test_kernels_too_large_for_vectors_of_threads_are_refused_unless_their_threads_meet(meeting):
    body = f"""
      {AT}
      %is.fourth = icmp eq i32 %position, 4
      br i1 %is.fourth, label %fourth, label %end
    fourth:
      store i32 1, ptr addrspace(1) %at
      br label %end
    end:
      {meeting}
      ret void
    """
    outside = "declare void @air.wg.barrier(i32, i32)"
    bitcode = assemble("f", [device("out", 0), POSITION], body, outside)
    prepared = prepare(bitcode, "f", {}, Dump.of("f"))
    if meeting:
        assert lower_to_simdgroups(prepared, "any", runtime.defined, most_lines=5)
    else:
        with pytest.raises(UnsupportedError, match="this large"):
            lower_to_simdgroups(prepared, "any", runtime.defined, most_lines=5)

"""What all read behind a barrier they read before any of them writes there again, as on a GPU."""

from __future__ import annotations

import pytest
import torch

import metalgen
from metalgen.air import Metallib
from metalgen.compiler import compile_source
from metalgen.software.dump import Dump
from metalgen.software.prepare import prepare
from metalgen.software.turns import TURN, add_turns

HEAD = """
    #include <metal_stdlib>
    using namespace metal;
    kernel void f(device uint* out [[buffer(0)]], constant uint& writer [[buffer(1)]],
                  uint i [[thread_index_in_threadgroup]],
                  uint lane [[thread_index_in_simdgroup]],
                  uint group [[simdgroup_index_in_threadgroup]]) {
      threadgroup uint held[128], others[128];
      uint sum = i;
"""
BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"
GROUPS = 4
THREADS = 32 * GROUPS


def compiled(body: str) -> bytes:
    return compile_source(HEAD + body.replace("BARRIER", BARRIER) + "\n out[i] = sum; }")


@pytest.fixture(params=["simdgroup", "thread"])
def strands(request):
    return request.param


def run(body: str, writer: int, strands: str) -> list[int]:
    out = torch.zeros(THREADS, dtype=torch.int32)
    library = metalgen.load_metallib(compiled(body), strands=strands)
    library.f(out, writer, threads=THREADS, group_size=THREADS)
    return out.tolist()


@pytest.mark.parametrize("writer", range(GROUPS))
def test_a_value_is_read_by_all_before_its_writer_goes_round_the_loop(writer, strands):
    body = """
      for (uint round = 1; round < 4; ++round) {
        if (group == writer && lane == 5) held[0] = round;
        BARRIER
        sum = sum * 10 + held[0];
      }
    """
    assert run(body, writer, strands) == [1000 * i + 123 for i in range(THREADS)]


@pytest.mark.parametrize("writer", range(GROUPS))
def test_neighbours_are_read_before_each_thread_writes_its_own(writer, strands):
    body = """
      held[i] = i;
      BARRIER
      if (group >= writer) sum = held[(i + 64) % 128];
      held[i] = 1000;
    """
    first = 32 * writer
    expected = [(i + 64) % THREADS if i >= first else i for i in range(THREADS)]
    assert run(body, writer, strands) == expected


@pytest.mark.parametrize("writer", range(GROUPS))
def test_a_matrix_is_loaded_by_all_before_one_is_stored(writer, strands):
    body = """
      threadgroup float tile[64];
      if (i < 64) tile[i] = i;
      BARRIER
      simdgroup_float8x8 matrix;
      simdgroup_load(matrix, tile, 8);
      if (group == writer) simdgroup_store(simdgroup_float8x8(-1), tile, 8);
      BARRIER
      threadgroup float copies[256];
      simdgroup_store(matrix, copies + 64 * group, 8);
      simdgroup_barrier(mem_flags::mem_threadgroup);
      sum = copies[64 * group + lane];
    """
    assert run(body, writer, strands) == [i % 32 for i in range(THREADS)]


def test_lanes_that_wait_for_others_meet_theirs_again(strands):
    body = """
      held[i] = i;
      BARRIER
      uint seen = held[(i + 64) % 128];
      if (lane % 3 == group % 3) held[(i + 1) % 128] = seen;
      sum = simd_sum(lane) * 1000 + simd_sum(seen) % 1000;
    """
    totals = [sum(range(at, at + 32)) % 1000 for at in (64, 96, 0, 32)]
    expected = [496000 + totals[i // 32] for i in range(THREADS)]
    assert run(body, 0, strands) == expected


def test_threadgroups_whose_threads_all_return_before_a_barrier_end(strands):
    body = "if (writer == 9) { out[i] = 7; return; } held[i] = i; BARRIER sum = held[127 - i];"
    assert run(body, 9, strands) == [7] * THREADS
    assert run(body, 1, strands) == [127 - i for i in range(THREADS)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("held[i] = i; BARRIER sum = held[127 - i]; BARRIER held[i] = 3;", 0),
        ("held[i] = i; BARRIER sum = held[127 - i]; held[i] = 3;", 1),
        ("held[i] = i; BARRIER sum = held[127 - i]; others[i] = 3; BARRIER sum += others[0];", 0),
        ("held[i] = i; BARRIER for (uint n = 0; n < sum; ++n) held[i] += n; BARRIER", 0),
        ("held[i] = i; sum = held[127 - i]; held[i] = 3;", 0),  # nobody meets anybody
        ("held[i] = i; BARRIER sum = held[0]; if (lane == 0) held[0] = 9;", 1),
    ],
)
def test_turns_stand_where_others_may_still_read_and_nowhere_else(body, expected):
    bitcode = Metallib(compiled(body)).bitcode("f")
    prepared = prepare(bitcode, "f", {}, Dump.of("f"))
    function = prepared.function
    add_turns(prepared.module, function, prepared.signature)
    found = [i for i in function.instructions() if i.callee_name == TURN]
    assert len(found) == expected

"""SIMD-group functions and barriers when some lanes are elsewhere, returned or never existed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from threadgroups import INDEX, LANE, SIMDGROUP, Dispatcher, assemble, device

from metalgen.software import translate

SUM = "declare float @air.simd_sum.f32(float) convergent"
LANES = np.arange(32)


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


def run_lanes(strands: str, body: str, outside: str = SUM, threads: int = 32) -> np.ndarray:
    """The float that each thread of one threadgroup leaves in `%out.at`; -1 where none did."""
    head = """
      %wide = zext i32 %index to i64
      %out.at = getelementptr float, ptr addrspace(1) %out, i64 %wide
    """
    bitcode = assemble("kernel", [device("out", 0), INDEX, LANE, SIMDGROUP], head + body, outside)
    out = np.full(threads, -1, np.float32)
    kernel = translate(bitcode, "kernel", strands=strands)
    Dispatcher(kernel, {0: out}).run((threads, 1, 1), (threads, 1, 1))
    return out


def test_a_sum_in_a_branch_counts_the_lanes_that_took_it(strands):
    out = run_lanes(
        strands,
        """
          %low = icmp ult i32 %lane, 10
          br i1 %low, label %then, label %end
        then:
          %sum = call float @air.simd_sum.f32(float 1.0)
          store float %sum, ptr addrspace(1) %out.at
          br label %end
        end:
          ret void
        """,
    )
    assert out.tolist() == [10] * 10 + [-1] * 22


def test_both_sides_of_a_branch_have_their_own_sum(strands):
    out = run_lanes(
        strands,
        """
          %low = icmp ult i32 %lane, 10
          br i1 %low, label %then, label %else
        then:
          %few = call float @air.simd_sum.f32(float 1.0)
          br label %end
        else:
          %many = call float @air.simd_sum.f32(float 1.0)
          br label %end
        end:
          %part = phi float [ %few, %then ], [ %many, %else ]
          %all = call float @air.simd_sum.f32(float 1.0)
          %scaled = fmul float %all, 100.0
          %both = fadd float %part, %scaled
          store float %both, ptr addrspace(1) %out.at
          ret void
        """,
    )
    assert out.tolist() == [3210] * 10 + [3222] * 22


def test_a_loop_with_a_trip_count_per_lane_sums_the_lanes_still_in_it(strands):
    out = run_lanes(
        strands,
        """
          br label %head
        head:
          %k = phi i32 [ 0, %0 ], [ %next, %body ]
          %total = phi float [ 0.0, %0 ], [ %more, %body ]
          %in = icmp ult i32 %k, %lane
          br i1 %in, label %body, label %end
        body:
          %sum = call float @air.simd_sum.f32(float 1.0)
          %more = fadd float %total, %sum
          %next = add i32 %k, 1
          br label %head
        end:
          store float %total, ptr addrspace(1) %out.at
          ret void
        """,
    )
    assert out.tolist() == [sum(31 - k for k in range(lane)) for lane in LANES]


def test_lanes_that_returned_take_no_part(strands):
    out = run_lanes(
        strands,
        """
          %rest = urem i32 %lane, 3
          %leaves = icmp eq i32 %rest, 0
          br i1 %leaves, label %leave, label %stay
        leave:
          ret void
        stay:
          %sum = call float @air.simd_sum.f32(float 1.0)
          store float %sum, ptr addrspace(1) %out.at
          ret void
        """,
    )
    assert out.tolist() == [-1 if lane % 3 == 0 else 21 for lane in LANES]


def test_nested_branches_narrow_the_active_lanes_step_by_step(strands):
    out = run_lanes(
        strands,
        """
          %half = icmp ult i32 %lane, 16
          br i1 %half, label %outer, label %end
        outer:
          %a = call float @air.simd_sum.f32(float 1.0)
          %quarter = icmp ult i32 %lane, 8
          br i1 %quarter, label %inner, label %join
        inner:
          %b = call float @air.simd_sum.f32(float 1.0)
          br label %join
        join:
          %c = phi float [ %b, %inner ], [ 0.0, %outer ]
          %d = call float @air.simd_sum.f32(float 1.0)
          %scaled = fmul float %c, 100.0
          %ac = fadd float %a, %scaled
          %acd = fadd float %ac, %d
          store float %acd, ptr addrspace(1) %out.at
          br label %end
        end:
          ret void
        """,
    )
    assert out.tolist() == [16 + 800 + 16] * 8 + [32] * 8 + [-1] * 16


def test_lanes_wait_for_those_still_in_the_same_iteration(strands):
    # Odd and even lanes take turns at the sum: none may join it from its next iteration.
    out = run_lanes(
        strands,
        """
          br label %head
        head:
          %k = phi i32 [ 0, %0 ], [ %next, %latch ]
          %total = phi float [ 0.0, %0 ], [ %more, %latch ]
          %turn = add i32 %k, %lane
          %odd = and i32 %turn, 1
          %mine = icmp ne i32 %odd, 0
          br i1 %mine, label %body, label %latch
        body:
          %sum = call float @air.simd_sum.f32(float 1.0)
          br label %latch
        latch:
          %part = phi float [ %sum, %body ], [ 0.0, %head ]
          %more = fadd float %total, %part
          %next = add i32 %k, 1
          %again = icmp ult i32 %next, 5
          br i1 %again, label %head, label %end
        end:
          store float %more, ptr addrspace(1) %out.at
          ret void
        """,
    )
    assert out.tolist() == [16 * sum((lane + k) % 2 for k in range(5)) for lane in LANES]


def test_lanes_meet_after_an_inner_loop_before_the_next_outer_iteration(strands):
    out = run_lanes(
        strands,
        """
          br label %outer
        outer:
          %i = phi i32 [ 0, %0 ], [ %i.next, %after ]
          %start = phi float [ 0.0, %0 ], [ %more, %after ]
          %mixed = add i32 %lane, %i
          %trips = and i32 %mixed, 3
          br label %inner
        inner:
          %j = phi i32 [ 0, %outer ], [ %j.next, %inner ]
          %total = phi float [ %start, %outer ], [ %more, %inner ]
          %sum = call float @air.simd_sum.f32(float 1.0)
          %more = fadd float %total, %sum
          %j.next = add i32 %j, 1
          %j.again = icmp ule i32 %j.next, %trips
          br i1 %j.again, label %inner, label %after
        after:
          %i.next = add i32 %i, 1
          %i.again = icmp ult i32 %i.next, 3
          br i1 %i.again, label %outer, label %end
        end:
          store float %more, ptr addrspace(1) %out.at
          ret void
        """,
    )

    def expected(lane: int) -> int:
        trips = [(lane + i) % 4 for i in range(3)]
        # In inner iteration j every lane with at least j more trips takes part: 8 lanes per count.
        return sum(8 * (4 - j) for t in trips for j in range(t + 1))

    assert out.tolist() == [expected(lane) for lane in LANES]


def test_lanes_that_leave_a_loop_early_wait_behind_it(strands):
    out = run_lanes(
        strands,
        """
          br label %head
        head:
          %k = phi i32 [ 0, %0 ], [ %next, %latch ]
          %leaves = icmp eq i32 %k, %lane
          br i1 %leaves, label %end, label %latch
        latch:
          %next = add i32 %k, 1
          %again = icmp ult i32 %next, 20
          br i1 %again, label %head, label %end
        end:
          %sum = call float @air.simd_sum.f32(float 1.0)
          store float %sum, ptr addrspace(1) %out.at
          ret void
        """,
    )
    assert out.tolist() == [32] * 32


def test_every_case_of_a_switch_has_its_own_sum(strands):
    out = run_lanes(
        strands,
        """
          %case = and i32 %lane, 7
          switch i32 %case, label %other [ i32 0, label %zero
                                           i32 1, label %one
                                           i32 5, label %one ]
        zero:
          %a = call float @air.simd_sum.f32(float 1.0)
          br label %end
        one:
          %b = call float @air.simd_sum.f32(float 1.0)
          br label %end
        other:
          %c = call float @air.simd_sum.f32(float 1.0)
          br label %end
        end:
          %sum = phi float [ %a, %zero ], [ %b, %one ], [ %c, %other ]
          store float %sum, ptr addrspace(1) %out.at
          ret void
        """,
    )
    assert out.tolist() == [{0: 4, 1: 8, 5: 8}.get(lane % 8, 20) for lane in LANES]


def test_a_branch_on_the_simdgroup_leaves_the_others_out(strands):
    out = run_lanes(
        strands,
        """
          %first = icmp eq i32 %simdgroup, 0
          br i1 %first, label %then, label %end
        then:
          %sum = call float @air.simd_sum.f32(float 1.0)
          store float %sum, ptr addrspace(1) %out.at
          br label %end
        end:
          ret void
        """,
        threads=80,
    )
    assert out.tolist() == [32] * 32 + [-1] * 48


def test_lanes_without_a_thread_take_no_part(strands):
    out = run_lanes(
        strands,
        """
          %sum = call float @air.simd_sum.f32(float 1.0)
          store float %sum, ptr addrspace(1) %out.at
          ret void
        """,
        threads=77,
    )
    assert out.tolist() == [32] * 64 + [13] * 13


def in_branch(call: str) -> str:
    """The odd lanes below 20 store what `call` leaves in %value, from %x = 1 + lane."""
    return f"""
      %int = uitofp i32 %lane to float
      %x = fadd float %int, 1.0
      %odd = trunc i32 %lane to i1
      %low = icmp ult i32 %lane, 20
      %both = and i1 %odd, %low
      br i1 %both, label %then, label %end
    then:
      {call}
      store float %value, ptr addrspace(1) %out.at
      br label %end
    end:
      ret void
    """


ACTIVE = [lane for lane in range(20) if lane % 2]

UNDER_MASK: dict[str, tuple[str, str, Callable[[int], float]]] = {
    "sum": (
        "declare float @air.simd_sum.f32(float) convergent",
        "%value = call float @air.simd_sum.f32(float %x)",
        lambda lane: sum(1 + a for a in ACTIVE),
    ),
    "min": (
        "declare float @air.simd_min.f32(float) convergent",
        "%value = call float @air.simd_min.f32(float %x)",
        lambda lane: 2,
    ),
    "max": (
        "declare i32 @air.simd_max.u.i32(i32) convergent",
        "%max = call i32 @air.simd_max.u.i32(i32 %lane)\n%value = uitofp i32 %max to float",
        lambda lane: 19,
    ),
    "inclusive prefix sum": (
        "declare float @air.simd_prefix_inclusive_sum.f32(float) convergent",
        "%value = call float @air.simd_prefix_inclusive_sum.f32(float %x)",
        lambda lane: sum(1 + a for a in ACTIVE if a <= lane),
    ),
    "exclusive prefix sum": (
        "declare float @air.simd_prefix_exclusive_sum.f32(float) convergent",
        "%value = call float @air.simd_prefix_exclusive_sum.f32(float %x)",
        lambda lane: sum(1 + a for a in ACTIVE if a < lane),
    ),
    "broadcast": (
        "declare float @air.simd_broadcast.f32(float, i16) convergent",
        "%value = call float @air.simd_broadcast.f32(float %x, i16 7)",
        lambda lane: 8,
    ),
    "broadcast first": (
        "declare float @air.simd_broadcast_first.f32(float) convergent",
        "%value = call float @air.simd_broadcast_first.f32(float %x)",
        lambda lane: 2,
    ),
    "shuffle xor": (
        "declare float @air.simd_shuffle_xor.f32(float, i16) convergent",
        "%value = call float @air.simd_shuffle_xor.f32(float %x, i16 2)",
        lambda lane: 1 + (lane ^ 2) if (lane ^ 2) in ACTIVE else None,
    ),
    "shuffle down": (
        "declare float @air.simd_shuffle_down.f32(float, i16) convergent",
        "%value = call float @air.simd_shuffle_down.f32(float %x, i16 2)",
        lambda lane: 1 + lane + 2 if lane + 2 in ACTIVE else None,
    ),
    "any": (
        "declare i1 @air.simd_any(i1) convergent",
        "%is = icmp eq i32 %lane, 20\n%any = call i1 @air.simd_any(i1 %is)\n"
        "%value = uitofp i1 %any to float",
        lambda lane: 0,
    ),
    "all": (
        "declare i1 @air.simd_all(i1) convergent",
        "%is = icmp ult i32 %lane, 20\n%all = call i1 @air.simd_all(i1 %is)\n"
        "%value = uitofp i1 %all to float",
        lambda lane: 1,
    ),
    "is first": (
        "declare i1 @air.simd_is_first() convergent",
        "%first = call i1 @air.simd_is_first()\n%value = uitofp i1 %first to float",
        lambda lane: lane == 1,
    ),
    "quad sum": (
        "declare float @air.quad_sum.f32(float) convergent",
        "%value = call float @air.quad_sum.f32(float %x)",
        lambda lane: sum(1 + a for a in ACTIVE if a // 4 == lane // 4),
    ),
    "quad broadcast": (
        "declare float @air.quad_broadcast.f32(float, i16) convergent",
        "%value = call float @air.quad_broadcast.f32(float %x, i16 3)",
        lambda lane: 1 + lane // 4 * 4 + 3,
    ),
    "shuffle of a vector": (
        "declare <2 x float> @air.simd_shuffle_xor.v2f32(<2 x float>, i16) convergent",
        "%pair = insertelement <2 x float> <float poison, float 5.0>, float %x, i32 0\n"
        "%other = call <2 x float> @air.simd_shuffle_xor.v2f32(<2 x float> %pair, i16 2)\n"
        "%a = extractelement <2 x float> %other, i32 0\n"
        "%b = extractelement <2 x float> %other, i32 1\n"
        "%value = fadd float %a, %b",
        lambda lane: 6 + (lane ^ 2) if (lane ^ 2) in ACTIVE else None,
    ),
}


@pytest.mark.parametrize("operation", UNDER_MASK)
def test_an_operation_in_a_branch_sees_only_the_lanes_there(strands, operation):
    outside, call, expected = UNDER_MASK[operation]
    out = run_lanes(strands, in_branch(call), outside)
    for lane in LANES:
        wanted = expected(lane) if lane in ACTIVE else -1
        # What a lane gets from an inactive one is undefined.
        assert wanted is None or out[lane] == wanted, f"lane {lane}: {out[lane]}, not {wanted}"


BARRIER = "declare void @air.wg.barrier(i32, i32) convergent"
SHARED = "@shared = internal addrspace(3) global [128 x float] undef, align 4\n" + BARRIER


def test_threads_see_what_others_wrote_before_a_barrier(strands):
    out = run_lanes(
        strands,
        """
          %own = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %wide
          %value = uitofp i32 %index to float
          store float %value, ptr addrspace(3) %own
          call void @air.wg.barrier(i32 2, i32 1)
          %mirrored = sub i64 99, %wide
          %other = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %mirrored
          %read = load float, ptr addrspace(3) %other
          store float %read, ptr addrspace(1) %out.at
          ret void
        """,
        SHARED,
        threads=100,
    )
    assert out.tolist() == list(range(99, -1, -1))


def test_a_barrier_opens_when_all_threads_that_have_not_returned_wait_there(strands):
    out = run_lanes(
        strands,
        """
          %own = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %wide
          store float 3.0, ptr addrspace(3) %own
          %leaves = icmp uge i32 %index, 40
          br i1 %leaves, label %leave, label %stay
        leave:
          ret void
        stay:
          call void @air.wg.barrier(i32 2, i32 1)
          %far = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 99
          %read = load float, ptr addrspace(3) %far
          store float %read, ptr addrspace(1) %out.at
          ret void
        """,
        SHARED,
        threads=100,
    )
    assert out.tolist() == [3] * 40 + [-1] * 60


def test_a_tree_of_barriers_in_a_loop_sums_a_threadgroup(strands):
    out = run_lanes(
        strands,
        """
          %own = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %wide
          %value = uitofp i32 %index to float
          store float %value, ptr addrspace(3) %own
          call void @air.wg.barrier(i32 2, i32 1)
          br label %head
        head:
          %stride = phi i32 [ 64, %0 ], [ %half, %latch ]
          %low = icmp ult i32 %index, %stride
          br i1 %low, label %add, label %latch
        add:
          %partner = add i32 %index, %stride
          %partner.wide = zext i32 %partner to i64
          %other = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %partner.wide
          %a = load float, ptr addrspace(3) %own
          %b = load float, ptr addrspace(3) %other
          %sum = fadd float %a, %b
          store float %sum, ptr addrspace(3) %own
          br label %latch
        latch:
          call void @air.wg.barrier(i32 2, i32 1)
          %half = lshr i32 %stride, 1
          %again = icmp ne i32 %half, 0
          br i1 %again, label %head, label %end
        end:
          %total = load float, ptr addrspace(3) @shared
          store float %total, ptr addrspace(1) %out.at
          ret void
        """,
        SHARED,
        threads=128,
    )
    assert out.tolist() == [sum(range(128))] * 128


def test_a_sum_between_barriers_counts_each_simdgroup_alone(strands):
    out = run_lanes(
        strands,
        """
          %wave = zext i32 %simdgroup to i64
          %sum = call float @air.simd_sum.f32(float 1.0)
          %place = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %wave
          %first = icmp eq i32 %lane, 0
          br i1 %first, label %write, label %meet
        write:
          store float %sum, ptr addrspace(3) %place
          br label %meet
        meet:
          call void @air.wg.barrier(i32 2, i32 1)
          %few = icmp ult i32 %lane, 4
          %slot = zext i32 %lane to i64
          %read.at = getelementptr [128 x float], ptr addrspace(3) @shared, i64 0, i64 %slot
          br i1 %few, label %read, label %total
        read:
          %part = load float, ptr addrspace(3) %read.at
          br label %total
        total:
          %mine = phi float [ %part, %read ], [ 0.0, %meet ]
          %all = call float @air.simd_sum.f32(float %mine)
          store float %all, ptr addrspace(1) %out.at
          ret void
        """,
        SHARED + "\n" + SUM,
        threads=107,
    )
    assert out[:96].tolist() == [107] * 96

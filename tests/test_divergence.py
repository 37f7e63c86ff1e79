"""SIMD-group functions and barriers when some lanes are elsewhere, returned or never existed."""

from __future__ import annotations

import numpy as np
import pytest
from threadgroups import run_lanes

LANES = np.arange(32)


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


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


def test_operands_wait_unharmed_while_another_operation_runs(strands):
    out = run_lanes(
        strands,
        """
          %x = uitofp i32 %lane to float
          %low = icmp ult i32 %lane, 8
          br i1 %low, label %then, label %else
        then:
          %sum = call float @air.simd_sum.f32(float %x)
          br label %end
        else:
          %other = call float @air.simd_shuffle_xor.f32(float %x, i16 1)
          br label %end
        end:
          %value = phi float [ %sum, %then ], [ %other, %else ]
          store float %value, ptr addrspace(1) %out.at
          ret void
        """,
        "declare float @air.simd_sum.f32(float) convergent\n"
        "declare float @air.simd_shuffle_xor.f32(float, i16) convergent",
    )
    assert out.tolist() == [28] * 8 + [lane ^ 1 for lane in range(8, 32)]


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

"""Threadgroup barriers: what is seen behind them, and for whom they wait."""

from __future__ import annotations

import pytest
from threadgroups import SUM, run_lanes


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


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

"""Every SIMD-group and quad-group function in a branch that some lanes do not take."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from threadgroups import run_lanes


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


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
    for lane in range(32):
        wanted = expected(lane) if lane in ACTIVE else -1
        # What a lane gets from an inactive one is undefined.
        assert wanted is None or out[lane] == wanted, f"lane {lane}: {out[lane]}, not {wanted}"

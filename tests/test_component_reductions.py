"""LLVM's reductions of a vector's components, whatever lowering a kernel runs in."""

from __future__ import annotations

import numpy as np
import pytest
from threadgroups import POSITION, Dispatcher, assemble, device

from metalgen.software import translate

# Reduction → the same of NumPy, for components 2, thread, 7 and thread / 2.
INTEGERS = {
    "add": np.add,
    "mul": np.multiply,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "smax": np.maximum,
    "smin": np.minimum,
    "umax": np.maximum,
    "umin": np.minimum,
}
FLOATS = {"fadd": np.add, "fmul": np.multiply, "fmax": np.maximum, "fmin": np.minimum}
BARRIER = "declare void @air.wg.barrier(i32, i32) convergent\n"
# A kernel whose threads meet runs as whole SIMD-groups; the others as loops over threads.
MEETING = {True: "call void @air.wg.barrier(i32 1, i32 1)", False: ""}
VECTOR = """
  %half = lshr i32 %position, 1
  %v1 = insertelement <4 x i32> <i32 2, i32 0, i32 7, i32 0>, i32 %position, i32 1
  %v2 = insertelement <4 x i32> %v1, i32 %half, i32 3
"""
STORE = """
  %wide = zext i32 %position to i64
  %at = getelementptr {type}, ptr addrspace(1) %out, i64 %wide
  store {type} %r, ptr addrspace(1) %at
  ret void
"""


def components(dtype):
    lane = np.arange(40)
    return np.stack([np.full(40, 2), lane, np.full(40, 7), lane // 2]).astype(dtype)


def run(dtype, body, declared, strands):
    kernel = translate(
        assemble("f", [device("out", 0), POSITION], body, BARRIER + declared), "f", strands=strands
    )
    out = np.full(40, -1, dtype)
    Dispatcher(kernel, {0: out}).run((40, 1, 1), (40, 1, 1))
    return out


@pytest.mark.parametrize(("strands", "meets"), [("simdgroup", True), ("thread", False)])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name, strands, meets):
    reduce = f"i32 @llvm.vector.reduce.{name}.v4i32(<4 x i32>"
    body = f"{MEETING[meets]} {VECTOR} %r = call {reduce} %v2) {STORE.format(type='i32')}"
    found = run(np.int32, body, f"declare {reduce})", strands)
    assert found.tolist() == INTEGERS[name].reduce(components(np.int32)).tolist()


@pytest.mark.parametrize(("strands", "meets"), [("simdgroup", True), ("thread", False)])
@pytest.mark.parametrize("name", FLOATS)
def test_floats(name, strands, meets):
    start, declared = ("float 0.5, ", "float, ") if name in ("fadd", "fmul") else ("", "")
    reduce = f"float @llvm.vector.reduce.{name}.v4f32"
    body = (
        f"{MEETING[meets]} {VECTOR} %f = sitofp <4 x i32> %v2 to <4 x float>"
        f" %r = call {reduce}({start}<4 x float> %f) {STORE.format(type='float')}"
    )
    found = run(np.float32, body, f"declare {reduce}({declared}<4 x float>)", strands)
    parts = components(np.float32)
    parts = np.vstack([np.full((1, 40), 0.5, np.float32), parts]) if start else parts
    assert found.tolist() == FLOATS[name].reduce(parts).tolist()


@pytest.mark.parametrize("strands", ["simdgroup", "thread"])
def test_what_is_the_same_for_all_threads(strands):
    reduce = "i32 @llvm.vector.reduce.add.v2i32(<2 x i32>"
    body = f"""
      {MEETING[True]}
      %n = load i32, ptr addrspace(1) %out
      {MEETING[True]}
      %v = insertelement <2 x i32> <i32 5, i32 0>, i32 %n, i32 1
      %r = call {reduce} %v)
    """
    found = run(np.int32, body + STORE.format(type="i32"), f"declare {reduce})", strands)
    assert found.tolist() == [4] * 40


@pytest.mark.parametrize("strands", ["simdgroup", "thread"])
def test_truth_values(strands):
    reduce = "i8 @llvm.vector.reduce.or.v2i8(<2 x i8>"
    body = f"""
      {MEETING[True]}
      %odd = and i32 %position, 1
      %v = insertelement <2 x i32> zeroinitializer, i32 %odd, i32 1
      %bytes = trunc <2 x i32> %v to <2 x i8>
      %any = call {reduce} %bytes)
      %r = zext i8 %any to i32
    """
    found = run(np.int32, body + STORE.format(type="i32"), f"declare {reduce})", strands)
    assert found.tolist() == [n % 2 for n in range(40)]

"""What functions give each lane in turn is kept where vectors can be read: room, alignment."""

from __future__ import annotations

import re

import numpy as np
import pytest
from threadgroups import POSITION, Dispatcher, assemble, device

from metalgen.software import translate

# Threads that meet run as whole SIMD-groups.
MEETING = "declare void @air.wg.barrier(i32, i32) convergent\n"
# A function that calls itself runs lane by lane: its results meet in memory.
RECURSIVE = """
define internal {type} @countdown(i32 %n) {{
  %end = icmp eq i32 %n, 0
  br i1 %end, label %zero, label %more
zero:
  ret {type} {first}
more:
  %less = sub i32 %n, 1
  %below = call {type} @countdown(i32 %less)
  %above = {step}
  ret {type} %above
}}
"""
# Result type → its value for 0, the step to the next, its conversion to i32, what 40 lanes give.
RESULTS = {
    "i1": ("true", "xor i1 %below, true", "zext i1 %r to i32", [n % 2 == 0 for n in range(40)]),
    "i8": ("0", "add i8 %below, 3", "zext i8 %r to i32", [3 * n for n in range(40)]),
    "i16": ("7", "add i16 %below, 500", "zext i16 %r to i32", [7 + 500 * n for n in range(40)]),
    "i32": ("1", "add i32 %below, 2", "add i32 %r, 0", [1 + 2 * n for n in range(40)]),
    "i64": ("0", "add i64 %below, 9", "trunc i64 %r to i32", [9 * n for n in range(40)]),
    "half": ("0.0", "fadd half %below, 0xH3C00", "fptoui half %r to i32", list(range(40))),
    "float": ("0.0", "fadd float %below, 2.0", "fptoui float %r to i32", list(range(0, 80, 2))),
}
_SLOT = re.compile(r"(%\S+) = alloca (<32 x \w+>|\[.*?\])(?:, align (\d+))?")
_WHOLE = re.compile(r"load (<32 x (\w+)>), ptr (%\S+?)(?:, align (\d+))?$", re.MULTILINE)
_BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "half": 2, "float": 4}


@pytest.fixture(params=RESULTS)
def result(request, tmp_path, monkeypatch):
    """A type, its case, and what lowering a kernel that has such results wrote."""
    monkeypatch.setenv("METALGEN_DUMP_IR", str(tmp_path))
    type_ = request.param
    first, step, converted, expected = RESULTS[type_]
    body = f"""
      call void @air.wg.barrier(i32 1, i32 1)
      %r = call {type_} @countdown(i32 %position)
      %number = {converted}
      %wide = zext i32 %position to i64
      %at = getelementptr i32, ptr addrspace(1) %out, i64 %wide
      store i32 %number, ptr addrspace(1) %at
      ret void
    """
    functions = MEETING + RECURSIVE.format(type=type_, first=first, step=step)
    kernel = translate(assemble("f", [device("out", 0), POSITION], body, functions), "f")
    return kernel, expected, (tmp_path / "f.lowered.ll").read_text()


def test_each_lane_gets_its_own(result):
    kernel, expected, _ = result
    out = np.full(40, -1, np.int32)
    Dispatcher(kernel, {0: out}).run((40, 1, 1), (40, 1, 1))
    assert out.tolist() == expected


def test_memory_that_is_read_whole_is_large_and_aligned_enough(result):
    _, _, lowered = result
    slots = {name: (type_, align) for name, type_, align in _SLOT.findall(lowered)}
    whole = [found for found in _WHOLE.findall(lowered) if found[2] in slots]
    assert whole, "no lane's result is kept in memory: does this case still test anything?"
    for type_, element, name, asked in whole:
        kept, given = slots[name]
        assert kept == type_, "a vector is read from where something else is kept"
        natural = 32 * _BYTES[element]
        assert int(given or natural) >= int(asked or natural)

"""bf16 arithmetic spelled out in f32 gives what LLVM's own gives, without a call for each lane."""

from __future__ import annotations

import numpy as np
import pytest
from runtime_harness import compile_text, from_bf16, host_machine, machine_for, to_bf16

from metalgen.software.ir import parse_module, write_module
from metalgen.software.runtime.bfloat import spell_out_bf16

MODULE = """
declare TYPE @llvm.fmuladd.SUFFIX(TYPE, TYPE, TYPE)

define void @run(ptr %out, ptr %in, i64 %n) {
entry:
  br label %body

body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %p = getelementptr TYPE, ptr %in, i64 %i
  %1 = load TYPE, ptr %p, align 2
  %2 = fmul TYPE %1, %1
  %3 = fsub fast TYPE %2, SPLAT
  %4 = call TYPE @llvm.fmuladd.SUFFIX(TYPE %3, TYPE %1, TYPE %2)
  %5 = fpext TYPE %4 to WIDE
  %6 = fdiv WIDE %5, %5
  %7 = fadd WIDE %6, %5
  %8 = fptrunc WIDE %7 to TYPE
  %q = getelementptr TYPE, ptr %out, i64 %i
  store TYPE %8, ptr %q, align 2
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end

end:
  ret void
}
"""

FORMS = {
    1: ("bfloat", "float", "bf16", "0xR3F80"),
    4: ("<4 x bfloat>", "<4 x float>", "v4bf16", "splat (bfloat 0xR3F80)"),
    32: ("<32 x bfloat>", "<32 x float>", "v32bf16", "splat (bfloat 0xR3F80)"),
}


def module_text(lanes: int) -> str:
    type_, wide, suffix, one = FORMS[lanes]
    text = MODULE.replace("TYPE", type_).replace("WIDE", wide).replace("SUFFIX", suffix)
    return text.replace("SPLAT", one)


def spelled_out(lanes: int) -> str:
    module = parse_module(module_text(lanes))
    spell_out_bf16(module, module.functions["run"])
    return write_module(module)


@pytest.mark.parametrize("lanes", FORMS)
def test_spelled_out_arithmetic_rounds_as_bf16_does(lanes):
    x = to_bf16(np.random.default_rng(1).uniform(-4, 4, 4096).astype(np.float32))
    out = np.empty_like(x)
    compile_text(spelled_out(lanes), host_machine()).call("run", out, x, x.size // lanes)
    exact = from_bf16(x)
    square = from_bf16(to_bf16(exact * exact))
    less = from_bf16(to_bf16(square - np.float32(1)))
    fused = from_bf16(to_bf16((less.astype(np.float64) * exact + square).astype(np.float32)))
    with np.errstate(invalid="ignore"):
        expected = to_bf16(fused / fused + fused)
    assert (np.abs(out.astype(np.int32) - expected.astype(np.int32)) <= 1).all()
    assert (out == expected).mean() > 0.99


@pytest.mark.parametrize("lanes", FORMS)
def test_no_arithmetic_is_left_to_the_code_generator(lanes):
    machine = host_machine()
    if machine.triple.startswith("x86_64"):
        machine = machine_for("haswell")  # which has no bf16
    text = compile_text(spelled_out(lanes), machine).assembly
    for word in ("fadd", "fsub", "fmul", "fptrunc", "fmuladd"):
        assert not [line for line in text.splitlines() if word in line and "bfloat" in line]


def test_other_types_are_left_alone():
    text = (
        module_text(1)
        .replace("bfloat", "half")
        .replace("bf16", "f16")
        .replace("0xR3F80", "0xH3C00")
    )
    module = parse_module(text)
    before = write_module(module)
    spell_out_bf16(module, module.functions["run"])
    assert write_module(module) == before

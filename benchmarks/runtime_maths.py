"""Prints how fast the software device's maths runs on one core, beside PyTorch's.

Run from a checkout: python benchmarks/runtime_maths.py
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from runtime_harness import compile_text, host_machine

from metalgen.software.runtime import declaration

COUNT = 1 << 16  # fits the second-level cache
FUNCTIONS = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "log": torch.log,
    "tanh": torch.tanh,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "atan": torch.atan,
    "rsqrt": torch.rsqrt,
    "fast_rsqrt": torch.rsqrt,
}


def loop(declarations: str, body: str) -> str:
    """A module whose `run(result, x, vectors)` makes 32 floats %y of %x at a time by `body`."""
    return f"""{declarations}
declare <32 x float> @llvm.fmuladd.v32f32(<32 x float>, <32 x float>, <32 x float>)
define void @run(ptr noalias %out, ptr noalias %in, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %p = getelementptr <32 x float>, ptr %in, i64 %i
  %x = load <32 x float>, ptr %p, align 4
{body}
  %q = getelementptr <32 x float>, ptr %out, i64 %i
  store <32 x float> %y, ptr %q, align 4
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}}"""


def call_of(name: str) -> str:
    wide = f"v32.air.{name}.f32"
    return loop(declaration(wide), f'  %y = call <32 x float> @"{wide}"(<32 x float> %x)')


def gelu() -> str:
    """x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), as kernels spell it out."""

    def splat(value: float) -> str:
        return f"splat (float 0x{np.float64(np.float32(value)).view(np.uint64):016X})"

    body = f"""  %xx = fmul <32 x float> %x, %x
  %c = fmul <32 x float> %xx, {splat(0.044715)}
  %c1 = call <32 x float> @llvm.fmuladd.v32f32(<32 x float> %c, <32 x float> %x, <32 x float> %x)
  %a = fmul <32 x float> %c1, {splat(0.7978845608)}
  %t = call <32 x float> @"v32.air.tanh.f32"(<32 x float> %a)
  %h = fmul <32 x float> %x, {splat(0.5)}
  %y = call <32 x float> @llvm.fmuladd.v32f32(<32 x float> %h, <32 x float> %t, <32 x float> %h)"""
    return loop(declaration("v32.air.tanh.f32"), body)


def gigabytes_per_second(run: Callable[[], object]) -> float:
    """The best of many runs."""
    times = []
    for _ in range(200):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 2 * 4 * COUNT / min(times) / 1e9


def main() -> None:
    torch.set_num_threads(1)
    x = np.random.default_rng(0).uniform(0.1, 6, COUNT).astype(np.float32)
    out = np.empty_like(x)
    tensor, result = torch.from_numpy(x), torch.from_numpy(out)
    cases = {name: (call_of(name), function) for name, function in FUNCTIONS.items()}
    cases["gelu_tanh"] = (gelu(), None)
    print(f"{'function':12} {'runtime':>8} {'PyTorch':>8}   GB/s read and written, one core")
    for name, (text, function) in cases.items():
        compiled = compile_text(text, host_machine())
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
            compiled.engine.get_function_address("run")
        )
        pointers = (out.ctypes.data, x.ctypes.data, COUNT // 32)
        ours = gigabytes_per_second(lambda run=run, pointers=pointers: run(*pointers))
        if function is None:
            theirs = gigabytes_per_second(
                lambda: torch.nn.functional.gelu(tensor, approximate="tanh")
            )
        else:
            theirs = gigabytes_per_second(lambda function=function: function(tensor, out=result))
        print(f"{name:12} {ours:8.1f} {theirs:8.1f}")


if __name__ == "__main__":
    main()

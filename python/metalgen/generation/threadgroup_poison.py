"""Leave a pattern in threadgroup memory, where kernels must not rely on finding anything."""

from __future__ import annotations

import functools

import torch

from metalgen.compiler import compile_source
from metalgen.library import Library, load_metallib

# Devices hand threadgroup memory on as the last threadgroup left it; so many reach every core, as
# a rule.
_THREADGROUPS = 512
_BYTES = 32 * 1024
_SOURCE = """
#include <metal_stdlib>
using namespace metal;

// Fills all threadgroup memory with `pattern`; `seen` keeps the compiler from leaving that out.
kernel void poison(constant uint& pattern     [[buffer(0)]],
                   device uint*   seen        [[buffer(1)]],
                   threadgroup uint* memory   [[threadgroup(0)]],
                   uint thread_id             [[thread_index_in_threadgroup]],
                   uint threadgroup_id        [[threadgroup_position_in_grid]]) {
  for (uint i = thread_id; i < 8192; i += 64) memory[i] = pattern;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_id == 0) seen[threadgroup_id] = memory[threadgroup_id];
}
"""


@functools.cache
def _library() -> Library:
    return load_metallib(compile_source(_SOURCE, name="poison.metal"))


def poison_threadgroup_memory(byte: int, device: torch.device) -> None:
    """Fill the threadgroup memory of the device (of all its cores, near enough) with one byte."""
    seen = torch.empty(_THREADGROUPS, dtype=torch.int32, device=device)
    _library().kernel("poison")(
        byte * 0x01010101,
        seen,
        threadgroups=_THREADGROUPS,
        group_size=64,
        threadgroup_memory={0: _BYTES},
    )

"""How long a small kernel takes from Metal source to metallib: cold, warm, and from the cache."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = """
#include <metal_stdlib>
using namespace metal;
kernel void silu(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
  y[i] = x[i] / (1 + exp(-x[i]));  // variant NUMBER
}
"""
# Measured in the process itself, without what starting Python takes.
MEASURE = """
import sys, time
from metalgen.compiler import compile_source
started = time.perf_counter()
compile_source(sys.argv[1])
print((time.perf_counter() - started) * 1e3)
"""


def in_new_process(source: str) -> float:
    """Milliseconds that a process's first compilation takes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, source], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def in_this_process(source: str) -> float:
    """Milliseconds of one more compilation."""
    from metalgen.compiler import compile_source

    started = time.perf_counter()
    compile_source(source)
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    """Print one table of medians."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ["METALGEN_CACHE_DIR"] = directory
        sources = [SOURCE.replace("NUMBER", str(number)) for number in range(10)]
        rows = {
            "first ever: headers precompiled too": [in_new_process(sources[0])],
            "new source, new process": [in_new_process(source) for source in sources[1:5]],
            "new source, same process": [in_this_process(source) for source in sources[5:]],
            "cached, new process": [in_new_process(source) for source in sources[:5]],
            "cached, same process": [
                in_this_process(source) for source in sources for _ in "12345"
            ],
        }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(f"{'':<44}{'ms':>10}")
    for label, milliseconds in rows.items():
        print(f"{label:<44}{statistics.median(milliseconds):>10.2f}")


if __name__ == "__main__":
    main()

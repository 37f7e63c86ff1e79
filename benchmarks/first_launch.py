"""First launches of kernels: how long from the call until one threadgroup has run, by family.

    python benchmarks/first_launch.py [FILE...] [--step 150] [--tiers off]

A FILE is a metallib, a library that holds metallibs, or a wheel that holds either, as for
translate_apple_kernels.py; without one metalgen's own kernels are launched. Every kernel is
launched in a process that has torch and metalgen imported and has launched others before; the cache
has nothing of it. Its buffers hold zeros, so that what is measured is translation. Then
it is waited for the optimised code, so that nothing else runs while the next is measured.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from apple_kernels import family, metallibs, unpack
from torch import Tensor
from worker_pool import Lost, Pool

import metalgen
from metalgen import device, resources
from metalgen.air import KernelInfo, Metallib
from metalgen.cache import Cache, cache_directory
from metalgen.errors import MetalgenError
from metalgen.library import Library
from metalgen.library.parameter import parameter_of

_AIM = 0.1  # seconds
_THREADS = 128
_BYTES = 1 << 24  # of the zeros that every buffer is bound to
_MEMORY = 8192  # bytes of dynamic threadgroup memory
_WARM_UP = """
    #include <metal_stdlib>
    using namespace metal;
    kernel void doubled(device float* x, uint i [[thread_position_in_grid]]) { x[i] += x[i]; }
    kernel void summed(device float* x, uint i [[thread_position_in_threadgroup]]) {
      threadgroup float part[32];
      part[i % 32] = simd_sum(x[i]);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (int j = 0; j < 8; ++j) x[i] += exp(part[(i + j) % 32] / x[j]);
    }
"""


@dataclass(frozen=True, slots=True)
class Task:
    """One kernel of the metallib at `offset` of a file."""

    file: str
    offset: int
    kernel: str
    rounds: int


@dataclass(frozen=True, slots=True)
class Launched:
    """Seconds of the first launch, by the clock and of this process's processor time; then how
    long the optimised code was waited for.
    """

    seconds: float
    processor: float
    settling: float
    failure: str = ""


def main() -> None:
    """Print one table."""
    options = parsed_options()
    with ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["METALGEN_CACHE_DIR"] = str(here / "cache")
        os.environ["METALGEN_TIERS"] = options.tiers
        files = [file for path in options.files for file in unpack(path, here)]
        pool = Pool(launch, 1, options.limit)
        done = list(pool.map(tasks(files or [resources.metallib()], options)))
    report([(task.kernel, result) for task, result in done])


def parsed_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--step", type=int, default=1, help="every Nth kernel by name only")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first N kernels")
    parser.add_argument("--only", default="", help="only kernels whose name contains this")
    parser.add_argument("--tiers", choices=["on", "off"], default="on")
    parser.add_argument("--rounds", type=int, default=3, help="first launches, the best counts")
    parser.add_argument("--limit", type=float, default=120, help="seconds a kernel may take")
    return parser.parse_args()


def tasks(files: Sequence[Path], options: argparse.Namespace) -> list[Task]:
    """What is to be launched."""
    found = []
    for library in metallibs(list(files)):
        assert library.path is not None
        names = sorted(name for name in library.names if options.only in name)
        for name in names[options.skip :: options.step]:
            found.append(Task(library.path, library.offset, name, options.rounds))
    return found


def launch(task: Task) -> Launched:
    """The quickest of a kernel's first launches, each of a new library and with nothing cached."""
    warm_up()
    return min((launch_once(task) for _ in range(task.rounds)), key=lambda each: each.seconds)


def launch_once(task: Task) -> Launched:
    metallib = _opened(task.file, task.offset)
    info = metallib.kernel(task.kernel)
    given, memory = tensors(info), dict.fromkeys(indices(info, "threadgroup"), _MEMORY)
    constants: dict[int | str, int | float | bool] = {
        c.index: c.type_name != "bool" for c in info.constants
    }
    library = Library(metallib, lambda: b"")
    for tensor in given:
        tensor.zero_()  # strides and offsets may lie where the last kernel wrote
    start, processor = time.perf_counter(), time.process_time()
    try:
        kernel = library.kernel(task.kernel)
        kernel(
            *given,
            threadgroups=1,
            group_size=min(_THREADS, info.max_total_threads or _THREADS),
            threadgroup_memory=memory,
            constants=constants,
        )
    except MetalgenError as error:
        return Launched(0, 0, 0, f"{type(error).__name__}: {error}")
    end, processor = time.perf_counter(), time.process_time() - processor
    device.settle()
    Cache(cache_directory()).clear()
    return Launched(end - start, processor, time.perf_counter() - end)


@functools.cache
def warm_up() -> None:
    """Loads LLVM, makes what all kernels share and starts what optimises."""
    library = metalgen.compile_shader(_WARM_UP)
    for name in library.names:
        library.kernel(name)(torch.ones(_THREADS), group_size=_THREADS)
    device.settle()


@functools.cache
def _opened(file: str, offset: int) -> Metallib:
    return Metallib.open(file, offset=offset)


def tensors(info: KernelInfo) -> list[Tensor]:
    """Zeros for every buffer of a kernel, of a type that it takes."""
    buffers = sorted(info.buffers, key=lambda buffer: buffer.index or 0)
    same = groupby(buffers, key=lambda buffer: buffer.index)
    return [_zeros(min(parameter_of(list(each)).dtypes, key=str)) for _, each in same]


@functools.cache
def _zeros(dtype: torch.dtype) -> Tensor:
    return torch.zeros(_BYTES, dtype=torch.uint8).view(dtype)


def indices(info: KernelInfo, kind: str) -> list[int]:
    return [a.index for a in info.arguments if a.kind == kind and a.index is not None]


def report(results: Sequence[tuple[str, Launched | Lost]]) -> None:
    """Milliseconds by family, then the slowest and what failed."""
    failed = {kernel: reason for kernel, r in results if (reason := failure_of(r))}
    launched = [(kernel, r) for kernel, r in results if isinstance(r, Launched) and not r.failure]
    families: defaultdict[str, list[Launched]] = defaultdict(list)
    for kernel, each in launched:
        families[family(kernel)].append(each)
    print(HEAD)
    for name, members in sorted(families.items(), key=lambda item: -len(item[1])):
        print(row(name, members))
    print(row("all", [each for _, each in launched]))
    for kernel, each in sorted(launched, key=lambda pair: -pair[1].seconds)[:10]:
        print(f"{each.seconds * 1e3:6.0f} ms  {kernel}")
    for kernel, reason in failed.items():
        print(f"failed: {kernel}: {reason}")


def failure_of(result: Launched | Lost) -> str:
    return result.reason if isinstance(result, Lost) else result.failure


HEAD = (
    f"{'milliseconds':26} {'kernels':>7} {'< 100':>6} {'median':>7} {'90 %':>7} {'most':>7} "
    f"{'CPU < 100':>9} {'median':>7} {'most':>7} {'then optimised':>14}"
)


def row(name: str, members: Sequence[Launched]) -> str:
    clock = sorted(each.seconds * 1e3 for each in members)
    processor = sorted(each.processor * 1e3 for each in members)
    return (
        f"{name:26} {len(members):7} {share(clock):6.0%} {statistics.median(clock):7.0f} "
        f"{clock[len(clock) * 9 // 10]:7.0f} {clock[-1]:7.0f} {share(processor):9.0%} "
        f"{statistics.median(processor):7.0f} {processor[-1]:7.0f} "
        f"{statistics.median(each.settling * 1e3 for each in members):14.0f}"
    )


def share(milliseconds: Sequence[float]) -> float:
    """How many reach the aim."""
    return sum(time < _AIM * 1e3 for time in milliseconds) / len(milliseconds)


if __name__ == "__main__":
    main()

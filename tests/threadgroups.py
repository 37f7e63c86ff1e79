"""AIR kernels written as text, and a dispatcher in ctypes that needs no native core."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import llvmlite.binding as llvm
import numpy as np

from metalgen.software import NativeKernel, abi, target, translate

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its LLVM declaration and what its metadata says."""

    declaration: str
    metadata: str


def device(name: str, index: int) -> Parameter:
    """`device void* name [[buffer(index)]]`."""
    return _buffer(name, index, 1, "air.read_write")


def constant(name: str, index: int) -> Parameter:
    """`constant void* name [[buffer(index)]]`."""
    return _buffer(name, index, 2, "air.read")


def threadgroup(name: str, index: int) -> Parameter:
    """`threadgroup void* name [[threadgroup(index)]]`."""
    return _buffer(name, index, 3, "air.read_write")


def _buffer(name: str, index: int, space: int, access: str) -> Parameter:
    return Parameter(
        f"ptr addrspace({space}) %{name}",
        f'!"air.buffer", !"air.location_index", i32 {index}, i32 1, !"{access}", '
        f'!"air.address_space", i32 {space}',
    )


def builtin(name: str, attribute: str, type_: str = "i32") -> Parameter:
    """`uint name [[attribute]]`."""
    return Parameter(f"{type_} %{name}", f'!"air.{attribute}"')


LANE = builtin("lane", "thread_index_in_simdgroup")
INDEX = builtin("index", "thread_index_in_threadgroup")
SIMDGROUP = builtin("simdgroup", "simdgroup_index_in_threadgroup")
POSITION = builtin("position", "thread_position_in_grid")


def assemble(name: str, parameters: list[Parameter], body: str, outside: str = "") -> bytes:
    """Bitcode of a kernel in the form of Apple's compiler; `outside` holds declarations."""
    declared = ", ".join(parameter.declaration for parameter in parameters)
    nodes = [f"!{i + 2} = !{{i32 {i}, {p.metadata}}}" for i, p in enumerate(parameters)]
    listed = ", ".join(f"!{i + 2}" for i in range(len(parameters)))
    end = 2 + len(parameters)
    text = "\n".join(
        [
            outside,
            f"define void @{name}({declared}) {{",
            body,
            "}",
            "!air.kernel = !{!0}",
            f"!0 = !{{ptr @{name}, !1, !{end}}}",
            "!1 = !{}",
            *nodes,
            f"!{end} = !{{{listed}}}",
        ]
    )
    target.initialize()
    return llvm.parse_assembly(text, llvm.create_context()).as_bitcode()


@dataclass
class Dispatcher:
    """Runs a native kernel's threadgroups one after the other, as dispatchThreads does."""

    kernel: NativeKernel
    buffers: Mapping[int, np.ndarray]
    threadgroup_bytes: Mapping[int, int] = field(default_factory=dict)
    _kept: list[object] = field(default_factory=list)

    def run(self, threads: Size, group_size: Size) -> None:
        counts = [-(-t // s) for t, s in zip(threads, group_size, strict=True)]
        for z, y, x in itertools.product(*(range(count) for count in reversed(counts))):
            position = (x, y, z)
            size = [
                min(s, t - p * s) for t, s, p in zip(threads, group_size, position, strict=True)
            ]
            self._run_one(position, size, group_size, threads, counts)

    def _run_one(self, position, size, group_size, threads, counts) -> None:
        group = abi.Threadgroup(
            buffers=self._table({i: a.ctypes.data for i, a in self.buffers.items()}),
            threadgroup_buffers=self._table(
                {i: self._aligned(n) for i, n in self.threadgroup_bytes.items()}
            ),
            threadgroup_memory=self._aligned(self.kernel.threadgroup_bytes),
            allocate=abi.ALLOCATE(lambda _, size: self._aligned(size)),
            position=position,
            size=tuple(size),
            full_size=group_size,
            grid=threads,
            groups=tuple(counts),
        )
        abi.ENTRY(self.kernel.address)(ctypes.addressof(group))
        self._kept.clear()

    def _table(self, pointers: Mapping[int, int]):
        table = (ctypes.c_void_p * abi.BUFFERS)()
        for index, pointer in pointers.items():
            table[index] = pointer
        self._kept.append(table)
        return ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))

    def _aligned(self, size: int) -> int:
        memory = ctypes.create_string_buffer(b"\xff" * (size + 64))
        self._kept.append(memory)
        return (ctypes.addressof(memory) + 63) // 64 * 64


SUM = "declare float @air.simd_sum.f32(float) convergent"


def run_lanes(strands: str, body: str, outside: str = SUM, threads: int = 32) -> np.ndarray:
    """The float that each thread of one threadgroup leaves in `%out.at`; -1 where none did."""
    head = """
      %wide = zext i32 %index to i64
      %out.at = getelementptr float, ptr addrspace(1) %out, i64 %wide
    """
    bitcode = assemble("kernel", [device("out", 0), INDEX, LANE, SIMDGROUP], head + body, outside)
    out = np.full(threads, -1, np.float32)
    kernel = translate(bitcode, "kernel", strands=strands)
    Dispatcher(kernel, {0: out}).run((threads, 1, 1), (threads, 1, 1))
    return out

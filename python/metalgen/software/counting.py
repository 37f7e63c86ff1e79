"""Instruments a kernel: counts what its SIMD-groups execute, block by block and access by access.

The calls are inserted between `prepare` and the lowering, so they see the kernel as it was
optimised and every way of running it counts alike. Nothing of this is there unless asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal as OneOf

import numpy as np
from numpy.typing import NDArray

from metalgen.software.ir.model import (
    Block,
    Function,
    Global,
    Instruction,
    Literal,
    Local,
    Module,
    Operand,
)
from metalgen.software.ir.types import FLOAT_BITS, I32, I64, Float, Int, Pointer, Type, Vector
from metalgen.software.runtime.tally import ACCESS, BLOCK, MATRIX

LINE_BYTES = 128
SPACES = {1: "device", 2: "constant", 3: "threadgroup"}

Kind = OneOf["block", "load", "store", "atomic"]

_MATRIX_ACCESS = re.compile(
    r"air\.simdgroup_matrix_8x8_(load|store)(_strided)?\.v64(\w+)\.p(\d)\w+$"
)
_ATOMIC = re.compile(r"air\.atomic\.(?:global|local)\.(\w+)")
_SUFFIX_BITS = {"bf16": 16, "f16": 16, "f32": 32}
_COUNTERS = 5  # as maths/tally.cpp has them


@dataclass(frozen=True, slots=True)
class Site:
    """A block, or one access to memory; `bytes` are a lane's, or of a matrix the SIMD-group's."""

    kind: Kind
    block: str
    space: str = ""  # "device", "constant", "threadgroup"
    bytes: int = 0
    is_matrix: bool = False
    instructions: tuple[Instruction, ...] = ()  # a block's, before anything was inserted
    position: int | None = None  # of the kernel's parameter that an access goes by, if clear


@dataclass(slots=True)
class Counts:
    """The sites of one translation of a kernel; native code adds to `values`, a row for each."""

    kernel: str
    sites: tuple[Site, ...]
    values: NDArray[np.uint64]


@dataclass(slots=True)
class Counting:
    """What instrumented kernels have counted; must live as long as their native code."""

    kernels: list[Counts] = field(default_factory=list)

    def instrument(self, kernel: str, module: Module, function: Function) -> None:
        """Insert the counting into `function`, in place."""
        planned = list(sites(module, function))
        counts = Counts(
            kernel,
            tuple(site for site, _, _ in planned),
            np.zeros((max(1, len(planned)), _COUNTERS), np.uint64),
        )
        self.kernels.append(counts)
        start = counts.values.ctypes.data
        blocks = {block.label: block for block in function.blocks}
        inserted: dict[tuple[str, int], list[Instruction]] = {}
        for number, (site, place, access) in enumerate(planned):
            address = start + number * _COUNTERS * 8
            base = "" if site.position is None else function.parameters[site.position].name
            lines = inserted.setdefault((site.block, place), [])
            lines += _calls(site, access, base, address, f"%metalgen.tally.{number}")
        for label, block in blocks.items():
            block.instructions = list(_merged(block, inserted, label))
        for name, operands in ((BLOCK, 1), (ACCESS, 3), (MATRIX, 4)):
            parameters = ", ".join(["i64"] * operands)
            # Convergent, as the kernel's own SIMD-group operations are.
            module.declarations[name] = f"declare i32 @{name}({parameters}) convergent"

    def clear(self) -> None:
        """Begin again at zero."""
        for counts in self.kernels:
            counts.values[:] = 0


def _merged(
    block: Block, inserted: dict[tuple[str, int], list[Instruction]], label: str
) -> Iterator[Instruction]:
    for place, instruction in enumerate(block.instructions):
        yield from inserted.get((label, place), ())
        yield instruction


Access = tuple[Operand, ...]  # the pointer, for matrices also the stride and the origin


def sites(module: Module, function: Function) -> Iterator[tuple[Site, int, Access]]:
    """Every site, the place in its block that is counted before, and what an access goes to."""
    names = _parameters(function)
    for block in function.blocks:
        first = next(i for i, each in enumerate(block.instructions) if each.opcode != "phi")
        yield Site("block", block.label, instructions=tuple(block.instructions)), first, ()
        for place, instruction in enumerate(block.instructions):
            for site, access in _accesses(module, block.label, instruction):
                if site.space:
                    position = names.get(str(access[0].value))
                    yield replace(site, position=position), max(place, first), access


def _parameters(function: Function) -> dict[str, int]:
    """For pointers the parameter that they were computed from, by its position."""
    parameters = enumerate(function.parameters)
    roots = {p.name: position for position, p in parameters if isinstance(p.type, Pointer)}
    for instruction in function.instructions():
        if instruction.opcode in ("getelementptr", "phi", "select", "bitcast") and isinstance(
            instruction.type, Pointer
        ):
            found = {roots[str(o.value)] for o in instruction.operands if str(o.value) in roots}
            if len(found) == 1:
                roots[instruction.result] = found.pop()
    return roots


def _accesses(
    module: Module, label: str, instruction: Instruction
) -> Iterator[tuple[Site, Access]]:
    opcode, operands = instruction.opcode, instruction.operands
    if opcode == "load":
        yield _plain("load", module, label, instruction.type, operands[0])
    elif opcode == "store":
        yield _plain("store", module, label, operands[0].type, operands[1])
    elif opcode == "call":
        yield from _called(module, label, instruction)


def _called(module: Module, label: str, call: Instruction) -> Iterator[tuple[Site, Access]]:
    name, operands = call.callee_name, call.operands
    matrix = _MATRIX_ACCESS.match(name)
    if matrix is not None:
        kind: Kind = "load" if matrix[1] == "load" else "store"
        size = 64 * _SUFFIX_BITS.get(matrix[3], 32) // 8
        pointer, *rest = operands[kind == "store" :]
        access = (pointer, *rest[1:3]) if matrix[2] else (pointer, *rest[:2])
        yield Site(kind, label, SPACES.get(int(matrix[4]), ""), size, is_matrix=True), access
    elif _ATOMIC.match(name) and operands and isinstance(operands[0].type, Pointer):
        type_ = call.type if isinstance(call.type, Int | Float) else I32
        yield _plain("atomic", module, label, type_, operands[0])
    elif name.startswith("llvm.mem") and str(operands[2].value).isdigit():
        size = int(str(operands[2].value))
        yield _sized("store", label, size, operands[0])
        if not name.startswith("llvm.memset"):
            yield _sized("load", label, size, operands[1])


def _plain(
    kind: Kind, module: Module, label: str, type_: Type, pointer: Operand
) -> tuple[Site, Access]:
    return _sized(kind, label, _stored_bytes(module, type_), pointer)


def _sized(kind: Kind, label: str, size: int, pointer: Operand) -> tuple[Site, Access]:
    space = pointer.type.address_space if isinstance(pointer.type, Pointer) else 0
    return Site(kind, label, SPACES.get(space, ""), size), (pointer,)


def _stored_bytes(module: Module, type_: Type) -> int:
    """What a load or store of the type touches: of three floats twelve bytes, not sixteen."""
    if isinstance(type_, Vector):
        element = type_.element
        bits = (
            FLOAT_BITS[element.name] if isinstance(element, Float) else module.layout.bits(element)
        )
        return (type_.count * bits + 7) // 8
    return module.layout.size(type_)


@dataclass(slots=True)
class _Inserted:
    """The instructions that count one site; `of` appends one and returns its result."""

    stem: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, opcode: str, *operands: Operand) -> Operand:
        """An instruction that gives an i64; attributes of a call's operands are left behind."""
        name = f"{self.stem}.{len(self.instructions)}"
        plain = [Operand(operand.type, operand.value) for operand in operands]
        self.instructions.append(Instruction(opcode, I64, plain, name))
        return Operand(I64, Local(name))

    def call(self, callee: str, *operands: Operand) -> None:
        name = f"{self.stem}.{len(self.instructions)}"
        target = Global(f"@{callee}")
        self.instructions.append(Instruction("call", I32, list(operands), name, callee=target))

    def offset(self, base: str, pointer: Operand) -> Operand:
        """Where a pointer points, from its buffer's start: a GPU's begin at a page, a host's not.

        The address itself where the buffer is not clear.
        """
        at = self.of("ptrtoint", pointer)
        if not base:
            return at
        return self.of("sub", at, self.of("ptrtoint", Operand(pointer.type, Local(base))))


def _calls(site: Site, access: Access, base: str, address: int, name: str) -> list[Instruction]:
    inserted = _Inserted(name)
    if site.kind == "block":
        inserted.call(BLOCK, _number(address))
    elif site.is_matrix:
        _count_matrix(inserted, site, access, base, address)
    else:
        at = inserted.offset(base, access[0])
        inserted.call(ACCESS, _number(address), at, _number(site.bytes))
    return inserted.instructions


def _count_matrix(inserted: _Inserted, site: Site, access: Access, base: str, address: int) -> None:
    """The first row's address, from where the matrix begins and what the origin skips."""
    pointer, stride, origin = access
    element = _number(site.bytes // 64)
    x, y = (inserted.of("extractelement", origin, _lane(i)) for i in (0, 1))
    if isinstance(stride.type, Vector):  # of columns and of rows, one of them 1
        across, down = (inserted.of("extractelement", stride, _lane(i)) for i in (0, 1))
        skipped = inserted.of("add", inserted.of("mul", x, across), inserted.of("mul", y, down))
        step = inserted.of("sub", inserted.of("add", across, down), _number(1))
    else:
        step = Operand(stride.type, stride.value)
        skipped = inserted.of("add", x, inserted.of("mul", y, step))
    begin = inserted.offset(base, pointer)
    first = inserted.of("add", begin, inserted.of("mul", skipped, element))
    row = _number(8 * site.bytes // 64)
    inserted.call(MATRIX, _number(address), first, inserted.of("mul", step, element), row)


def _number(value: int) -> Operand:
    return Operand(I64, Literal(str(value)))


def _lane(index: int) -> Operand:
    return Operand(I32, Literal(str(index)))

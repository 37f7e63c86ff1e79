"""Calls of `llvm.*` intrinsics and `air.*` functions by a whole SIMD-group."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Instruction, Local
from metalgen.software.ir.types import F32, I1, Type, Vector
from metalgen.software.simdgroup import memory, shuffles
from metalgen.software.simdgroup.access import Access
from metalgen.software.simdgroup.addresses import constant
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.matrices import lower_matrix
from metalgen.software.simdgroup.operations import (
    is_per_lane,
    is_simdgroup_operation,
    is_uniform_result,
    scalar_name,
)
from metalgen.software.simdgroup.private import PrivateLayout
from metalgen.software.simdgroup.reductions import lower_reduction
from metalgen.software.simdgroup.values import WIDTH, Held, Mask, Same, Wide, wide_type

_LARGEST_BLOCK = 4096  # bytes of a memcpy or memset that is unrolled
_IMMEDIATE = {"llvm.ctlz": 1, "llvm.cttz": 1, "llvm.abs": 1}  # intrinsic → first i1 immediate
_SUFFIXES = {"half": "f16", "bfloat": "bf16", "float": "f32"}  # of types in functions' names
_TYPE_IN_NAME = re.compile(r"\.(v\d+)?(i\d+|f\d+|bf16)$")


@dataclass(frozen=True, slots=True)
class Calls:
    """Lowers calls; `defined` tells which functions the runtime has."""

    lanes: Lanes
    private: PrivateLayout
    defined: Callable[[str], bool]
    in_turn: frozenset[str]  # products that LLVM must not mix with others

    def lower(self, call: Instruction, operands: list[Held], mask: Mask) -> Held | None:
        """The result of a call that is no barrier; None for calls without one."""
        name = call.callee_name
        if not name:
            raise UnsupportedError("not supported: a call through a function pointer")
        if name.startswith("llvm.mem"):
            self._memory(call, operands, mask)
            return None
        if name.startswith("air.simdgroup_matrix_8x8_"):
            return lower_matrix(self.lanes, call, operands, mask, self.in_turn)
        if name.startswith(("air.dot.", "air.fast_dot.")):
            return self._dot(call, operands)
        if name.startswith("llvm.vector.reduce."):
            return lower_reduction(self.lanes, call, operands)
        return self._by_component(call, operands, mask)

    def _by_component(self, call: Instruction, operands: list[Held], mask: Mask) -> Held | None:
        name = call.callee_name
        types = self.lanes.part_types(call.type)
        lower = self._intrinsic if name.startswith("llvm.") else self._function
        if not types:
            return lower(name, call.type, operands, mask)
        if not isinstance(call.type, Vector):
            raise UnsupportedError(f"not supported: the function {name!r} on the software device")
        elements = [
            lower(
                scalar_name(name),
                element,
                [self.lanes.part(o, i) if self._is_parted(o) else o for o in operands],
                mask,
            )
            for i, element in enumerate(types)
        ]
        return self.lanes.parted(call.type, [e for e in elements if e is not None])

    def _is_parted(self, held: Held) -> bool:
        return bool(self.lanes.part_types(held.type))

    # llvm.*

    def _intrinsic(self, name: str, type_: Type, operands: list[Held], mask: Mask) -> Held:
        stem = _TYPE_IN_NAME.sub("", name)
        builder = self.lanes.builder
        if all(isinstance(o, Same) for o in operands):
            arguments = [(str(o.type), self.lanes.same(o)) for o in operands]
            return Same(type_, builder.call(name, str(type_), arguments))
        immediate = _IMMEDIATE.get(stem, len(operands))
        arguments = [
            (str(o.type), self.lanes.same(o))
            if i >= immediate
            else (wide_type(o.type), self.lanes.wide(o))
            for i, o in enumerate(operands)
        ]
        wide_name = f"{stem}.v{WIDTH}{name[len(stem) + 1 :]}"
        return Wide(type_, builder.call(wide_name, wide_type(type_), arguments))

    # air.*

    def _function(self, name: str, type_: Type, operands: list[Held], mask: Mask) -> Held | None:
        if is_simdgroup_operation(name):
            return self._simdgroup_operation(name, type_, operands, mask)
        same = all(isinstance(o, Same) for o in operands)
        if same and not is_per_lane(name):
            arguments = [(str(o.type), self.lanes.same(o)) for o in operands]
            text = self.lanes.builder.call(name, str(type_), arguments)
            return Same(type_, text) if text else None
        if self.defined(f"v{WIDTH}.{name}"):
            return self._wide_call(f"v{WIDTH}.{name}", type_, operands, [])
        return self._one_lane_at_a_time(name, type_, operands, mask)

    def _simdgroup_operation(
        self, name: str, type_: Type, operands: list[Held], mask: Mask
    ) -> Held:
        direct = shuffles.lower(self.lanes, name, type_, operands, mask)
        if direct is not None:
            return direct
        uniform = [isinstance(o, Same) for o in operands]
        active = [("i32", mask.bits)]
        if is_uniform_result(name, uniform):
            result = self._arguments(operands)
            text = self.lanes.builder.call(f"v{WIDTH}.{name}", str(type_), result + active)
            return Same(type_, text)
        return self._wide_call(f"v{WIDTH}.{name}", type_, operands, active)

    def _arguments(self, operands: Sequence[Held]) -> list[tuple[str, str]]:
        builder = self.lanes.builder
        arguments = []
        for operand in operands:
            wide = self.lanes.wide(operand)
            if operand.type == I1:
                arguments.append(("i32", builder.value(f"bitcast <{WIDTH} x i1> {wide} to i32")))
            else:
                arguments.append((wide_type(operand.type), wide))
        return arguments

    def _wide_call(
        self, name: str, type_: Type, operands: list[Held], more: list[tuple[str, str]]
    ) -> Held:
        builder = self.lanes.builder
        arguments = self._arguments(operands) + more
        if type_ == I1:
            bits = builder.call(name, "i32", arguments)
            return Wide(type_, builder.value(f"bitcast i32 {bits} to <{WIDTH} x i1>"))
        return Wide(type_, builder.call(name, wide_type(type_), arguments))

    def _one_lane_at_a_time(
        self, name: str, type_: Type, operands: list[Held], mask: Mask
    ) -> Held | None:
        """A loop over the active lanes, lowest first: for atomics and what the runtime has no wide
        form of.
        """
        builder = self.lanes.builder
        has_result = str(type_) != "void"
        # Aligned as what it holds, since the whole of it is read at once; a byte for each truth.
        kept = f"<{WIDTH} x i8>" if type_ == I1 else wide_type(type_)
        result = builder.slot(kept) if has_result else ""
        left = builder.slot("i32")
        builder.store("i32", mask.bits, left)
        wide = {i: self.lanes.wide(o) for i, o in enumerate(operands) if not isinstance(o, Same)}
        loop, done = builder.fresh("lane"), builder.fresh("lanes.done")
        builder.jump(loop)
        builder.label(loop)
        bits = builder.load("i32", left)
        lane = builder.call("llvm.cttz.i32", "i32", [("i32", bits), ("i1", "true")])
        arguments = []
        for i, operand in enumerate(operands):
            if isinstance(operand, Same):
                arguments.append((str(operand.type), operand.text))
            else:
                extract = f"extractelement {wide_type(operand.type)} {wide[i]}, i32 {lane}"
                arguments.append((str(operand.type), builder.value(extract)))
        text = builder.call(name, str(type_), arguments)
        if has_result:
            stored = builder.value(f"zext i1 {text} to i8") if type_ == I1 else text
            element = "i8" if type_ == I1 else str(type_)
            at = builder.value(f"getelementptr {element}, ptr {result}, i32 {lane}")
            builder.emit(f"store {element} {stored}, ptr {at}")
        lower = builder.value(f"sub i32 {bits}, 1")
        rest = builder.value(f"and i32 {bits}, {lower}")
        builder.store("i32", rest, left)
        builder.branch(builder.any(rest), loop, done)
        builder.label(done)
        return Wide(type_, self._collected(type_, result)) if has_result else None

    def _collected(self, type_: Type, slot: str) -> str:
        builder = self.lanes.builder
        if type_ != I1:
            return builder.load(wide_type(type_), slot)
        loaded = builder.load(f"<{WIDTH} x i8>", slot)
        return builder.value(f"trunc <{WIDTH} x i8> {loaded} to <{WIDTH} x i1>")

    def _dot(self, call: Instruction, operands: list[Held]) -> Held:
        """Term by term in float, as the runtime's scalar form."""
        vectors = [self.lanes.parts(o) for o in operands]
        same = all(isinstance(part, Same) for parts in vectors for part in parts)
        type_ = str(F32) if same else wide_type(F32)
        suffix = "f32" if same else f"v{WIDTH}f32"
        total = "0.0" if same else "zeroinitializer"
        for pair in zip(*vectors, strict=True):
            factors = [(type_, self._converted(part, F32, same)) for part in pair]
            total = self.lanes.builder.call(
                f"llvm.fmuladd.{suffix}", type_, [*factors, (type_, total)]
            )
        result = Same(F32, total) if same else Wide(F32, total)
        text = self._converted(result, call.type, same)
        return Same(call.type, text) if same else Wide(call.type, text)

    def _converted(self, held: Held, type_: Type, same: bool) -> str:
        """A scalar in a type of another width, for one lane or for all."""
        text = self.lanes.same(held) if same else self.lanes.wide(held)
        if held.type == type_:
            return text
        source, target = (_SUFFIXES[str(t)] for t in (held.type, type_))
        name = f"air.convert.f.{target}.f.{source}"
        if same:
            return self.lanes.builder.call(name, str(type_), [(str(held.type), text)])
        wide = [(wide_type(held.type), text)]
        return self.lanes.builder.call(f"v{WIDTH}.{name}", wide_type(type_), wide)

    # Blocks of memory.

    def _memory(self, call: Instruction, operands: list[Held], mask: Mask) -> None:
        length = constant(call.operands[2])
        if length is None or length > _LARGEST_BLOCK:
            raise UnsupportedError("not supported: a copy of variable length")
        destination = self._access(call, 0, operands, mask)
        if call.callee_name.startswith("llvm.memset"):
            value = call.operands[0].value
            pointer = value.name if isinstance(value, Local) else ""
            granule = self.private.interleaved.get(pointer) or _granule(length, destination.align)
            memory.fill(destination, operands[1], length, granule)
        else:
            memory.copy(destination, self._access(call, 1, operands, mask), length)

    def _access(self, call: Instruction, index: int, operands: list[Held], mask: Mask) -> Access:
        operand = call.operands[index]
        match = re.search(r"align (\d+)", operand.attributes)
        name = operand.value.name if isinstance(operand.value, Local) else ""
        align = int(match[1]) if match else 1
        return Access(self.lanes, operands[index], mask, align, self.private.scale(name))


def _granule(length: int, align: int) -> int:
    return next(size for size in (8, 4, 2, 1) if length % size == 0 and align % size == 0)

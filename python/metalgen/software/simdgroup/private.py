"""Lays out private variables so that the lanes' copies of one element lie side by side where
possible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.software.ir.model import Function, Instruction, Local
from metalgen.software.ir.types import Layout, Type
from metalgen.software.simdgroup.addresses import address_steps, constant
from metalgen.software.simdgroup.shapes import part_types
from metalgen.software.simdgroup.values import WIDTH

_DERIVING = ("getelementptr", "bitcast", "phi", "select", "freeze", "addrspacecast")


@dataclass(frozen=True, slots=True)
class PrivateLayout:
    """Where each lane's copy of each private variable is.

    An interleaved variable keeps element e of lane l at e · 32 + l (in elements), so offsets into
    it count 32 times; another keeps the lanes' whole copies one after the other.
    """

    strides: dict[str, int]  # alloca → bytes from one lane's copy to the next
    sizes: dict[str, int]  # alloca → bytes for all lanes
    interleaved: dict[str, int]  # pointers into interleaved variables → bytes of an element

    def scale(self, pointer: str) -> int:
        """How many times offsets from `pointer` count."""
        return WIDTH if pointer in self.interleaved else 1


def lay_out(function: Function, layout: Layout) -> PrivateLayout:
    users = _users(function)
    strides: dict[str, int] = {}
    sizes: dict[str, int] = {}
    interleaved: dict[str, int] = {}
    for instruction in function.instructions():
        if instruction.opcode != "alloca":
            continue
        assert instruction.source_type is not None
        count = constant(instruction.operands[0]) if instruction.operands else 1
        size = layout.size(instruction.source_type) * (count or 1)
        derived = _derived(instruction.result, users)
        granule = _granule(derived, users, layout)
        if granule and size % granule == 0:
            strides[instruction.result] = granule
            interleaved |= dict.fromkeys(derived, granule)
        else:
            size = -(-size // 16) * 16
            strides[instruction.result] = size
        sizes[instruction.result] = size * WIDTH
    return PrivateLayout(strides, sizes, interleaved)


def _users(function: Function) -> dict[str, list[Instruction]]:
    users: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in function.instructions():
        for operand in instruction.operands:
            if isinstance(operand.value, Local):
                users[operand.value.name].append(instruction)
    return users


def _derived(root: str, users: dict[str, list[Instruction]]) -> set[str]:
    """`root` and every pointer computed from it."""
    derived, pending = {root}, [root]
    while pending:
        for user in users[pending.pop()]:
            if user.opcode in _DERIVING and user.result not in derived:
                derived.add(user.result)
                pending.append(user.result)
    return derived


def _granule(derived: set[str], users: dict[str, list[Instruction]], layout: Layout) -> int:
    """The size of every scalar accessed through `derived`; 0 if they differ or one escapes."""
    sizes: set[int] = set()
    offsets: set[int] = set()
    for name in derived:
        for user in users[name]:
            found = _accessed(user, name, derived, layout)
            if found is None:
                return 0
            if user.opcode in ("getelementptr", "call"):
                offsets.update(found)
            else:
                sizes.update(found)
    if len(sizes) != 1:
        return 0
    granule = sizes.pop()
    return granule if all(offset % granule == 0 for offset in offsets) else 0


def _accessed(user: Instruction, name: str, derived: set[str], layout: Layout) -> list[int] | None:
    """Sizes of the scalars that `user` accesses, or the byte steps it takes; None if it lets the
    address go.
    """
    match user.opcode:
        case "load":
            return list(_scalar_sizes(user.type, layout))
        case "store":
            stored = user.operands[0]
            if isinstance(stored.value, Local) and stored.value.name == name:
                return None
            return list(_scalar_sizes(stored.type, layout))
        case "getelementptr":
            return _steps(user, name, layout)
        case "bitcast" | "freeze" | "addrspacecast":
            return []
        case "phi" | "select":
            pointers = user.operands[1:] if user.opcode == "select" else user.operands
            inside = all(isinstance(o.value, Local) and o.value.name in derived for o in pointers)
            return [] if inside else None
        case "call" if user.callee_name.startswith("llvm.lifetime"):
            return []
        case "call" if user.callee_name.startswith("llvm.memset"):
            length = constant(user.operands[2])
            return None if length is None else [length]
    return None


def _steps(user: Instruction, name: str, layout: Layout) -> list[int] | None:
    pointer = user.operands[0].value
    if not (isinstance(pointer, Local) and pointer.name == name):
        return None
    return [step for step, index in address_steps(user, layout) if index is None or step]


def _scalar_sizes(type_: Type, layout: Layout) -> Iterator[int]:
    parts = part_types(type_, layout)
    if not parts:
        yield layout.size(type_)
    for part in dict.fromkeys(parts):
        yield from _scalar_sizes(part, layout)

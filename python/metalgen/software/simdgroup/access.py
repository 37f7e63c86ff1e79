"""One load or store of a whole SIMD-group, and the plainest ways to perform it."""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.software.ir.types import I64, Array, Layout, Type, Vector
from metalgen.software.simdgroup.arithmetic import offset_pointer
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.values import WIDTH, Held, Line, Mask, Same, wide_type


@dataclass(frozen=True, slots=True)
class Access:
    """One load or store of every active lane."""

    lanes: Lanes
    pointer: Held
    mask: Mask
    align: int  # bytes, of each lane's address
    scale: int = 1  # how often offsets count: see PrivateLayout

    def at(self, offset: int) -> Access:
        """The same access, `offset` bytes further on."""
        if offset == 0:
            return self
        index = Same(I64, str(offset * self.scale))
        pointer = offset_pointer(self.lanes, self.pointer, index, 1)
        align = min(self.align, offset & -offset)
        return Access(self.lanes, pointer, self.mask, align, self.scale)


def part_offsets(type_: Type, layout: Layout) -> list[int]:
    """Byte offsets of the parts of a vector or aggregate."""
    if isinstance(type_, Vector):
        size = layout.bits(type_.element) // 8
        return [size * i for i in range(type_.count)]
    if isinstance(type_, Array):
        size = layout.size(type_.element)
        return [size * i for i in range(type_.count)]
    struct = layout.struct(type_)  # type: ignore[arg-type]
    return [layout.offset(struct, i) for i in range(len(struct.elements))]


def _suffix(type_: Type) -> str:
    """How intrinsics name <32 x type>."""
    return f"v{WIDTH}{type_suffix(type_)}"


def type_suffix(type_: Type) -> str:
    """How intrinsics name a scalar type."""
    return {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}.get(
        str(type_), str(type_)
    )


def base_of(access: Access) -> str:
    assert isinstance(access.pointer, Line)
    return access.pointer.base


def load_contiguous(access: Access, type_: Type) -> str:
    builder = access.lanes.builder
    wide = wide_type(type_)
    if access.mask.is_full:
        return builder.value(f"load {wide}, ptr {base_of(access)}, align {access.align}")
    name = f"llvm.masked.load.{_suffix(type_)}.p0"
    builder.declare(name, wide, ["ptr", f"<{WIDTH} x i1>", wide])
    return builder.value(
        f"call {wide} @{name}(ptr align {access.align} {base_of(access)}, "
        f"<{WIDTH} x i1> {access.mask.lanes}, {wide} poison)"
    )


def store_contiguous(access: Access, value: Held) -> None:
    builder = access.lanes.builder
    wide = wide_type(value.type)
    if access.mask.is_full:
        stored = f"{wide} {access.lanes.wide(value)}, ptr {base_of(access)}"
        builder.emit(f"store {stored}, align {access.align}")
        return
    name = f"llvm.masked.store.{_suffix(value.type)}.p0"
    builder.declare(name, "void", [wide, "ptr", f"<{WIDTH} x i1>"])
    builder.emit(
        f"call void @{name}({wide} {access.lanes.wide(value)}, "
        f"ptr align {access.align} {base_of(access)}, <{WIDTH} x i1> {access.mask.lanes})"
    )


def gather(access: Access, type_: Type) -> str:
    builder = access.lanes.builder
    wide = wide_type(type_)
    name = f"llvm.masked.gather.{_suffix(type_)}.v{WIDTH}p0"
    builder.declare(name, wide, [f"<{WIDTH} x ptr>", f"<{WIDTH} x i1>", wide])
    return builder.value(
        f"call {wide} @{name}(<{WIDTH} x ptr> align {access.align} "
        f"{access.lanes.wide(access.pointer)}, "
        f"<{WIDTH} x i1> {access.mask.lanes}, {wide} poison)"
    )


def scatter(access: Access, value: Held) -> None:
    builder = access.lanes.builder
    wide = wide_type(value.type)
    name = f"llvm.masked.scatter.{_suffix(value.type)}.v{WIDTH}p0"
    builder.declare(name, "void", [wide, f"<{WIDTH} x ptr>", f"<{WIDTH} x i1>"])
    builder.emit(
        f"call void @{name}({wide} {access.lanes.wide(value)}, "
        f"<{WIDTH} x ptr> align {access.align} {access.lanes.wide(access.pointer)}, "
        f"<{WIDTH} x i1> {access.mask.lanes})"
    )

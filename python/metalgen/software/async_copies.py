"""Asynchronous copies of SIMD-groups between device and threadgroup memory, done at once.

Their functions are no part of Metal's library; ports of flash attention declare them by their
names in AIR. Lanes share the elements of a tile among those that are there; the events that are
waited for are nothing, and waiting is the SIMD-group's barrier.

    simdgroup_async_copy_1d.pTO.pFROM(size, alignment, to, from, count)
    simdgroup_async_copy_2d.pTO.pFROM(size, alignment, to, elements per row, 1, tile,
                                      from, elements per row, 1, tile, origin, clamped)

Sizes and distances are in elements but for the first; tiles and origins are (columns, rows). What
lies in the first tile and not in the second is zero, or with `clamped` the nearest element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DECLARED = re.compile(
    r"^declare [^\n]*@air\.(simdgroup_async_copy_[12]d\.p([13])i8\.p([13])i8|wait_simdgroup_events)"
    r"\([^\n]*\n",
    re.MULTILINE,
)
_WIDTHS = (1, 2, 4, 8, 16)  # bytes of elements that are copied in one
_DECLARATIONS = {
    "air.simd_sum.s.i32": "declare i32 @air.simd_sum.s.i32(i32) convergent",
    "air.simd_prefix_exclusive_sum.s.i32": (
        "declare i32 @air.simd_prefix_exclusive_sum.s.i32(i32) convergent"
    ),
    "llvm.smin.i64": "declare i64 @llvm.smin.i64(i64, i64)",
    "llvm.smax.i64": "declare i64 @llvm.smax.i64(i64, i64)",
    "air.simdgroup.barrier": "declare void @air.simdgroup.barrier(i32, i32) convergent",
}


def define_async_copies(text: str) -> str:
    """The module with definitions in the place of declarations of these functions."""
    is_there = "@air.simdgroup_async_copy_" in text or "@air.wait_simdgroup_events" in text
    found = list(_DECLARED.finditer(text)) if is_there else []
    if not found:
        return text
    text = _DECLARED.sub("", text)
    for name, declaration in _DECLARATIONS.items():
        if f"@{name}(" not in text:
            text += f"\n{declaration}\n"
    return text + "".join(_definition(match) for match in found)


def _definition(match: re.Match[str]) -> str:
    if match[2] is None:
        return (
            "\ndefine void @air.wait_simdgroup_events(i32 %count, ptr %events) {\n"
            "  call void @air.simdgroup.barrier(i32 3, i32 1)\n  ret void\n}\n"
        )
    body = _one_row if "_1d" in match[1] else _tile
    return "\n" + "\n".join(body(match[1], int(match[2]), int(match[3]))) + "\n"


def _one_row(name: str, to: int, from_: int) -> Iterator[str]:
    yield (
        f"define ptr @air.{name}(i64 %size, i64 %alignment, ptr addrspace({to}) %to, "
        f"ptr addrspace({from_}) %from, i64 %count) {{"
    )
    yield from _loop_head("%count")
    yield "  %to.place = mul i64 %i, %size"
    yield "  %from.place = mul i64 %i, %size"
    yield from _element(to, from_, "true")


def _tile(name: str, to: int, from_: int) -> Iterator[str]:
    yield (
        f"define ptr @air.{name}(i64 %size, i64 %alignment, "
        f"ptr addrspace({to}) %to, i64 %to.row, i64 %to.step, <2 x i64> %to.tile, "
        f"ptr addrspace({from_}) %from, i64 %from.row, i64 %from.step, <2 x i64> %from.tile, "
        "<2 x i64> %origin, i32 %clamped) {"
    )
    for which, axis in enumerate("xy"):
        for part in ("to.tile", "from.tile", "origin"):
            yield f"  %{part}.{axis} = extractelement <2 x i64> %{part}, i32 {which}"
        yield f"  %last.{axis} = add i64 %from.tile.{axis}, -1"
    yield "  %total = mul i64 %to.tile.x, %to.tile.y"
    yield from _loop_head("%total")
    yield "  %x = urem i64 %i, %to.tile.x"
    yield "  %y = udiv i64 %i, %to.tile.x"
    for axis in "xy":
        yield f"  %at.{axis} = add i64 %{axis}, %origin.{axis}"
        yield f"  %in.{axis} = icmp ult i64 %at.{axis}, %from.tile.{axis}"
        yield f"  %low.{axis} = call i64 @llvm.smin.i64(i64 %at.{axis}, i64 %last.{axis})"
        yield f"  %near.{axis} = call i64 @llvm.smax.i64(i64 %low.{axis}, i64 0)"
    yield "  %inside = and i1 %in.x, %in.y"
    yield "  %edge = icmp ne i32 %clamped, 0"
    yield "  %is.read = or i1 %inside, %edge"
    for side, x, y in (("to", "%x", "%y"), ("from", "%near.x", "%near.y")):
        yield f"  %{side}.rows = mul i64 {y}, %{side}.row"
        yield f"  %{side}.columns = mul i64 {x}, %{side}.step"
        yield f"  %{side}.element = add i64 %{side}.rows, %{side}.columns"
        yield f"  %{side}.place = mul i64 %{side}.element, %size"
    yield from _element(to, from_, "%is.read")


def _loop_head(total: str) -> Iterator[str]:
    """Elements in turn among the lanes: this one's are `%i`."""
    yield "  %rank.32 = call i32 @air.simd_prefix_exclusive_sum.s.i32(i32 1)"
    yield "  %lanes.32 = call i32 @air.simd_sum.s.i32(i32 1)"
    yield "  %rank = zext i32 %rank.32 to i64"
    yield "  %lanes = zext i32 %lanes.32 to i64"
    yield "  br label %head"
    yield "head:"
    yield "  %i = phi i64 [ %rank, %0 ], [ %next, %done ]"
    yield f"  %is.more = icmp ult i64 %i, {total}"
    yield "  br i1 %is.more, label %each, label %end"
    yield "each:"


def _element(to: int, from_: int, is_read: str) -> Iterator[str]:
    """Copy one from `%from.place` to `%to.place`, in bytes, or write zero; the loop's end."""
    yield f"  %to.at = getelementptr i8, ptr addrspace({to}) %to, i64 %to.place"
    yield f"  %from.at = getelementptr i8, ptr addrspace({from_}) %from, i64 %from.place"
    cases = " ".join(f"i64 {width}, label %width.{width}" for width in _WIDTHS)
    yield f"  switch i64 %size, label %bytes [ {cases} ]"
    for width in _WIDTHS:
        yield from _copy(f"width.{width}", f"i{8 * width}", to, from_, is_read, "")
        yield "  br label %done"
    yield "bytes:"
    yield "  br label %byte"
    yield from _copy("byte", "i8", to, from_, is_read, "%k")
    yield "  %k.next = add i64 %k, 1"
    yield "  %k.more = icmp ult i64 %k.next, %size"
    yield "  br i1 %k.more, label %byte, label %done"
    yield "done:"
    yield "  %next = add i64 %i, %lanes"
    yield "  br label %head"
    yield "end:"
    yield "  ret ptr null"
    yield "}"


def _copy(block: str, type_: str, to: int, from_: int, is_read: str, at: str) -> Iterator[str]:
    """A block that copies one value, `at` bytes further on; it is left in `block`.left."""
    yield f"{block}:"
    source, target = "%from.at", "%to.at"
    if at:
        yield f"  {at} = phi i64 [ 0, %bytes ], [ {at}.next, %{block}.left ]"
        source, target = f"%{block}.from", f"%{block}.to"
        yield f"  {source} = getelementptr i8, ptr addrspace({from_}) %from.at, i64 {at}"
        yield f"  {target} = getelementptr i8, ptr addrspace({to}) %to.at, i64 {at}"
    yield f"  br i1 {is_read}, label %{block}.read, label %{block}.left"
    yield f"{block}.read:"
    yield f"  %{block}.value = load {type_}, ptr addrspace({from_}) {source}, align 1"
    yield f"  br label %{block}.left"
    yield f"{block}.left:"
    yield (f"  %{block}.written = phi {type_} [ %{block}.value, %{block}.read ], [ 0, %{block} ]")
    yield f"  store {type_} %{block}.written, ptr addrspace({to}) {target}, align 1"

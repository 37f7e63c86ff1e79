"""AIR's kernel metadata, `!air.kernel` and its kin, to KernelInfo: the form is Apple's."""

from __future__ import annotations

import functools
from typing import cast

from metalgen.air.bitcode import Global, Module
from metalgen.air.kernel_info import (
    Access,
    AddressSpace,
    Argument,
    ArgumentKind,
    Field,
    FunctionConstant,
    KernelInfo,
)
from metalgen.air.nodes import GlobalNumber, Node, Value
from metalgen.errors import MetallibError

SPACES: dict[int, AddressSpace] = {1: "device", 2: "constant", 3: "threadgroup"}
# A texture that is only sampled is read.
ACCESSES: dict[str, Access] = {
    "air.read": "read",
    "air.write": "write",
    "air.read_write": "read_write",
    "air.sample": "read",
}
KINDS: dict[str, ArgumentKind] = {
    "air.buffer": "buffer",
    "air.indirect_buffer": "buffer",
    "air.texture": "texture",
    "air.sampler": "sampler",
}
STRUCT, INDIRECT = "air.struct_type_info", "air.indirect_argument"
# How many operands follow each key; keys that are not here stand alone.
_OPERANDS = {
    "air.function_constant": 1,
    "air.buffer_size": 1,
    "air.location_index": 2,
    "air.address_space": 1,
    "air.struct_type_info": 1,
    "air.arg_type_size": 1,
    "air.arg_type_align_size": 1,
    "air.arg_type_name": 1,
    "air.arg_name": 1,
    "air.raster_order_group": 1,
}


def kernel_info(module: Module, name: str) -> KernelInfo:
    """What `module` says about its kernel `name`; MetallibError if it says nothing usable."""
    for node in module.named.get("air.kernel", ()):
        if len(node) >= 3 and _global_name(module, node[0]) == name:
            return KernelInfo(
                name=name,
                arguments=_arguments(node[2]),
                threadgroup_bytes=_threadgroup_bytes(module.globals),
                constants=_constants(module),
                max_total_threads=_max_total_threads(node[3:]),
            )
    raise MetallibError(f"bitcode of '{name}' does not describe it in !air.kernel")


def _global_name(module: Module, value: Value) -> str | None:
    return module.globals[value.number].name if isinstance(value, GlobalNumber) else None


# Kernels made from one template share theirs.
@functools.lru_cache(maxsize=512)
def _arguments(nodes: Value) -> tuple[Argument, ...]:
    return tuple(map(_argument, nodes)) if isinstance(nodes, tuple) else ()


def _argument(node: Value) -> Argument:
    if not isinstance(node, tuple) or not node or not isinstance(node[0], int):
        raise MetallibError(f"expected a kernel argument's metadata, found {str(node)[:60]}")
    keys = _keys(node[1:])
    kind, builtin = _kind(keys)
    space = SPACES.get(_number(keys, "air.address_space"))
    if kind == "buffer" and space == "threadgroup":
        kind = "threadgroup"
    index, count = _location(keys)
    return Argument(
        position=node[0],
        name=_text(keys, "air.arg_name"),
        kind=kind,
        index=index,
        builtin=builtin,
        type_name=_text(keys, "air.arg_type_name"),
        type_size=_number(keys, "air.arg_type_size"),
        type_alignment=_number(keys, "air.arg_type_align_size"),
        address_space=space,
        access=next((ACCESSES[key] for key in keys if key in ACCESSES), None),
        is_reference="air.buffer_size" in keys,
        array_length=_array_length(keys),
        is_used="air.arg_unused" not in keys,
        condition=_condition(keys),
        is_argument_buffer="air.indirect_buffer" in keys,
        fields=_fields(keys.get("air.struct_type_info", ())),
        count=count,
    )


def _keys(operands: Node) -> dict[str, Node]:
    """The operands by the key in front of them."""
    keys: dict[str, Node] = {}
    at = 0
    while at < len(operands):
        key = operands[at]
        taken = 0
        if isinstance(key, str):
            taken = _OPERANDS.get(key, 0)
            keys[key] = operands[at + 1 : at + 1 + taken]
        at += 1 + taken
    return keys


def _kind(keys: dict[str, Node]) -> tuple[ArgumentKind, str | None]:
    for key in keys:
        if key in KINDS:
            return KINDS[key], None
    for key in keys:
        if key not in _OPERANDS and key not in ACCESSES and key != "air.arg_unused":
            return "builtin", key.removeprefix("air.")
    raise MetallibError(f"expected what a kernel argument is, found only {', '.join(keys)}")


def _location(keys: dict[str, Node]) -> tuple[int | None, int]:
    location = keys.get("air.location_index", ())
    if len(location) == 2 and isinstance(location[0], int) and isinstance(location[1], int):
        return location[0], location[1]
    return None, 1


def _number(keys: dict[str, Node], key: str) -> int:
    found = keys.get(key, ())
    return found[0] if found and isinstance(found[0], int) else 0


def _text(keys: dict[str, Node], key: str) -> str:
    found = keys.get(key, ())
    return found[0] if found and isinstance(found[0], str) else ""


def _condition(keys: dict[str, Node]) -> str | None:
    """`{predicate, "bool", "has_mask"}` of an argument that a function constant switches."""
    found = keys.get("air.function_constant", ())
    node = found[0] if found else None
    if isinstance(node, tuple) and len(node) >= 3 and isinstance(node[2], str):
        return node[2]
    return None


def _array_length(keys: dict[str, Node]) -> int:
    """How many elements lie behind a reference: `air.arg_type_size` is that of one."""
    size, element = _number(keys, "air.buffer_size"), _number(keys, "air.arg_type_size")
    return size // element if size and element else 1


def _fields(operands: Node) -> tuple[Field, ...]:
    """Each member's own structure, if it has one; then its five operands; then its resource."""
    members = operands[0] if operands else ()
    fields: list[Field] = []
    at = 0
    while isinstance(members, tuple) and at < len(members):
        inner: tuple[Field, ...] = ()
        if members[at] == STRUCT:
            inner = _fields(members[at + 1 : at + 2])
            at += 2
        found = members[at : at + 5]
        at += 5
        resource: Value = None
        if members[at : at + 1] == (INDIRECT,):
            resource = members[at + 1] if at + 1 < len(members) else None
            at += 2
        fields.append(_field(found, inner, resource))
    return tuple(fields)


def _field(found: Node, inner: tuple[Field, ...], resource: Value) -> Field:
    """A member from its offset, size, array length, type and name."""
    if tuple(map(type, found)) != (int, int, int, str, str):
        raise MetallibError(f"expected a struct member's metadata, found {str(found)[:60]}")
    offset, size, count, type_name, name = found
    return Field(
        name=str(name),
        type_name=str(type_name),
        offset=cast(int, offset),
        size=cast(int, size),
        count=cast(int, count),
        fields=inner,
        # Of a struct of resources the metadata has only a number: its members say the rest.
        resource=_argument(resource) if isinstance(resource, tuple) else None,
    )


def _constants(module: Module) -> tuple[FunctionConstant, ...]:
    """`{initialiser, type, name, index, ...}` of each function constant the module reads."""
    return tuple(
        FunctionConstant(name=node[2], index=node[3], type_name=node[1])
        for node in module.named.get("air.function_constants", ())
        if len(node) >= 4
        and isinstance(node[1], str)
        and isinstance(node[2], str)
        and isinstance(node[3], int)
    )


def _threadgroup_bytes(globals_: tuple[Global, ...]) -> int:
    """Bytes of all threadgroup variables, laid out one after the other."""
    size = 0
    for found in globals_:
        size = -(-size // found.alignment) * found.alignment + found.threadgroup_bytes
    return size


def _max_total_threads(extras: Node) -> int | None:
    """`[[max_total_threads_per_threadgroup(n)]]`, where the kernel has it."""
    for extra in extras:
        if isinstance(extra, tuple) and len(extra) == 2 and extra[0] == "air.max_work_group_size":
            return extra[1] if isinstance(extra[1], int) else None
    return None

"""Kernels in words: as Metal declares them, as lines, tables and JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import asdict

from metalgen.air import Argument, Field, KernelInfo


def declaration(argument: Argument) -> str:
    """The parameter as it would be written in Metal, less its attributes."""
    if argument.kind not in ("buffer", "threadgroup"):
        return f"{argument.type_name} {argument.name}"
    const = "const " if argument.address_space == "device" and argument.access == "read" else ""
    of_type = f"{argument.address_space} {const}{argument.type_name}"
    if not argument.is_reference:
        return f"{of_type}* {argument.name}"
    if argument.array_length > 1:
        return f"{of_type} (&{argument.name})[{argument.array_length}]"
    return f"{of_type}& {argument.name}"


def attributes(argument: Argument) -> str:
    """The parameter's attributes as Metal has them, `[[buffer(0)]]`."""
    if argument.builtin is not None:
        return f"[[{argument.builtin}]]"
    condition = f", function_constant({argument.condition})" if argument.condition else ""
    return f"[[{argument.kind}({argument.index}){condition}]]"


def properties(info: KernelInfo) -> Iterator[str]:
    """What there is to say about a kernel besides its arguments."""
    if info.threadgroup_bytes:
        yield f"threadgroup {info.threadgroup_bytes} B"
    if info.max_total_threads is not None:
        yield f"at most {info.max_total_threads} threads"
    if info.constants:
        constants = ", ".join(f"{c.type_name} {c.name} ({c.index})" for c in info.constants)
        yield f"constants {constants}"


def line(info: KernelInfo) -> str:
    """A kernel on one line; built-in arguments, which no caller passes, are left out."""
    passed = ", ".join(declaration(a) for a in info.arguments if a.kind != "builtin")
    return "  ".join([info.name, f"({passed})", *properties(info)])


def as_json(info: KernelInfo) -> str:
    """A kernel as one line of JSON, with the names of the fields of KernelInfo."""
    values = {
        "name": json.dumps(info.name),
        "arguments": _arguments_as_json(info.arguments),
        "threadgroup_bytes": json.dumps(info.threadgroup_bytes),
        "constants": json.dumps([asdict(constant) for constant in info.constants]),
        "max_total_threads": json.dumps(info.max_total_threads),
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"


# Kernels made from one template have the same arguments, which are most of the work.
@functools.lru_cache(maxsize=512)
def _arguments_as_json(arguments: tuple[Argument, ...]) -> str:
    return json.dumps([asdict(argument) for argument in arguments])


def members(fields: tuple[Field, ...], depth: int = 0) -> Iterator[tuple[int, int, str]]:
    """Depth, offset and declaration of every member of a struct, nested ones after their owner."""
    for field in fields:
        declared = f"{field.type_name} {field.name}"
        if field.resource is not None:
            declared = declaration(field.resource)
        yield depth, field.offset, declared + (f"[{field.count}]" if field.count else "")
        yield from members(field.fields, depth + 1)

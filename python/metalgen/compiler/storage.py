"""Turn the calls that stand for threadgroup variables into threadgroup globals, as AIR has them."""

from __future__ import annotations

import re

from metalgen.compiler.irtext import Entity
from metalgen.compiler.threadgroup import TAG

_SCALAR, _VECTOR = 4, 16  # bytes
_CALL = re.compile(
    r"(%[-\w.$]+) = (?:(?:tail|musttail|notail) )?call [^@\n]*"
    r"@(?P<name>\"?[\w$.]*threadgroup_storage[\w$.]*\"?)"
    r"\(i64 [a-z ]*(?P<size>\d+), i64 [a-z ]*(?P<align>\d+)\)"
    r"[^\n]*"
)


def replace_storage(entities: list[Entity]) -> list[Entity]:
    """`entities` with a global for each different threadgroup variable in the place of calls."""
    variables: dict[str, Entity] = {}

    def reference(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in variables:
            symbol = f"@threadgroup.{len(variables)}.{_variable_name(name)}"
            variables[name] = _variable(symbol, int(found["size"]), int(found["align"]))
        symbol = variables[name].name
        return f"{found[1]} = bitcast ptr addrspace(3) {symbol} to ptr addrspace(3)"

    replaced = [
        Entity(entity.name, _CALL.sub(reference, entity.text))
        if "threadgroup_storage" in entity.text
        else entity
        for entity in entities
        if "threadgroup_storage" not in entity.name
    ]
    return [*variables.values(), *replaced]


def _variable(symbol: str, size: int, alignment: int) -> Entity:
    """The global. Arrays of bytes are there to be cast, to vectors as well."""
    if alignment < _SCALAR <= _VECTOR <= size:
        alignment = _VECTOR
    return Entity(
        symbol,
        f"{symbol} = internal unnamed_addr addrspace(3) global [{size} x i8] undef, "
        f"align {alignment}",
    )


def _variable_name(mangled: str) -> str:
    """The name in the source: the tag class carries it, with its length in front."""
    found = re.search(rf"(\d+){TAG}", mangled)
    if not found:
        return "storage"
    start = found.end(1)
    # The digits in front of a name may run on from what precedes them: try the shortest first.
    for digits in range(1, len(found[1]) + 1):
        length = int(found[1][-digits:])
        name = mangled[start : start + length]
        if re.fullmatch(rf"{TAG}\d+_\w+", name) and len(name) == length:
            return name[len(TAG) :].split("_", 1)[1]
    return "storage"

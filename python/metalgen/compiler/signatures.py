"""What clang says about a kernel's parameters: their types after template instantiation."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from metalgen.air import Argument, Field
from metalgen.compiler.attributes import POSITIONS
from metalgen.compiler.bindings import Parameter
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.fields import FieldNames, are_derived, read_fields
from metalgen.compiler.irtext import ModuleText
from metalgen.compiler.words import metal_types
from metalgen.compiler.wrappers import FIELDS_SYMBOL, LAYOUT_SYMBOL, TYPE_SYMBOL

_FUNCTION = re.compile(r"\[F = void \((.*)\)\]", re.DOTALL)
_NUMBER = re.compile(r"i64 (-?\d+)")
_SPACE = re.compile(r"\b(device|constant|threadgroup|thread)\b\s*")
_QUALIFIER = re.compile(r"\b(const|volatile)\b")
_POINTERS = re.compile(r"(.*\*)([^*<>]*)$")
_BUILTIN_TYPE = re.compile(r"^(uint|ushort)([23]?)$")


@dataclass(frozen=True, slots=True)
class ParameterType:
    """A parameter's type in Metal's words; `name` is what a pointer or reference points to."""

    name: str
    space: str | None
    is_pointer: bool
    is_reference: bool
    is_const: bool
    size: int  # bytes, of what it points to
    alignment: int
    array_length: int = 1  # of a reference to an array
    fields: tuple[Field, ...] = ()
    is_derived: bool = False  # a class with bases

    @property
    def holds_pointers(self) -> bool:
        """Whether it is an argument buffer, a struct with pointers among its members."""
        return _hold_pointers(self.fields)


def _hold_pointers(fields: Sequence[Field]) -> bool:
    return any(field.resource is not None or _hold_pointers(field.fields) for field in fields)


@dataclass(frozen=True, slots=True)
class Signature:
    """A kernel's parameter types, indices to be filled in, its limit on threads (0 for none)."""

    types: tuple[ParameterType, ...]
    indices: tuple[int, ...]
    max_threads: int


def read_signature(module: ModuleText, key: str, names: FieldNames) -> Signature:
    """Read what `description` has left in `module` under `key`."""
    described = module.string(f"@{TYPE_SYMBOL}{key}")
    layout = [
        int(number) for number in _NUMBER.findall(module.entities[f"@{LAYOUT_SYMBOL}{key}"].text)
    ] or [0]
    found = _FUNCTION.search(described)
    texts = _split(found[1]) if found else []
    listed = module.string(f"@{FIELDS_SYMBOL}{key}")
    listed = listed.partition("[F = ")[2].rpartition("]")[0]
    fields, derived = read_fields(listed, names), are_derived(listed)
    types = tuple(
        replace(
            _parameter_type(text, layout[2 * at], layout[2 * at + 1]),
            fields=fields[at],
            is_derived=derived[at],
        )
        for at, text in enumerate(texts)
    )
    return Signature(types, tuple(layout[2 * len(texts) : -1]), layout[-1])


def _split(text: str) -> list[str]:
    parts = [""]
    depth = 0
    for character in text:
        depth += (character in "(<[{") - (character in ")>]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _parameter_type(text: str, size: int, alignment: int) -> ParameterType:
    text = metal_types(text).replace("__restrict", "").replace("restrict", "").strip()
    is_reference = text.endswith("&") or "(&)" in text
    is_pointer = text.endswith("*") or "(*)" in text
    space = None
    pointed = text
    if is_reference or is_pointer:
        pointed = re.sub(r"\([*&]\)|[*&]$", "", text).strip()
        inner, outer = _outermost(pointed)
        found = _SPACE.search(outer)
        space = found[1] if found else None
        pointed = inner + _SPACE.sub("", outer, count=1)
    is_const = "const" in _outermost(pointed)[1].split(" ")
    words = _QUALIFIER.sub("", pointed).split(" ")
    name, length = _array(" ".join(word for word in words if word))
    return ParameterType(
        name, space, is_pointer, is_reference, is_const, size // length, alignment, length
    )


def _outermost(text: str) -> tuple[str, str]:
    """`const device float *` and `const device` of a pointer to pointers, else nothing and all."""
    pointers = _POINTERS.match(text)
    return (pointers[1], pointers[2]) if pointers else ("", text)


def _array(name: str) -> tuple[str, int]:
    """`float [4][2]` as its element and how many there are."""
    element, *bounds = re.split(r" ?\[(\d+)\]", name)
    return element, math.prod(int(bound) for bound in bounds if bound)


def check_types(
    parameters: Sequence[Parameter], signature: Signature, complaints: Complaints
) -> None:
    """Complain about parameters whose type does not fit what they are bound to."""
    dimensions: dict[str, Parameter] = {}
    for parameter, type_ in zip(parameters, signature.types, strict=True):
        if parameter.binding.kind == "builtin":
            _check_builtin(parameter, type_, dimensions, complaints)
        else:
            _check_memory(parameter, type_, complaints)
    if len(dimensions) > 1:
        _, parameter = list(dimensions.items())[-1]
        complaints.add(
            parameter.start,
            "expecting input declarations with either all scalar types or all vector types with "
            "the same number of elements",
        )


def _check_builtin(
    parameter: Parameter,
    type_: ParameterType,
    dimensions: dict[str, Parameter],
    complaints: Complaints,
) -> None:
    name = parameter.binding.builtin or ""
    found = (
        _BUILTIN_TYPE.match(type_.name) if not (type_.is_pointer or type_.is_reference) else None
    )
    if found and (name in POSITIONS or not found[2]):
        if name in POSITIONS:
            dimensions.setdefault(found[2], parameter)
        return
    allowed = (
        "uint, uint2, uint3, ushort, ushort2 or ushort3"
        if name in POSITIONS
        else ("uint or ushort")
    )
    complaints.add(
        parameter.start,
        f"invalid type '{type_.name}' for '{parameter.name}' with attribute '{name}': "
        f"expected {allowed}",
    )


def _check_memory(parameter: Parameter, type_: ParameterType, complaints: Complaints) -> None:
    name, kind = parameter.name, parameter.binding.kind
    for word in ("texture", "sampler", "acceleration_structure", "intersection_function_table"):
        if word in type_.name:
            complaints.add(parameter.start, f"not supported: {word} arguments")
            return
    if type_.is_derived:
        complaints.add(
            parameter.start,
            f"invalid type '{type_.name}' for '{name}': a kernel's argument cannot be of a derived "
            "class",
        )
    elif "*" in type_.name and not type_.holds_pointers:
        complaints.add(
            parameter.start,
            f"'{name}' points to pointers: expected them to lead to device or constant memory",
        )
    elif not (type_.is_pointer or type_.is_reference):
        complaints.add(
            parameter.start,
            f"invalid type '{type_.name}' for '{name}': expected an attribute such as "
            "[[thread_position_in_grid]], or a pointer or reference to device, constant or "
            "threadgroup memory",
        )
    elif (type_.space == "threadgroup") != (kind == "threadgroup") or type_.space not in (
        "device",
        "constant",
        "threadgroup",
    ):
        where = "threadgroup" if kind == "threadgroup" else "device or constant"
        found = f"{type_.space} memory" if type_.space else "no address space"
        complaints.add(parameter.start, f"'{name}' must point to {where} memory, found {found}")


def arguments(
    parameters: Sequence[Parameter], types: Sequence[ParameterType], used: set[int]
) -> tuple[Argument, ...]:
    """The kernel's arguments as AIR's metadata describes them."""
    return tuple(
        _argument(at, parameter, type_, at in used)
        for at, (parameter, type_) in enumerate(zip(parameters, types, strict=True))
    )


def _argument(position: int, parameter: Parameter, type_: ParameterType, used: bool) -> Argument:
    binding = parameter.binding
    if binding.kind == "builtin":
        return Argument(
            position=position,
            name=parameter.name,
            kind="builtin",
            builtin=binding.builtin,
            type_name=type_.name,
            is_used=used,
        )
    is_read = type_.is_const or type_.space == "constant"
    return Argument(
        position=position,
        name=parameter.name,
        kind="threadgroup" if binding.kind == "threadgroup" else "buffer",
        index=binding.index,
        type_name=type_.name,
        type_size=type_.size,
        type_alignment=type_.alignment,
        address_space=type_.space,  # type: ignore[arg-type]
        access="read" if is_read else "read_write",
        is_reference=type_.is_reference,
        array_length=type_.array_length,
        is_used=used,
        condition=binding.condition,
        is_argument_buffer=type_.holds_pointers,
        fields=type_.fields,
    )

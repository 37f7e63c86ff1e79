"""Sets a module's function constants: the values that a pipeline gives before optimisation."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metalgen.errors import LaunchError, MetallibError
from metalgen.software.signature import metadata_nodes

Scalar = int | float | bool
Constants = Mapping[int | str, Scalar | Sequence[Scalar]]

_ENTRY = re.compile(r'^ptr addrspace\(\d\) (@(?:"[^"]*"|[\w$.]+)), !"[^"]*", !"([^"]*)", i32 (\d+)')
_GLOBAL = re.compile(r"^(?P<name>@[^ ]+) = .*?\b(?:constant|global) (?P<type>\w+|<\d+ x \w+>) ")
_VECTOR = re.compile(r"<(\d+) x (\w+)>")
_IS_DEFINED = re.compile(
    r"call .*@air\.is_function_constant_defined(?:\.\w+)?\(ptr[^@]*(@[^ )]+)\)[^\n]*"
)
_NAME = re.compile(r'@"[^"]*"|[@%][\w$.]+')
_NORMALIZE = re.compile(
    r"^declare (i\d+) (@air\.normalize_function_constant_predicate\.i\d+)\(.*$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Constant:
    variable: str  # "@..."
    name: str
    index: int


def set_function_constants(text: str, values: Constants) -> str:
    """The module `text` with its function constants defined as `values` (by index or name) says.

    Constants that are not given count as not defined; values that the module has no constant for
    are ignored. Raises LaunchError where a kernel needs a constant that is not given.
    """
    constants = _read_constants(text)
    given = _matched(constants, values)
    missing = [constant for constant in constants if constant.variable not in given]
    _require_unused(text, missing)
    if not constants:
        return text
    lines = [
        _with_initializer(line, constants, given) if line.startswith("@") else line
        for line in text.splitlines()
    ]
    text = "\n".join(lines)
    if "is_function_constant_defined" in text:
        text = _IS_DEFINED.sub(
            lambda m: f"or i1 {'true' if m[1] in given else 'false'}, false", text
        )
    if "normalize_function_constant_predicate" in text:
        text = _NORMALIZE.sub(_normalize, text)
    return text


def _read_constants(text: str) -> list[_Constant]:
    nodes = metadata_nodes(text)
    references = re.findall(r"!\d+", nodes.get("!air.function_constants", ""))
    entries = [_ENTRY.match(nodes[reference]) for reference in references]
    return [_Constant(m[1], m[2], int(m[3])) for m in entries if m is not None]


def _matched(
    constants: Sequence[_Constant], values: Constants
) -> dict[str, Scalar | Sequence[Scalar]]:
    """Variable → its value."""
    by_key: dict[int | str, str] = {c.index: c.variable for c in constants}
    by_key |= {c.name: c.variable for c in constants}
    return {by_key[key]: value for key, value in values.items() if key in by_key}


def _require_unused(text: str, missing: Iterable[_Constant]) -> None:
    for constant in missing:
        if f"is_function_constant_defined(ptr addrspace(2) {constant.variable})" in text:
            continue  # Metal's rule: a constant that the source asks about is optional
        if _reaches(text, constant.variable):
            raise LaunchError(
                f"the function constant {constant.name!r} (index {constant.index}) is needed: "
                "give it in constants={...}"
            )


def _reaches(text: str, variable: str) -> bool:
    """Whether a function reads `variable`, or what a static initialiser computes from it."""
    functions = re.findall(r"^define [^\n]*\n.*?^\}", text, re.MULTILINE | re.DOTALL)
    initializers = [f for f in functions if 'section "air.static_init"' in f.partition("\n")[0]]
    tainted = {variable}
    for body in initializers:
        values: set[str] = set()
        for line in body.splitlines():
            if (tainted | values).isdisjoint(_NAME.findall(line)):
                continue
            result, equals, _ = line.strip().partition(" = ")
            if equals:
                values.add(result)
            elif line.strip().startswith("store "):
                tainted.update(name for name in _NAME.findall(line) if name.startswith("@"))
    kernels = [f for f in functions if f not in initializers]
    return any(not tainted.isdisjoint(_NAME.findall(body)) for body in kernels)


def _with_initializer(
    line: str,
    constants: Sequence[_Constant],
    given: Mapping[str, Scalar | Sequence[Scalar]],
) -> str:
    variable = line.partition(" = ")[0]
    if all(variable != constant.variable for constant in constants):
        return line
    match = _GLOBAL.match(line)
    if match is None:
        raise MetallibError(f"the function constant {variable} is of a type that has no values")
    value = given.get(match["name"])
    literal = "zeroinitializer" if value is None else _literal(match["type"], value)
    return f"{match['name']} = internal addrspace(2) constant {match['type']} {literal}"


def _literal(type_: str, value: Scalar | Sequence[Scalar]) -> str:
    """`value` as an LLVM constant of `type_`; LaunchError where the type has no such value."""
    vector = _VECTOR.match(type_)
    scalar_type = vector[2] if vector else type_
    values = value if isinstance(value, Sequence) else [value]
    try:
        literals = [_scalar(scalar_type, scalar) for scalar in values]
    except (OverflowError, ValueError):
        literals = []
    if len(literals) != (int(vector[1]) if vector else 1):
        raise LaunchError(f"a function constant of type {type_} cannot be {value!r}")
    return "<" + ", ".join(f"{scalar_type} {v}" for v in literals) + ">" if vector else literals[0]


def _scalar(type_: str, value: Scalar) -> str:
    match type_:
        case "half":
            return f"0xH{_bits('e', '<H', float(value)):04X}"
        case "bfloat":
            return f"0xR{_bits('f', '<I', float(value)) >> 16:04X}"
        case "float":
            (rounded,) = struct.unpack("<f", struct.pack("<f", float(value)))
            return f"0x{_bits('d', '<Q', rounded):016X}"
    bits = int(type_.removeprefix("i"))
    # The type does not tell signed from unsigned: either will do.
    if value != int(value) or not -(1 << bits - 1) <= value < 1 << bits:
        raise ValueError
    return str(int(value) & (1 << bits) - 1)


def _bits(float_format: str, integer_format: str, value: float) -> int:
    (bits,) = struct.unpack(integer_format, struct.pack(f"<{float_format}", value))
    return int(bits)


def _normalize(match: re.Match[str]) -> str:
    type_, name = match[1], match[2]
    return (
        f"define internal {type_} {name}({type_} %value) alwaysinline {{\n"
        f"  %set = icmp ne {type_} %value, 0\n"
        f"  %one = zext i1 %set to {type_}\n"
        f"  ret {type_} %one\n"
        "}\n"
    )

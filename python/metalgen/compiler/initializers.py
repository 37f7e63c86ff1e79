"""Function constants in the compiled module: globals to be set before use, as AIR has them.

    @b.MTL_FC_INIT_0 = ... externally_initialized constant i8 undef, section "air.fc_initializer"
    !air.function_constants = !{!{ptr addrspace(2) @b.MTL_FC_INIT_0, !"bool", !"b", i32 0, i1 true}}

Program-scope constants computed from them are stored by a function in section "air.static_init"
that `llvm.global_ctors` lists; clang writes it already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from metalgen.compiler.complaints import Complaints
from metalgen.compiler.constants import CONSTANT_SYMBOL, DESCRIPTION_SYMBOL, Constant
from metalgen.compiler.irtext import Entity, ModuleText
from metalgen.compiler.words import metal_types

_STORE = re.compile(r"^  store .*, ptr addrspace\(2\) (@[-\w.$]+|@\"[^\"]*\").*$", re.MULTILINE)
# Constructors that serve every address space store through a generic pointer.
_CAST_STORE = re.compile(
    r"^(  store .*, )ptr(?: addrspace\(4\))? addrspacecast "
    r"\(ptr addrspace\(2\) (@[-\w.$]+|@\"[^\"]*\") to ptr(?: addrspace\(4\))?\)",
    re.MULTILINE,
)
# clang stores three components as four; LLVM evaluates initialisers whose stores fit alone.
_WIDENED = re.compile(
    r"^  (%\S+) = shufflevector (<3 x \S+>) (%\S+), [^%\n]*<i32 0, i32 1, i32 2, i32 \w+>$",
    re.MULTILINE,
)
_INVARIANT = re.compile(r"^.*@llvm\.invariant\.start.*\n", re.MULTILINE)
_IS_DEFINED = re.compile(
    r"(?:tail )?call [^@\n]*@air\.is_function_constant_defined\(ptr addrspace\(2\) [^@\n]*@"
)
_SYMBOL = re.compile(rf"@{CONSTANT_SYMBOL}\d+")
_TYPE_NAME = re.compile(r"(\w*[a-z])([234]?)")
_SCALARS = {"bool": "i8", "char": "i8", "uchar": "i8", "short": "i16", "ushort": "i16"}
_SCALARS |= {"int": "i32", "uint": "i32", "long": "i64", "ulong": "i64"}
_SCALARS |= {name: name for name in ("half", "bfloat", "float")}
_CONSTRUCTORS = "@llvm.global_ctors"
_DESCRIPTION = re.compile(r"function_constant<(.*), (-?\d+)L?>")
_MAXIMUM_INDEX = 65535


@dataclass(frozen=True, slots=True)
class DescribedConstant:
    """A function constant with what clang says of it; `type_name` in Metal's words."""

    number: int
    name: str
    index: int
    type_name: str


def described_constants(
    module: ModuleText, constants: tuple[Constant, ...], complaints: Complaints
) -> tuple[DescribedConstant, ...]:
    """`constants` with their types and indices; complains about indices that cannot be."""
    first: dict[int, Constant] = {}
    described: list[DescribedConstant] = []
    for constant in constants:
        text = module.string(f"@{DESCRIPTION_SYMBOL}{constant.number}")
        found = _DESCRIPTION.search(text)
        type_name, index = (found[1], int(found[2])) if found else ("", -1)
        if not 0 <= index <= _MAXIMUM_INDEX:
            complaints.add(
                constant.index_start,
                f"'function_constant' expects an index from 0 to {_MAXIMUM_INDEX}, "
                f"found '{constant.index_text}'",
            )
        elif (other := first.setdefault(index, constant)) is not constant:
            complaints.add(
                constant.start,
                f"function constant index {index} of '{constant.name}' is already taken "
                f"by '{other.name}'",
            )
        name = metal_types(type_name)
        described.append(DescribedConstant(constant.number, constant.name, index, name))
    return tuple(described)


def keep_initializers(module: ModuleText, entities: list[Entity]) -> list[Entity]:
    """`entities` with the initialising function for those constants that need it."""
    constructors = module.entities.get(_CONSTRUCTORS)
    if constructors is None:
        return entities
    needed = {entity.name for entity in entities}
    added: list[Entity] = []
    for name in sorted(constructors.uses()):
        function = Entity(name, _plain_stores(module.entities[name].text))
        if needed & _stored(function):
            added.append(_only_stores_to(module, function, needed))
    if not added:
        return entities
    roots = {name for function in added for name in function.uses()}
    rest = [entity for entity in module.closure(roots) if entity.name not in needed]
    listed = ", ".join(
        f"{{ i32, ptr, ptr }} {{ i32 65535, ptr {f.name}, ptr null }}" for f in added
    )
    text = f"{_CONSTRUCTORS} = appending global [{len(added)} x {{ i32, ptr, ptr }}] [{listed}]"
    return [*entities, *rest, *added, Entity(_CONSTRUCTORS, text)]


def _plain_stores(text: str) -> str:
    """An initialiser whose stores name their constants, and store what these hold."""
    text = _CAST_STORE.sub(r"\1ptr addrspace(2) \2", text)
    for widened, type_, value in _WIDENED.findall(text):
        four = type_.replace("<3", "<4")
        text = text.replace(f"  store {four} {widened}, ", f"  store {type_} {value}, ")
    return text


def _stored(function: Entity) -> set[str]:
    return set(_STORE.findall(function.text))


def _only_stores_to(module: ModuleText, function: Entity, needed: set[str]) -> Entity:
    """The initialiser without what only serves other kernels' constants."""
    loaded = set(re.findall(r"load [^@\n]*(@[-\w.$]+)", function.text))
    wanted = needed | loaded

    def keep(found: re.Match[str]) -> str:
        return found[0] if found[1] in wanted else ""

    text = _INVARIANT.sub("", _STORE.sub(keep, function.text))
    text = re.sub(r"\)( [^\n{]*)?\{\n", r') section "air.static_init" {\n', text, count=1)
    return Entity(function.name, text)


def computed_at_run_time(entities: list[Entity]) -> list[str]:
    """Program-scope constants that no device can know: calls of functions make them.

    Those that depend on function constants are known once these are, and left to the device.
    """
    return sorted(
        name
        for entity in entities
        if 'section "air.static_init"' in entity.text
        and CONSTANT_SYMBOL not in entity.text
        and "@air." in entity.text
        for name in _stored(entity)
    )


def constant_globals(
    entities: list[Entity], constants: tuple[DescribedConstant, ...], conditions: set[str]
) -> tuple[list[Entity], list[tuple[DescribedConstant, str]]]:
    """`entities` with function constants as AIR's globals; those constants with their symbols."""
    by_symbol = {f"@{CONSTANT_SYMBOL}{constant.number}": constant for constant in constants}
    names = {symbol: f"{c.name}.MTL_FC_INIT_{c.index}" for symbol, c in by_symbol.items()}
    used: list[tuple[DescribedConstant, str]] = []
    result: list[Entity] = []
    for entity in entities:
        if entity.name in names:
            used.append((by_symbol[entity.name], names[entity.name]))
            result.append(_constant_global(*used[-1]))
        else:
            result.append(Entity(entity.name, _renamed(entity.text, names)))
    seen = {constant.name for constant, _ in used}
    for symbol, constant in by_symbol.items():
        if constant.name in conditions - seen:
            used.append((constant, names[symbol]))
            # Not internal: nothing but the metadata mentions it.
            result.append(_constant_global(constant, names[symbol], linkage=""))
    return result, sorted(used, key=lambda each: each[0].index)


def _constant_global(
    constant: DescribedConstant, name: str, *, linkage: str = "internal unnamed_addr "
) -> Entity:
    text = (
        f"@{name} = {linkage}addrspace(2) externally_initialized constant "
        f'{_llvm_type(constant.type_name)} undef, section "air.fc_initializer"'
    )
    return Entity(f"@{name}", text)


def _llvm_type(type_name: str) -> str:
    """`<3 x float>` of float3, which clang has as a class."""
    found = _TYPE_NAME.fullmatch(type_name)
    assert found is not None, type_name
    scalar = _SCALARS[found[1]]
    return f"<{found[2]} x {scalar}>" if found[2] else scalar


def _renamed(text: str, names: dict[str, str]) -> str:
    if CONSTANT_SYMBOL not in text:
        return text
    if "@air.is_function_constant_defined" in text:
        # Devices look for the plain form of this call.
        text = _IS_DEFINED.sub("call i1 @air.is_function_constant_defined(ptr addrspace(2) @", text)
    return _SYMBOL.sub(lambda found: f"@{names[found[0]]}", text)

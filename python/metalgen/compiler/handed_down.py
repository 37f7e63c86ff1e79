"""Make variables at program scope parameters of the kernel, handed down to the functions it calls.

Nobody outside of Apple has shown what their compiler makes of them. Kernel parameters are what any
metallib can say: each function that reads such a variable, or calls one that does, takes its value
as one more parameter and keeps it where the variable was read from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from metalgen.compiler.irtext import SYMBOL, Entity
from metalgen.compiler.program_scope import GLOBAL_SYMBOL
from metalgen.compiler.spaces import rename_memory_call

_USE = re.compile(rf"@{GLOBAL_SYMBOL}(\d+)\b")
_CONSTANT = "ptr addrspace(2)"
_OFFSET = re.compile(
    rf"getelementptr ((?:inbounds |nuw |nusw )*)\((?P<type>[^()@]+), ptr addrspace\(2\) "
    rf"@{GLOBAL_SYMBOL}(?P<number>\d+)(?P<offsets>(?:, i\d+ \d+)+)\)"
)
_DEFINED = re.compile(r"^  (%[-\w.$]+) = (?:tail )?(getelementptr|phi|select|freeze) (.*)$")
_POINTER = re.compile(
    r"ptr addrspace\(2\)(?P<attributes>(?: \w+(?:\([^)]*\))?)*) (?P<value>%[-\w.$]+)"
)
_INCOMING = re.compile(r"\[ ([^,]*), %")
_INVARIANT = re.compile(r", !invariant\.load ![0-9]+")
_READS = ("load", "getelementptr", "freeze")


class HandedDownError(Exception):
    """A variable is used as no parameter can be: through a pointer, or before the kernel runs."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def used_globals(entities: list[Entity]) -> set[int]:
    """The numbers of the variables that a kernel's entities mention."""
    return {
        int(number) for entity in without_globals(entities) for number in _USE.findall(entity.text)
    }


def without_globals(entities: list[Entity]) -> list[Entity]:
    """`entities` less the variables."""
    return [entity for entity in entities if not entity.name.startswith(f"@{GLOBAL_SYMBOL}")]


def hand_down(entities: list[Entity], kernel: str, types: Mapping[int, str]) -> list[Entity]:
    """`entities` without the variables, whose LLVM types are `types`; raises HandedDownError.

    The kernel's new parameters are behind its own, in the order of `types`.
    """
    rest = without_globals(entities)
    needs = _needs(rest)
    for entity in rest:
        if entity.name in needs:
            needs[entity.name] &= set(types)
    _check_calls(rest, kernel, needs)
    needs[kernel] = set(types)
    return [
        _Function(entity, needs, types).rewritten() if needs.get(entity.name) else entity
        for entity in rest
    ]


def _needs(entities: list[Entity]) -> dict[str, set[int]]:
    """The variables that each entity needs for itself or for what it mentions."""
    needs = {entity.name: {int(n) for n in _USE.findall(entity.text)} for entity in entities}
    changed = True
    while changed:
        changed = False
        for entity in entities:
            inherited = set().union(*(needs.get(used, set()) for used in entity.uses()))
            if not inherited <= needs[entity.name]:
                needs[entity.name] |= inherited
                changed = True
    return {name: numbers for name, numbers in needs.items() if numbers}


def _check_calls(entities: list[Entity], kernel: str, needs: Mapping[str, set[int]]) -> None:
    """Raise for what needs a variable and is not, or not only, called on the kernel's behalf."""
    called = {kernel}
    for entity in entities:
        for name in entity.uses() & needs.keys():
            mentioned = len(re.findall(rf"{re.escape(name)}(?![-\w.$])", entity.text))
            if mentioned != entity.text.count(f"{name}("):
                raise HandedDownError(min(needs[name]))
            called.add(name)
    for entity in entities:
        is_reached = entity.is_definition and entity.name in called
        if entity.name in needs and not is_reached:
            raise HandedDownError(min(needs[entity.name]))


class _Function:
    """One function that gets more parameters."""

    def __init__(
        self, entity: Entity, needs: Mapping[str, set[int]], types: Mapping[int, str]
    ) -> None:
        self.entity = entity
        self.needs = needs
        self.types = types
        self.own = [number for number in types if number in needs[entity.name]]
        self.offsets: list[str] = []
        self.known = {_slot(number) for number in self.own}

    def rewritten(self) -> Entity:
        """With the parameters, a place in the thread's memory for each, and calls that pass on."""
        head, *lines = self.entity.text.split("\n")
        lines = [self._offsets_apart(_INVARIANT.sub("", line)) for line in lines]
        self._follow(lines)
        parameters = [f"{self.types[number]} {_value(number)}" for number in self.own]
        head = _with_more(head, head.index(f"{self.entity.name}("), parameters)
        lines = [self._handing_on(self._in_thread_memory(line)) for line in lines]
        return Entity(self.entity.name, "\n".join([head, *self._places(), *lines]))

    def _places(self) -> Iterator[str]:
        for number in self.own:
            yield f"  {_slot(number)} = alloca [16 x i8], align 16"
            yield f"  store {self.types[number]} {_value(number)}, ptr {_slot(number)}, align 16"
        yield from self.offsets

    def _offsets_apart(self, line: str) -> str:
        """`line` with the places' names where it mentions the variables, or parts of them."""

        def named(found: re.Match[str]) -> str:
            name = f"%{GLOBAL_SYMBOL}part_{len(self.offsets)}"
            place = _slot(int(found["number"]))
            self.offsets.append(
                f"  {name} = getelementptr {found[1]}{found['type']}, ptr {place}{found['offsets']}"
            )
            self.known.add(name)
            return name

        return _USE.sub(lambda found: _slot(int(found[1])), _OFFSET.sub(named, line))

    def _follow(self, lines: list[str]) -> None:
        """Find all pointers that are made of the places' alone."""
        made = [found for line in lines if (found := _DEFINED.match(line))]
        changed = True
        while changed:
            changed = False
            for found in made:
                sources = _sources(found[2], found[3])
                if found[1] not in self.known and sources and sources <= self.known:
                    self.known.add(found[1])
                    changed = True

    def _in_thread_memory(self, line: str) -> str:
        values = {found["value"] for found in _POINTER.finditer(line)} & self.known
        found = _DEFINED.match(line)
        if found and found[1] in self.known and found[2] in ("phi", "select"):
            return line.replace(_CONSTANT, "ptr")
        if not values and not any(
            re.search(rf"{re.escape(k)}(?![-\w.$])", line) for k in self.known
        ):
            return line
        operation = line.split("= ")[-1].split(" ")[0]
        is_copy = "@llvm.mem" in line
        if operation not in _READS and not is_copy:
            raise HandedDownError(self.own[0])
        line = _POINTER.sub(self._own_pointer, line)
        return rename_memory_call(line) if is_copy else line

    def _own_pointer(self, found: re.Match[str]) -> str:
        if found["value"] not in self.known:
            return found[0]
        return f"ptr{found['attributes']} {found['value']}"

    def _handing_on(self, line: str) -> str:
        """`line` with the values that the function it calls needs."""
        for callee in set(SYMBOL.findall(line)) & self.needs.keys():
            at = line.find(f"{callee}(")
            if at >= 0 and " call " in line:
                wanted = [number for number in self.types if number in self.needs[callee]]
                values = [f"{self.types[number]} {_value(number)}" for number in wanted]
                line = _with_more(line, at, values)
        return line


def _sources(operation: str, rest: str) -> set[str]:
    """The pointers to constant memory that an instruction makes another one of."""
    if operation == "phi" and rest.startswith(_CONSTANT):
        return set(_INCOMING.findall(rest))
    return {found["value"] for found in _POINTER.finditer(rest)} if operation != "phi" else set()


def _slot(number: int) -> str:
    return f"%{GLOBAL_SYMBOL}place_{number}"


def _value(number: int) -> str:
    return f"%{GLOBAL_SYMBOL}value_{number}"


def _with_more(line: str, name_at: int, additions: list[str]) -> str:
    """`line` with additions at the end of the parentheses behind the name at `name_at`."""
    at = opener = line.index("(", name_at)
    depth = 0
    while True:
        depth += (line[at] == "(") - (line[at] == ")")
        if depth == 0:
            break
        at += 1
    comma = ", " if line[opener + 1 : at].strip() and additions else ""
    return line[:at] + comma + ", ".join(additions) + line[at:]

"""LLVM assembly as its top-level entities, so that one kernel's part of it can be taken out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_SYMBOL = r'@(?:"[^"]*"|[-\w.$]+)'
SYMBOL = re.compile(_SYMBOL)
_GLOBAL = re.compile(rf"^({_SYMBOL}) = ")
_FUNCTION = re.compile(rf"^(?:define|declare) [^@\n]*({_SYMBOL})\(")
_METADATA_USE = re.compile(r"![0-9]+")
_METADATA = re.compile(r"^(![0-9]+) = ")
_STRING = re.compile(r'constant \[\d+ x i8\] c"([^"]*)"')
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2})")
_STRINGS = re.compile(r'(?<![\w"])c"[^"]*"')


@dataclass(frozen=True, slots=True)
class Entity:
    """A global variable, alias, or function: its whole text."""

    name: str  # with the "@"
    text: str

    @property
    def is_declaration(self) -> bool:
        """A function without a body."""
        return self.text.startswith("declare ")

    @property
    def is_definition(self) -> bool:
        """A function with a body."""
        return self.text.startswith("define ")

    def uses(self) -> set[str]:
        """Names of the entities it mentions."""
        text = _STRINGS.sub("", self.text) if 'c"' in self.text else self.text
        return set(SYMBOL.findall(text)) - {self.name}


@dataclass(frozen=True)
class ModuleText:
    """The parts of a module; types and attribute groups are kept as they are."""

    entities: dict[str, Entity]
    types: list[str]
    attributes: list[str]
    metadata: dict[str, str] = field(default_factory=dict)

    def closure(self, roots: Iterable[str]) -> list[Entity]:
        """The entities that `roots` need, themselves included, in the module's order."""
        needed: set[str] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name in needed or name not in self.entities:
                continue
            needed.add(name)
            waiting += self.entities[name].uses()
        return [entity for name, entity in self.entities.items() if name in needed]

    def string(self, name: str) -> str:
        """The text of the string constant that the pointer `name` points to."""
        for used in self.entities[name].uses():
            found = _STRING.search(self.entities[used].text)
            if found:
                return _ESCAPE.sub(lambda code: chr(int(code[1], 16)), found[1]).rstrip("\0")
        return ""

    def metadata_for(self, text: str) -> list[str]:
        """The numbered metadata nodes that `text` needs."""
        needed: set[str] = set()
        waiting = _METADATA_USE.findall(text)
        while waiting:
            name = waiting.pop()
            if name in needed or name not in self.metadata:
                continue
            needed.add(name)
            waiting += _METADATA_USE.findall(self.metadata[name].partition(" = ")[2])
        return [line for name, line in self.metadata.items() if name in needed]

    def next_metadata(self) -> int:
        """The first number that no metadata node has."""
        return 1 + max((int(name[1:]) for name in self.metadata), default=-1)


def read_module_text(text: str) -> ModuleText:
    """Take apart what clang wrote; module-level assembly and named metadata are left out."""
    module = ModuleText({}, [], [])
    lines = iter(text.split("\n"))
    for line in lines:
        if line.startswith("define "):
            body = [line]
            for inner in lines:
                body.append(inner)
                if inner == "}":
                    break
            _add(module, _FUNCTION.match(line), "\n".join(body))
        elif line.startswith("declare "):
            _add(module, _FUNCTION.match(line), line)
        elif line.startswith("@"):
            _add(module, _GLOBAL.match(line), line)
        elif line.startswith("%"):
            module.types.append(line)
        elif line.startswith("attributes #"):
            module.attributes.append(line)
        elif found := _METADATA.match(line):
            module.metadata[found[1]] = line
    return module


def _add(module: ModuleText, found: re.Match[str] | None, text: str) -> None:
    if found is not None:
        module.entities[found[1]] = Entity(found[1], text)

"""Find out which address space generic pointers point to; AIR has no generic ones.

Member functions take `this` in C++ for OpenCL's generic address space, number 4. After inlining
nearly every such pointer is a cast of one to device or threadgroup memory, followed by offsets,
choices and accesses, which are given the original's address space here. What is left becomes
address space 0: memory of the thread, or, like LLVM's flat pointers, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_GENERIC = "ptr addrspace(4)"
_VALUE = r"%(?:[-\w.$]+|\"[^\"]*\")"
_INSTRUCTION = re.compile(rf"^  (?:({_VALUE}) = )?(?:tail |musttail |notail )?(\w+) (.*)$")
_CAST = re.compile(rf"^ptr addrspace\(([13])\) (\S+) to {re.escape(_GENERIC)}")
# Attributes may stand between: `ptr addrspace(4) noundef align 4 %7`.
_USE = re.compile(rf"ptr addrspace\(4\)(?P<attributes>(?: \w+(?:\([^)]*\))?)*) (?P<value>{_VALUE})")
_INCOMING = re.compile(r"\[ ([^,]*), %")
_CHOICE = re.compile(r"ptr addrspace\(4\) (\S+?)(?=,|$)")
_MEMORY = re.compile(r"@llvm\.(memcpy|memmove|memset)((?:\.inline)?)((?:\.p\d)+)\.(i\d+)\(")
_POINTER = re.compile(r"\bptr(?: addrspace\((\d)\))?(?= )")
# Null pointers to thread and threadgroup memory are casts of generic ones to clang.
_CAST_NULL = re.compile(
    r"addrspacecast \(ptr(?: addrspace\(\d\))? null to ptr(?: addrspace\(\d\))?\)"
)
_FREE = frozenset({"null", "undef", "poison"})
_ACCESSES = ("load", "getelementptr", "atomicrmw", "cmpxchg")
_UNKNOWN = 0


def specialize(function: str) -> str:
    """A function's text without address space 4."""
    if _GENERIC not in function:
        return function
    spaces = _Spaces(_CAST_NULL.sub("null", function).split("\n"))
    text = "\n".join(spaces.rewritten()).replace(" addrspace(4)", "")
    text = re.sub(r"addrspacecast \(ptr (@[-\w.$]+|@\"[^\"]*\") to ptr\)", r"\1", text)
    return re.sub(r"addrspacecast (ptr \S+ to ptr)(?!\S| addrspace)", r"bitcast \1", text)


class _Spaces:
    """The address space of each generic pointer of a function, where it is known."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.made_from: dict[str, list[str]] = {}
        self.originals: dict[str, str] = {}  # of a cast: what was cast
        self.spaces: dict[str, int] = {}
        for line in lines:
            if (found := _INSTRUCTION.match(line)) and found[1]:
                self._define(found[1], found[2], found[3])
        self._infer()

    def _define(self, name: str, operation: str, rest: str) -> None:
        if operation == "addrspacecast" and (cast := _CAST.match(rest)):
            self.spaces[name] = int(cast[1])
            self.originals[name] = cast[2]
        elif operation == "getelementptr" and (base := _USE.search(rest)):
            self.made_from[name] = [base["value"]]
        elif operation == "phi" and rest.startswith(_GENERIC):
            self.made_from[name] = _INCOMING.findall(rest)
        elif operation == "select" and _GENERIC in rest:
            self.made_from[name] = _CHOICE.findall(rest)

    def _infer(self) -> None:
        """Assume that loops agree with what enters them, until something disagrees."""
        changed = True
        while changed:
            changed = False
            for name, sources in self.made_from.items():
                known = {self._known(source) for source in sources} - {None}
                if not known:
                    continue
                space = known.pop() if len(known) == 1 else _UNKNOWN
                if name in self.spaces and self.spaces[name] != space:
                    space = _UNKNOWN  # only ever towards less knowledge, so this ends
                if self.spaces.get(name) != space:
                    self.spaces[name] = space  # type: ignore[assignment]
                    changed = True

    def _known(self, source: str) -> int | None:
        if source in _FREE or (source in self.made_from and source not in self.spaces):
            return None
        return self.spaces.get(source, _UNKNOWN)

    def rewritten(self) -> Iterator[str]:
        """The function's lines with known pointers in their own address spaces."""
        waiting: list[str] = []  # copies of phis, which must come behind all of a block's phis
        for line in self.lines:
            found = _INSTRUCTION.match(line)
            operation = found[2] if found else ""
            if found and operation != "phi":
                yield from waiting
                waiting = []
            yield self._rewrite(line, found[1] if found else None, operation)
            copies = self._copies(found[1]) if found and found[1] else []
            if operation == "phi":
                waiting += copies
            else:
                yield from copies

    def _copies(self, name: str) -> list[str]:
        """A generic twin for those users that need one; what is unused folds away."""
        space = self.spaces.get(name, _UNKNOWN)
        if space == _UNKNOWN:
            return []
        return [f"  {_twin(name)} = addrspacecast ptr addrspace({space}) {name} to ptr"]

    def _rewrite(self, line: str, name: str | None, operation: str) -> str:
        if _GENERIC not in line:
            return line
        space = self.spaces.get(name or "", _UNKNOWN)
        if name in self.originals:
            own = f"ptr addrspace({space})"
            return f"  {name} = bitcast {own} {self.originals[name]} to {own}"
        if operation in ("phi", "select") and name in self.made_from:
            if space != _UNKNOWN:
                return line.replace(_GENERIC, f"ptr addrspace({space})")
            return self._with_twins(line, self.made_from[name])
        if operation == "store":
            value, comma, address = line.rpartition(f", {_GENERIC} ")
            return _USE.sub(self._as_generic, value) + _USE.sub(self._as_own, comma + address)
        if operation in _ACCESSES:
            return _USE.sub(self._as_own, line)
        if operation == "call" and _MEMORY.search(line):
            return rename_memory_call(_USE.sub(self._as_own, line))
        return self._with_twins(line, re.findall(_VALUE, line))

    def _with_twins(self, line: str, values: list[str]) -> str:
        for value in set(values):
            if self.spaces.get(value, _UNKNOWN) != _UNKNOWN:
                # Split, not substituted: names may hold what a replacement would interpret.
                line = _twin(value).join(re.split(rf"{re.escape(value)}(?![-\w.$])", line))
        return line

    def _as_generic(self, found: re.Match[str]) -> str:
        return self._with_twins(found[0], [found["value"]])

    def _as_own(self, found: re.Match[str]) -> str:
        space = self.spaces.get(found["value"], _UNKNOWN)
        if space == _UNKNOWN:
            return found[0]
        return f"ptr addrspace({space}){found['attributes']} {found['value']}"


def _twin(name: str) -> str:
    return f'%"{name[1:]}.generic"'


def rename_memory_call(line: str) -> str:
    """Give llvm.memcpy and its kin the suffixes of the pointers they take now."""
    found = _MEMORY.search(line)
    assert found is not None
    count = found[3].count(".p")
    spaces = [space or "0" for space in _POINTER.findall(line[found.end() :])[:count]]
    suffix = "".join(f".p{space}" for space in spaces).replace(".p4", ".p0")
    name = f"@llvm.{found[1]}{found[2]}{suffix}.{found[4]}("
    return line[: found.start()] + name + line[found.end() :]


def declare_memory_calls(texts: list[str]) -> list[str]:
    """Declarations of every llvm.memcpy, memmove and memset that `texts` call."""
    calls = {found[0]: found for text in texts for found in _MEMORY.finditer(text)}
    return [_memory_declaration(found) for _, found in sorted(calls.items())]


def is_memory_call(symbol: str) -> bool:
    """Whether `symbol` is llvm.memcpy or one of its kin."""
    return _MEMORY.match(f"{symbol}(") is not None


def _memory_declaration(found: re.Match[str]) -> str:
    pointers = [f"ptr addrspace({space})" for space in re.findall(r"\.p(\d)", found[3])]
    if found[1] == "memset":
        pointers.append("i8")
    return f"declare void {found[0]}{', '.join(pointers)}, {found[4]}, i1 immarg)"

"""Writes the instructions of one function: fresh names, entry-block storage, declarations."""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.software.ir.types import Type
from metalgen.software.simdgroup.values import WIDTH, Mask, wide_type


class Builder:
    """Collects lines; the current block is the one last opened by `label`.

    Blocks beyond `most_lines` raise UnsupportedError.
    """

    def __init__(self, most_lines: int | None = None) -> None:
        self._most_lines = most_lines
        self.lines: list[str] = []
        self.storage: list[str] = []  # allocas, for the entry block
        self.declarations: dict[str, str] = {}
        self._count = 0

    def fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}.{self._count}"

    def emit(self, line: str) -> None:
        self.lines.append("  " + line)

    def value(self, expression: str) -> str:
        """Emits an instruction and returns the name of its result."""
        name = "%" + self.fresh("t")
        self.emit(f"{name} = {expression}")
        return name

    def label(self, label: str) -> None:
        if self._most_lines is not None and len(self.lines) > self._most_lines:
            raise UnsupportedError("not supported: a kernel this large as vectors of 32 threads")
        self.lines.append(f"{label}:")

    def jump(self, label: str) -> None:
        self.emit(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.emit(f"br i1 {condition}, label %{yes}, label %{no}")

    def slot(self, type_: str, align: int = 0) -> str:
        """Storage in the entry block, a register once LLVM has promoted it."""
        name = "%" + self.fresh("slot")
        suffix = f", align {align}" if align else ""
        self.storage.append(f"  {name} = alloca {type_}{suffix}")
        return name

    def load(self, type_: str, slot: str) -> str:
        return self.value(f"load {type_}, ptr {slot}")

    def store(self, type_: str, text: str, slot: str) -> None:
        self.emit(f"store {type_} {text}, ptr {slot}")

    def declare(self, name: str, result: str, parameters: list[str]) -> str:
        """Makes sure `name` is declared; returns it as an operand."""
        quoted = f'@"{name}"'
        self.declarations[name] = f"declare {result} {quoted}({', '.join(parameters)})"
        return quoted

    def call(self, name: str, result: str, arguments: list[tuple[str, str]]) -> str:
        """Calls `name` with (type, operand) pairs; returns the result's name, "" for void."""
        callee = self.declare(name, result, [type_ for type_, _ in arguments])
        text = f"call {result} {callee}({', '.join(f'{t} {v}' for t, v in arguments)})"
        if result == "void":
            self.emit(text)
            return ""
        return self.value(text)

    # Lanes.

    def splat(self, type_: Type, text: str) -> str:
        """The scalar operand `text` in every lane."""
        if text in ("undef", "poison"):
            return "poison"
        if text in ("zeroinitializer", "null"):
            return "zeroinitializer"
        if not text.startswith(("%", "@")):
            return f"splat ({type_} {text})"
        wide = wide_type(type_)
        one = self.value(f"insertelement {wide} poison, {type_} {text}, i64 0")
        return self.value(
            f"shufflevector {wide} {one}, {wide} poison, <{WIDTH} x i32> zeroinitializer"
        )

    def mask(self, bits: str) -> Mask:
        if bits == "-1":
            return Mask(bits, "splat (i1 true)")
        return Mask(bits, self.value(f"bitcast i32 {bits} to <{WIDTH} x i1>"))

    def bits(self, lanes: str, within: Mask) -> str:
        """The i32 mask of the lanes of `within` for which `lanes` holds; others may be poison."""
        type_ = f"<{WIDTH} x i1>"
        if within.is_full:
            return self.value(f"bitcast {type_} {lanes} to i32")
        arms = f"{type_} {lanes}, {type_} zeroinitializer"
        kept = self.value(f"select {type_} {within.lanes}, {arms}")
        return self.value(f"bitcast {type_} {kept} to i32")

    def any(self, bits: str) -> str:
        return self.value(f"icmp ne i32 {bits}, 0")

    def blend(self, type_: Type, mask: Mask, new: str, old: str) -> str:
        if mask.is_full:
            return new
        wide = wide_type(type_)
        return self.value(f"select <{WIDTH} x i1> {mask.lanes}, {wide} {new}, {wide} {old}")

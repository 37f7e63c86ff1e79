"""How a reduction's value is gathered: within a thread, a SIMD-group and a threadgroup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metalgen.proposers.builtin.expressions import compute_type
from metalgen.proposers.builtin.loop_form import Statement
from metalgen.proposers.builtin.split import identity
from metalgen.proposers.builtin.text import literal_text

_LIMITS = {("int", "max"): "INT_MIN", ("int", "min"): "INT_MAX",
           ("long", "max"): "LONG_MIN", ("long", "min"): "LONG_MAX"}  # fmt: skip


def accumulator(statement: Statement) -> Accumulator:
    """What gathers a reduction's elements, in the type that they have in Metal."""
    name, kind, value_type = statement.result, statement.kind, statement.value.type
    if kind.startswith("arg"):
        return Position(name, kind, _plain(value_type))
    if kind in ("any", "all"):
        return Truth(name, kind, "int")
    type_ = "float" if value_type == "float" else _plain(compute_type(statement.dtype))
    return Accumulator(name, kind, type_)


def _plain(type_: str) -> str:
    return "int" if type_ == "bool" else type_


def _start(kind: str, type_: str) -> str:
    return _LIMITS.get((type_, kind)) or literal_text(identity(kind, type_))[0]


@dataclass(frozen=True)
class Accumulator:
    """sum, prod, max or min of the values."""

    name: str
    kind: str
    type: str

    @property
    def shared_types(self) -> tuple[str, ...]:
        return (self.type,)

    def declare(self) -> list[str]:
        return [f"{self.type} {self.name} = {_start(self.kind, self.type)};"]

    def update(self, value: str, place: str) -> list[str]:
        del place
        forms: dict[str, Callable[[], str]] = {
            "sum": lambda: f"{self.name} += {value};",
            "prod": lambda: f"{self.name} *= {value};",
        }
        default = f"{self.name} = {self.kind}({self.name}, {value});"
        return [forms[self.kind]() if self.kind in forms else default]

    def combine(self, mode: str) -> list[str]:
        if mode == "thread":
            return []
        return [f"{self.name} = {_across(self.kind, self.name, self.type, mode)};"]

    def helpers(self, mode: str) -> set[str]:
        if mode == "thread":
            return set()
        if mode == "threadgroup":
            return {f"threadgroup_{self.kind}"}
        return {"simdgroup_product"} if self.kind == "prod" else set()


def _across(kind: str, value: str, type_: str, mode: str) -> str:
    """`value` gathered over the SIMD-group or threadgroup."""
    if mode == "threadgroup":
        return f"threadgroup_{kind}({value}, partial_{type_}, lane, simdgroup, simdgroups)"
    return f"simdgroup_product({value})" if kind == "prod" else f"simd_{kind}({value})"


class Truth(Accumulator):
    """Whether any or all of the values are true, as 0 or 1."""

    @property
    def _gathers(self) -> str:
        return "max" if self.kind == "any" else "min"

    def declare(self) -> list[str]:
        return [f"int {self.name}_found = {0 if self.kind == 'any' else 1};"]

    def update(self, value: str, place: str) -> list[str]:
        del place
        found = f"{self.name}_found"
        return [f"{found} = {self._gathers}({found}, int({value}));"]

    def combine(self, mode: str) -> list[str]:
        found = f"{self.name}_found"
        if mode != "thread":
            found = _across(self._gathers, found, "int", mode)
        return [f"const bool {self.name} = {found} != 0;"]

    def helpers(self, mode: str) -> set[str]:
        return {f"threadgroup_{self._gathers}"} if mode == "threadgroup" else set()


class Position(Accumulator):
    """Where the largest or smallest value stands, the first one of equals."""

    @property
    def _gathers(self) -> str:
        return self.kind.removeprefix("arg")

    @property
    def shared_types(self) -> tuple[str, ...]:
        return (self.type, "uint")

    def declare(self) -> list[str]:
        return [
            f"{self.type} {self.name}_best = {_start(self._gathers, self.type)};",
            f"uint {self.name}_place = UINT_MAX;",
        ]

    def update(self, value: str, place: str) -> list[str]:
        best, at = f"{self.name}_best", f"{self.name}_place"
        symbol = ">" if self._gathers == "max" else "<"
        return [
            f"const {self.type} {self.name}_value = {value};",
            f"if ({self.name}_value {symbol} {best} || {at} == UINT_MAX) {{",
            f"  {best} = {self.name}_value;",
            f"  {at} = {place};",
            "}",
        ]

    def combine(self, mode: str) -> list[str]:
        best, at = f"{self.name}_best", f"{self.name}_place"
        lines: list[str] = []
        if mode != "thread":
            top = f"{self.name}_top"
            lines = [
                f"const {self.type} {top} = {_across(self._gathers, best, self.type, mode)};",
                f"{at} = {best} == {top} ? {at} : UINT_MAX;",
                f"{at} = {_across('min', at, 'uint', mode)};",
            ]
        return [*lines, f"const long {self.name} = long({at});"]

    def helpers(self, mode: str) -> set[str]:
        if mode != "threadgroup":
            return set()
        return {f"threadgroup_{self._gathers}", "threadgroup_min"}

"""What clang says of variables at program scope, as parameters of the kernels that use them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from metalgen.compiler.bindings import Parameter, evaluated
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.fields import FieldNames
from metalgen.compiler.handed_down import (
    HandedDownError,
    hand_down,
    used_globals,
    without_globals,
)
from metalgen.compiler.irtext import Entity, ModuleText
from metalgen.compiler.program_scope import GLOBAL_SYMBOL, Global
from metalgen.compiler.signatures import ParameterType, Signature, check_types, read_signature

_SPACES = {"device": 1, "constant": 2, "threadgroup": 3}
_BUILTIN = re.compile(r"^(uint|ushort)([23]?)$")


@dataclass(frozen=True, slots=True)
class GlobalParameter:
    """A variable as a parameter."""

    parameter: Parameter
    type: ParameterType

    @property
    def llvm_type(self) -> str:
        """Of its value."""
        if self.parameter.binding.kind != "builtin":
            return f"ptr addrspace({_SPACES[self.type.space or 'device']})"
        found = _BUILTIN.match(self.type.name)
        element = "i16" if found and found[1] == "ushort" else "i32"
        return f"<{found[2]} x {element}>" if found and found[2] else element


@dataclass(frozen=True, slots=True)
class GlobalParameters:
    """All of a source's; `same` leads from each number to the first of those bound alike."""

    described: dict[int, GlobalParameter]
    same: dict[int, int]

    def handed_down(
        self,
        entities: list[Entity],
        kernel: str,
        own: Sequence[Parameter],
        start: int,
        complaints: Complaints,
    ) -> tuple[list[Entity], list[GlobalParameter]]:
        """A kernel's entities and the parameters it gets; complains at `start` of what cannot be.

        `own` are the kernel's, whose indices the variables it uses must leave alone.
        """
        used = used_globals(entities)
        if not used:
            return entities, []
        needed = sorted({self.same[number] for number in used})
        added = {number: self.described[number] for number in needed}
        for each in added.values():
            _check_clash(each.parameter, own, start, complaints)
        try:
            types = {number: each.llvm_type for number, each in added.items()}
            return hand_down(self._merged(entities), kernel, types), list(added.values())
        except HandedDownError as error:
            name = self.described[error.number].parameter.name
            complaints.add(start, f"not supported: the address of '{name}', at program scope")
            return without_globals(entities), []

    def _merged(self, entities: list[Entity]) -> list[Entity]:
        """`entities` with one variable for all that are bound alike."""
        for number, first in self.same.items():
            if number != first:
                pattern = re.compile(rf"@{GLOBAL_SYMBOL}{number}\b")
                symbol = f"@{GLOBAL_SYMBOL}{first}"
                entities = [Entity(e.name, pattern.sub(symbol, e.text)) for e in entities]
        return entities


def read_globals(
    module: ModuleText, variables: Sequence[Global], names: FieldNames, complaints: Complaints
) -> GlobalParameters:
    """What `module` says of `variables`; complains about those that no kernel could be given."""
    described: dict[int, GlobalParameter] = {}
    same: dict[int, int] = {}
    for variable in variables:
        signature = read_signature(module, variable.key, names)
        parameters = evaluated([variable.parameter], signature.indices, complaints)
        check_types(parameters, signature, complaints)
        new = described[variable.number] = _parameter(parameters, signature)
        same[variable.number] = next(
            number for number, other in described.items() if _is_same(other, new, complaints)
        )
    return GlobalParameters(described, same)


def _parameter(parameters: Sequence[Parameter], signature: Signature) -> GlobalParameter:
    return GlobalParameter(parameters[0], signature.types[0])


def _is_same(first: GlobalParameter, second: GlobalParameter, complaints: Complaints) -> bool:
    """Whether one parameter serves both; complains where they share an index but no type."""
    one, other = first.parameter, second.parameter
    if first is second:
        return True
    if one.binding != other.binding:
        return False
    if first.type != second.type and one.binding.kind != "builtin":
        complaints.add(
            other.start,
            f"'{other.name}' shares {one.binding.kind} index {one.binding.index} with "
            f"'{one.name}': expected the same type",
        )
    return first.type == second.type


def _check_clash(
    parameter: Parameter, own: Sequence[Parameter], start: int, complaints: Complaints
) -> None:
    binding = parameter.binding
    for other in own:
        taken = (other.binding.kind, other.binding.index)
        if binding.kind != "builtin" and taken == (binding.kind, binding.index):
            complaints.add(
                start,
                f"{binding.kind} index {binding.index} of '{parameter.name}', at program scope, is "
                f"already taken by '{other.name}'",
            )

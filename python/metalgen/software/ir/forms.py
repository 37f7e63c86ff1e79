"""Takes instructions apart, those that differ by the names in them alone only once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metalgen.software.ir.instructions import parse_instruction
from metalgen.software.ir.model import Instruction, Local, Operand
from metalgen.software.ir.tokens import Tokens

_NAME = re.compile(r'(%(?:"[^"]*"|[-\w$.]+))')
_CONSTANT = -1


@dataclass(frozen=True, slots=True)
class _Form:
    """An instruction whose names are numbers; each operand with its name's, or _CONSTANT."""

    instruction: Instruction
    operands: list[tuple[int, Operand]]
    labels: list[int]

    def filled(self, names: list[str]) -> Instruction:
        """The instruction with `names` in the place of their numbers."""
        like = self.instruction
        return Instruction(
            like.opcode,
            like.type,
            [
                operand
                if number == _CONSTANT
                else Operand(operand.type, Local(names[number]), operand.attributes)
                for number, operand in self.operands
            ],
            names[0] if like.result else "",
            like.flags,
            like.predicate,
            like.source_type,
            [names[number] for number in self.labels],
            like.indices,
            like.callee,
            like.return_attributes,
            like.ordering,
            like.align,
            like.suffix,
        )


class Forms:
    """Reads instructions of one module."""

    def __init__(self) -> None:
        self._known: dict[str, _Form | None] = {}

    def parse(self, line: str) -> Instruction:
        """The instruction that a line of textual LLVM IR holds."""
        parts = _NAME.split(line)
        text = "%".join(parts[::2])
        if text not in self._known:
            self._known[text] = _form(parts)
        form = self._known[text]
        return parse_instruction(Tokens(line)) if form is None else form.filled(parts[1::2])


def _form(parts: list[str]) -> _Form | None:
    """None where a name is neither result, operand nor label, but a struct's."""
    count = len(parts) // 2
    numbered = [f"%{at // 2}" if at % 2 else part for at, part in enumerate(parts)]
    instruction = parse_instruction(Tokens("".join(numbered)))
    operands = [(_number(operand), operand) for operand in instruction.operands]
    labels = [int(label[1:]) for label in instruction.labels]
    named = sum(number != _CONSTANT for number, _ in operands)
    if bool(instruction.result) + named + len(labels) != count:
        return None
    return _Form(instruction, operands, labels)


def _number(operand: Operand) -> int:
    return int(operand.value.name[1:]) if isinstance(operand.value, Local) else _CONSTANT

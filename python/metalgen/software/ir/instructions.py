"""Reads instructions of textual LLVM IR, one function per form."""

from __future__ import annotations

import re
from collections.abc import Callable

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Instruction, Operand
from metalgen.software.ir.opcodes import BINARY, CASTS
from metalgen.software.ir.operands import parse_attributes, parse_operand, parse_type, parse_value
from metalgen.software.ir.tokens import Tokens
from metalgen.software.ir.types import I1, PTR, VOID, Array, Named, Struct, Type, Vector

FAST = frozenset("nnan ninf nsz arcp contract afn reassoc fast".split())
_FLAGS = FAST | frozenset("nuw nsw nusw exact disjoint nneg samesign inbounds".split())
_TYPE = re.compile(r"i\d+$|half$|bfloat$|float$|double$|ptr$|void$|[<\[{%]")


def parse_instruction(tokens: Tokens) -> Instruction:
    result = ""
    if tokens.peek(1) == "=":
        result = tokens.next()
        tokens.expect("=")
    opcode = tokens.next()
    flags: tuple[str, ...] = ()
    if opcode in ("tail", "musttail", "notail"):
        flags, opcode = (opcode,), tokens.next()
    parse = _PARSERS.get(opcode)
    if parse is None:
        raise UnsupportedError(f"not supported: LLVM instruction {tokens.line!r}")
    instruction = parse(opcode, tokens)
    instruction.result = result
    instruction.flags = flags + instruction.flags
    instruction.suffix = f"{instruction.suffix} {tokens.rest()}".strip()
    return instruction


def _binary(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    first = parse_operand(tokens)
    tokens.expect(",")
    second = Operand(first.type, parse_value(tokens))
    return Instruction(opcode, first.type, [first, second], flags=flags)


def _unary(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    operand = parse_operand(tokens)
    return Instruction(opcode, operand.type, [operand], flags=flags)


def _compare(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    predicate = tokens.next()
    instruction = _binary(opcode, tokens)
    compared = instruction.type
    instruction.type = Vector(compared.count, I1) if isinstance(compared, Vector) else I1
    instruction.flags, instruction.predicate = flags, predicate
    return instruction


def _cast(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    operand = parse_operand(tokens)
    tokens.expect("to")
    return Instruction(opcode, parse_type(tokens), [operand], flags=flags)


def _operands(tokens: Tokens) -> list[Operand]:
    operands = [parse_operand(tokens)]
    while tokens.peek() == "," and not tokens.peek(1).startswith("!"):
        if tokens.peek(1) == "align":
            break
        tokens.next()
        operands.append(parse_operand(tokens))
    return operands


def _select(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    operands = _operands(tokens)
    return Instruction(opcode, operands[1].type, operands, flags=flags)


def _phi(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    instruction = Instruction(opcode, parse_type(tokens), [], flags=flags)
    while tokens.accept("["):
        instruction.operands.append(Operand(instruction.type, parse_value(tokens)))
        tokens.expect(",")
        instruction.labels.append(tokens.next())
        tokens.expect("]")
        tokens.accept(",")
    return instruction


def _memory_flags(tokens: Tokens) -> tuple[str, ...]:
    return tokens.accept_any(frozenset({"atomic", "volatile", "weak"}))


def _ordering(tokens: Tokens) -> str:
    texts: list[str] = []
    while tokens.peek()[:1].isalpha() and tokens.peek() != "align":
        texts.append(tokens.next())
        if tokens.peek() == "(":
            texts[-1] += tokens.balanced()
    return " ".join(texts)


def _align(tokens: Tokens) -> int:
    if tokens.peek() == "," and tokens.peek(1) == "align":
        tokens.next()
        tokens.next()
        return int(tokens.next())
    return 0


def _load(opcode: str, tokens: Tokens) -> Instruction:
    flags = _memory_flags(tokens)
    type_ = parse_type(tokens)
    tokens.expect(",")
    pointer = parse_operand(tokens)
    ordering = _ordering(tokens)
    return Instruction(
        opcode, type_, [pointer], flags=flags, ordering=ordering, align=_align(tokens)
    )


def _store(opcode: str, tokens: Tokens) -> Instruction:
    flags = _memory_flags(tokens)
    value = parse_operand(tokens)
    tokens.expect(",")
    pointer = parse_operand(tokens)
    ordering = _ordering(tokens)
    return Instruction(
        opcode, VOID, [value, pointer], flags=flags, ordering=ordering, align=_align(tokens)
    )


def _getelementptr(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    source_type = parse_type(tokens)
    tokens.expect(",")
    operands = _operands(tokens)
    vector = next((o.type for o in operands if isinstance(o.type, Vector)), None)
    pointer = operands[0].type
    type_: Type = Vector(vector.count, PTR) if vector else pointer
    return Instruction(opcode, type_, operands, flags=flags, source_type=source_type)


def _alloca(opcode: str, tokens: Tokens) -> Instruction:
    source_type = parse_type(tokens)
    operands = []
    if tokens.peek() == "," and tokens.peek(1) not in ("align", "addrspace"):
        tokens.next()
        operands.append(parse_operand(tokens))
    instruction = Instruction(opcode, PTR, operands, source_type=source_type)
    instruction.align = _align(tokens)
    return instruction


def _call(opcode: str, tokens: Tokens) -> Instruction:
    flags = tokens.accept_any(_FLAGS)
    attributes: list[str] = []
    while not _TYPE.match(tokens.peek()):
        if not tokens.peek():
            raise UnsupportedError(f"not supported: LLVM instruction {tokens.line!r}")
        attributes.append(tokens.next())
        if tokens.peek() == "(":
            attributes[-1] += tokens.balanced()
    type_ = parse_type(tokens)
    if tokens.peek() == "(":  # the full type of a variadic function
        attributes_of_type = tokens.balanced()
        raise UnsupportedError(f"not supported: a variadic call {attributes_of_type}")
    if tokens.peek() == "asm":
        raise UnsupportedError("not supported: inline assembly")
    callee = parse_value(tokens)
    tokens.expect("(")
    operands: list[Operand] = []
    while not tokens.accept(")"):
        operand_type = parse_type(tokens)
        operand_attributes = parse_attributes(tokens)
        operands.append(Operand(operand_type, parse_value(tokens), operand_attributes))
        tokens.accept(",")
    instruction = Instruction(opcode, type_, operands, flags=flags, callee=callee)
    instruction.return_attributes = " ".join(attributes)
    return instruction


def _branch(opcode: str, tokens: Tokens) -> Instruction:
    if tokens.accept("label"):
        return Instruction(opcode, VOID, [], labels=[tokens.next()])
    condition = parse_operand(tokens)
    labels: list[str] = []
    while tokens.accept(","):
        if not tokens.accept("label"):
            return Instruction(opcode, VOID, [condition], labels=labels, suffix=", ")
        labels.append(tokens.next())
    return Instruction(opcode, VOID, [condition], labels=labels)


def _switch(opcode: str, tokens: Tokens) -> Instruction:
    operands = [parse_operand(tokens)]
    tokens.expect(",")
    tokens.expect("label")
    labels = [tokens.next()]
    tokens.expect("[")
    while not tokens.accept("]"):
        operands.append(parse_operand(tokens))
        tokens.expect(",")
        tokens.expect("label")
        labels.append(tokens.next())
    return Instruction(opcode, VOID, operands, labels=labels)


def _return(opcode: str, tokens: Tokens) -> Instruction:
    if tokens.accept("void"):
        return Instruction(opcode, VOID, [])
    return Instruction(opcode, VOID, [parse_operand(tokens)])


def _unreachable(opcode: str, _: Tokens) -> Instruction:
    return Instruction(opcode, VOID, [])


def _extractelement(opcode: str, tokens: Tokens) -> Instruction:
    operands = _operands(tokens)
    vector = operands[0].type
    assert isinstance(vector, Vector)
    return Instruction(opcode, vector.element, operands)


def _insertelement(opcode: str, tokens: Tokens) -> Instruction:
    operands = _operands(tokens)
    return Instruction(opcode, operands[0].type, operands)


def _shufflevector(opcode: str, tokens: Tokens) -> Instruction:
    operands = _operands(tokens)
    vector, mask = operands[0].type, operands[2].type
    assert isinstance(vector, Vector)
    assert isinstance(mask, Vector)
    return Instruction(opcode, Vector(mask.count, vector.element), operands)


def _indices(tokens: Tokens) -> tuple[int, ...]:
    indices: list[int] = []
    while tokens.peek() == "," and tokens.peek(1).isdigit():
        tokens.next()
        indices.append(int(tokens.next()))
    return tuple(indices)


def _extractvalue(opcode: str, tokens: Tokens) -> Instruction:
    aggregate = parse_operand(tokens)
    # The type of the aggregate for now: the element's needs the module's structs.
    return Instruction(opcode, aggregate.type, [aggregate], indices=_indices(tokens))


def _insertvalue(opcode: str, tokens: Tokens) -> Instruction:
    aggregate = parse_operand(tokens)
    tokens.expect(",")
    element = parse_operand(tokens)
    return Instruction(opcode, aggregate.type, [aggregate, element], indices=_indices(tokens))


def _fence(opcode: str, tokens: Tokens) -> Instruction:
    return Instruction(opcode, VOID, [], ordering=_ordering(tokens))


def _atomicrmw(opcode: str, tokens: Tokens) -> Instruction:
    flags = _memory_flags(tokens)
    operation = tokens.next()
    pointer = parse_operand(tokens)
    tokens.expect(",")
    value = parse_operand(tokens)
    instruction = Instruction(
        opcode, value.type, [pointer, value], flags=flags, predicate=operation
    )
    instruction.ordering = _ordering(tokens)
    instruction.align = _align(tokens)
    return instruction


def _cmpxchg(opcode: str, tokens: Tokens) -> Instruction:
    flags = _memory_flags(tokens)
    pointer = parse_operand(tokens)
    tokens.expect(",")
    expected = parse_operand(tokens)
    tokens.expect(",")
    desired = parse_operand(tokens)
    type_ = Struct((expected.type, I1))
    instruction = Instruction(opcode, type_, [pointer, expected, desired], flags=flags)
    instruction.ordering = _ordering(tokens)
    instruction.align = _align(tokens)
    return instruction


_PARSERS: dict[str, Callable[[str, Tokens], Instruction]] = {
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(CASTS, _cast),
    **dict.fromkeys(("icmp", "fcmp"), _compare),
    **dict.fromkeys(("fneg", "freeze"), _unary),
    "select": _select,
    "phi": _phi,
    "load": _load,
    "store": _store,
    "getelementptr": _getelementptr,
    "alloca": _alloca,
    "call": _call,
    "br": _branch,
    "switch": _switch,
    "ret": _return,
    "unreachable": _unreachable,
    "extractelement": _extractelement,
    "insertelement": _insertelement,
    "shufflevector": _shufflevector,
    "extractvalue": _extractvalue,
    "insertvalue": _insertvalue,
    "fence": _fence,
    "atomicrmw": _atomicrmw,
    "cmpxchg": _cmpxchg,
}


def element_type(aggregate: Type, indices: tuple[int, ...], structs: dict[str, Struct]) -> Type:
    """The type that `indices` select in an aggregate, as extractvalue does."""
    for index in indices:
        match aggregate:
            case Named(name):
                aggregate = structs[name].elements[index]
            case Struct(elements):
                aggregate = elements[index]
            case Array(_, element):
                aggregate = element
    return aggregate

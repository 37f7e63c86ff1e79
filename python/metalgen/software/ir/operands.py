"""Reads types, values and attributes of textual LLVM IR."""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Aggregate, Expression, Global, Literal, Local, Operand, Value
from metalgen.software.ir.tokens import Tokens
from metalgen.software.ir.types import (
    FLOAT_BITS,
    Array,
    Float,
    Int,
    Named,
    Opaque,
    Pointer,
    Struct,
    Type,
    Vector,
)

_FLAGS = frozenset({"inbounds", "nuw", "nsw", "nusw", "exact", "disjoint"})
_CONSTANTS = frozenset({"true", "false", "null", "undef", "poison", "zeroinitializer", "none"})
_CASTS = frozenset({"bitcast", "addrspacecast", "inttoptr", "ptrtoint", "trunc", "ptrtoaddr"})
_EXPRESSIONS = _CASTS | {"getelementptr", "add", "sub", "xor", "splat"}


# What is one word, made once: most types are.
_WORDS: dict[str, Type] = {
    **{name: Float(name) for name in FLOAT_BITS},
    **{f"i{bits}": Int(bits) for bits in (1, 8, 16, 32, 64)},
    **{name: Opaque(name) for name in ("void", "label", "metadata", "token")},
}
_POINTERS = {str(space): Pointer(space) for space in range(4)}


def parse_type(tokens: Tokens) -> Type:
    text = tokens.next()
    word = _WORDS.get(text)
    if word is not None:
        return word
    if text == "ptr":
        return _pointer(tokens)
    if text[:1] == "i" and text[1:].isdigit():
        return Int(int(text[1:]))
    if text[:1] == "%":
        return Named(text)
    if text == "[":
        return _counted(tokens, "]")
    if text == "{":
        return _struct(tokens, packed=False)
    if text == "<":
        if tokens.accept("{"):
            struct = _struct(tokens, packed=True)
            tokens.expect(">")
            return struct
        return _counted(tokens, ">")
    raise UnsupportedError(f"not supported: LLVM type {text!r} in {tokens.line!r}")


def _pointer(tokens: Tokens) -> Pointer:
    space = "0"
    if tokens.accept("addrspace"):
        tokens.expect("(")
        space = tokens.next()
        tokens.expect(")")
    return _POINTERS.get(space) or Pointer(int(space))


def _counted(tokens: Tokens, closing: str) -> Array | Vector:
    count = int(tokens.next())
    tokens.expect("x")
    element = parse_type(tokens)
    tokens.expect(closing)
    return Array(count, element) if closing == "]" else Vector(count, element)


def _struct(tokens: Tokens, packed: bool) -> Struct:
    elements: list[Type] = []
    while not tokens.accept("}"):
        elements.append(parse_type(tokens))
        tokens.accept(",")
    return Struct(tuple(elements), packed)


def parse_operand(tokens: Tokens) -> Operand:
    """A type followed by a value."""
    type_ = parse_type(tokens)
    return Operand(type_, parse_value(tokens))


def parse_value(tokens: Tokens) -> Value:
    text = tokens.peek()
    first = text[:1]
    if first == "%":
        return Local(tokens.next())
    if first.isdigit() or first == "-" or text in _CONSTANTS:
        return Literal(tokens.next())
    if first == "@":
        return Global(tokens.next())
    if text in _EXPRESSIONS:
        return _expression(tokens)
    if text in ("<", "[", "{"):
        return _aggregate(tokens)
    if first == "!":
        return Literal(tokens.rest() if tokens.peek(1) == "{" else tokens.next())
    if text.startswith('c"'):
        return Literal(tokens.next())
    raise UnsupportedError(f"not supported: LLVM value {text!r} in {tokens.line!r}")


def _aggregate(tokens: Tokens) -> Aggregate:
    opening = tokens.next()
    if opening == "<" and tokens.accept("{"):
        opening = "<{"
    closing = {"<": ">", "[": "]", "{": "}", "<{": "}"}[opening]
    elements: list[Operand] = []
    while not tokens.accept(closing):
        elements.append(parse_operand(tokens))
        tokens.accept(",")
    if opening == "<{":
        tokens.expect(">")
        closing = "}>"
    return Aggregate((opening, closing), tuple(elements))


def _expression(tokens: Tokens) -> Expression:
    opcode = tokens.next()
    flags = list(tokens.accept_any(_FLAGS))
    if tokens.accept("inrange"):
        tokens.balanced()
    flags += tokens.accept_any(_FLAGS)
    tokens.expect("(")
    source_type = None
    if opcode == "getelementptr":
        source_type = parse_type(tokens)
        tokens.expect(",")
    operands = [parse_operand(tokens)]
    while tokens.accept(","):
        operands.append(parse_operand(tokens))
    target = parse_type(tokens) if tokens.accept("to") else None
    tokens.expect(")")
    return Expression(opcode, tuple(flags), tuple(operands), source_type, target)


def parse_attributes(tokens: Tokens) -> str:
    """Consumes parameter or return attributes; returns their text."""
    texts: list[str] = []
    while True:
        text = tokens.peek()
        if text == "align" and tokens.peek(1) != "(":
            texts += [tokens.next(), tokens.next()]
        elif text.startswith('"'):
            texts.append(tokens.next())
            if tokens.accept("="):
                texts[-1] += f"={tokens.next()}"
        elif text[:1].isalpha() and text not in _CONSTANTS and text not in _EXPRESSIONS:
            texts.append(tokens.next())
            if tokens.peek() == "(":
                texts[-1] += tokens.balanced()
        else:
            return " ".join(texts)

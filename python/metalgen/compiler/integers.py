"""Integer constant expressions as attributes have them: literals and what C++ does with them."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

_SUFFIX = re.compile(r"\b((?:0[xX][\da-fA-F']+|0[bB][01']+|\d[\d']*))[uUlL]*\b")
_OCTAL = re.compile(r"\b0(?=\d)")
_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
}
_LENGTH_LIMIT = 1000  # characters; deeper nesting than they allow would exhaust Python's stack


def integer_value(text: str) -> int | None:
    """The value of an integer constant expression without names, None if it is none."""
    if len(text) > _LENGTH_LIMIT:
        return None
    python = _SUFFIX.sub(lambda found: found[1].replace("'", ""), " ".join(text.split()))
    try:
        # The operators known here bind in Python as they do in C++.
        return _value(ast.parse(_OCTAL.sub("0o", python), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Div | ast.Mod):
            quotient = abs(left) // abs(right) * (1 if left * right >= 0 else -1)
            return quotient if isinstance(node.op, ast.Div) else left - right * quotient
        if isinstance(node.op, ast.LShift | ast.RShift):
            if not 0 <= right < 64:
                raise ValueError
            return left << right if isinstance(node.op, ast.LShift) else left >> right
        if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](left, right)
    raise ValueError

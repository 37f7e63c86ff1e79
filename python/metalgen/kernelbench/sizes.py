"""The sizes of a problem: the integers at a file's top level, and the same text with others.

`N = 2048 * 2`, `height, width = 32, 32`, `depth = height = 64` and `layers = [400, 800]` are sizes;
what is computed from names follows by itself. Only the numbers' own text is replaced.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int | None]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: lambda a, b: a // b if b else None,
    ast.Pow: lambda a, b: a**b if 0 <= b < 64 and abs(a) < 2**16 else None,
}


@dataclass(frozen=True, slots=True)
class Size:
    """An integer at the top level: what it is called, what it is, where its text stands.

    `name` is `batch_size`, or `layers[1]` for an element of a list or tuple.
    """

    name: str
    value: int
    start: int  # of its text, in bytes of UTF-8
    end: int


def sizes_of(code: str) -> tuple[Size, ...]:
    """Every size, in the order of the text; none where the text is no Python."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    lines = _line_starts(code)
    return tuple(
        Size(name, value, *_span(node, lines))
        for statement in tree.body
        for name, node in _assigned(statement)
        if (value := _folded(node)) is not None
    )


def with_sizes(code: str, values: Mapping[str, int]) -> str:
    """The same text with other values for the sizes of these names."""
    text = code.encode()
    for size in reversed(sizes_of(code)):
        if values.get(size.name, size.value) != size.value:
            text = text[: size.start] + str(values[size.name]).encode() + text[size.end :]
    return text.decode()


def changes_between(before: str, after: str) -> tuple[str, ...]:
    """What was changed, in words: `batch_size 4096 -> 64`."""
    new = {size.name: size.value for size in sizes_of(after)}
    return tuple(
        f"{size.name} {size.value} -> {new[size.name]}"
        for size in sizes_of(before)
        if new.get(size.name, size.value) != size.value
    )


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Names with the expressions that they stand for."""
    target: ast.expr
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    elif isinstance(statement, ast.Assign):
        # `height = width = 128` is one number: it goes by its first name.
        target, value = statement.targets[0], statement.value
    else:
        return
    if isinstance(target, ast.Name) and isinstance(value, ast.List | ast.Tuple):
        for i, element in enumerate(value.elts):
            yield f"{target.id}[{i}]", element
    elif isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for part, element in zip(target.elts, value.elts, strict=False):
            if isinstance(part, ast.Name):
                yield part.id, element


def _folded(node: ast.expr) -> int | None:
    """The value of an expression of integers alone."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATORS:
        return None
    left, right = _folded(node.left), _folded(node.right)
    if left is None or right is None:
        return None
    return _OPERATORS[type(node.op)](left, right)


def _line_starts(code: str) -> list[int]:
    starts, at = [], 0
    for line in code.encode().splitlines(keepends=True):
        starts.append(at)
        at += len(line)
    return starts


def _span(node: ast.expr, lines: list[int]) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    start = lines[node.lineno - 1] + node.col_offset
    return start, lines[node.end_lineno - 1] + node.end_col_offset

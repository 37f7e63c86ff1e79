"""Writes what a kernel computes as one line of mathematics, for the comment above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from metalgen.proposers.builtin.expressions import (
    Apply,
    Constant,
    Expr,
    IndexValue,
    Load,
    Variable,
    walk,
)
from metalgen.proposers.builtin.forms import ADD, FORMS, MULTIPLY, PRIMARY
from metalgen.proposers.builtin.tensors import Matmul, Reduction, Scan, Tensor
from metalgen.proposers.builtin.text import _least_binding as least_binding
from metalgen.proposers.builtin.text import _parenthesized as parenthesized
from metalgen.proposers.builtin.text import literal_text

if TYPE_CHECKING:
    from metalgen.proposers.builtin.kernel import Draft

MOST_OPERATIONS = 24
LONGEST = 94


def formula_of(name: str, tensor: Tensor, originals: Mapping[int, Expr], draft: Draft) -> str:
    """`y = gelu(x * w)`; long ones only say how many operations they are."""
    printer = _Printer(originals, draft)
    value = originals[id(tensor)]
    if isinstance(tensor, Reduction | Matmul | Scan):
        text = printer.local(tensor)[0]
    else:
        text = printer.text(value)[0]
    if printer.operations > MOST_OPERATIONS or len(name) + len(text) > LONGEST:
        return f"{name} = {printer.operations} operations on {', '.join(printer.names())}"
    return f"{name} = {text}"


class _Printer:
    """Prints expressions without indices."""

    def __init__(self, originals: Mapping[int, Expr], draft: Draft) -> None:
        self._originals = originals
        self._draft = draft
        self._tensors = {part.tensor.name: part.tensor for part in draft.parts}
        self.operations = 0

    def names(self) -> list[str]:
        """The buffers that everything in the kernel reads."""
        used = {
            load.buffer
            for value in self._originals.values()
            for load in walk(value)
            if isinstance(load, Load)
        }
        return sorted(self._draft.bindings[name].name for name in used) or ["nothing"]

    def text(self, value: Expr) -> tuple[str, int]:
        if self.operations > MOST_OPERATIONS:
            return "...", PRIMARY
        if isinstance(value, Constant):
            text, binding = literal_text(value)
            return text.removesuffix("f").removesuffix(".0").lower(), binding
        if isinstance(value, Load):
            return self._draft.bindings[value.buffer].name, PRIMARY
        if isinstance(value, Variable):
            tensor = self._tensors.get(value.name)
            inside = isinstance(tensor, Matmul | Scan)
            return self.local(tensor) if tensor is not None and inside else (value.name, PRIMARY)
        if isinstance(value, IndexValue):
            return _index_name(value), PRIMARY
        assert isinstance(value, Apply)
        return self._apply(value)

    def local(self, tensor: Tensor) -> tuple[str, int]:
        """A reduction or product that the kernel computes itself."""
        value = self._originals[id(tensor)]
        self.operations += 1
        if isinstance(tensor, Matmul):
            return self._product(tensor)
        kind = tensor.kind if isinstance(tensor, Reduction) else "running sum"
        if isinstance(tensor, Scan):
            kind = f"running {tensor.kind}"
        return f"{kind}({self.text(value)[0]})", PRIMARY

    def _product(self, tensor: Matmul) -> tuple[str, int]:
        part = next(part for part in self._draft.parts if part.tensor is tensor)
        left, right = (self.text(access.value) for access in part.accesses[:2])
        return f"{parenthesized(left, MULTIPLY)} @ {parenthesized(right, ADD + 2)}", MULTIPLY

    def _apply(self, value: Apply) -> tuple[str, int]:
        form = FORMS[value.form]
        if form.cost == 0:
            return self.text(value.args[0])
        if value.form == "guard":
            return self.text(value.args[1])
        self.operations += 1
        parts = [
            parenthesized(self.text(arg), least_binding(form.binding, position, value.form))
            for position, arg in enumerate(value.args)
        ]
        return form.text.format(*parts).replace("precise::", ""), form.binding


def _index_name(value: IndexValue) -> str:
    return "size" if not value.index.axes() else "index"

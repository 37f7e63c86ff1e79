"""Gives every tensor that kernels compute a name of its own, usable in launch plans and MSL."""

from __future__ import annotations

from collections.abc import Iterable

from metalgen.proposers.builtin.capture import identifier
from metalgen.proposers.builtin.tensors import Stored, Tensor


class Names:
    """Hands out identifiers, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, wanted: str) -> str:
        """`wanted`, with a number behind it where it is taken."""
        name = base = identifier(wanted.strip("_") or "value")
        count = 1
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name


def name_tensors(order: Iterable[Tensor]) -> None:
    """Renames computed tensors so that no two share a name, nor one with an input or parameter."""
    tensors = list(order)
    stored = [tensor for tensor in tensors if isinstance(tensor, Stored)]
    names = Names(name for tensor in stored for name in (tensor.plan_name, identifier(tensor.name)))
    for tensor in tensors:
        if not isinstance(tensor, Stored):
            tensor.name = names.fresh(tensor.name)

"""Decides which tensors are written to memory and which are computed again where they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metalgen.proposers.builtin.graph import pointwise
from metalgen.proposers.builtin.indexing import product
from metalgen.proposers.builtin.tensors import (
    Matmul,
    Pointwise,
    Reduction,
    Scan,
    Stored,
    Table,
    Tensor,
    base,
    depends_on,
)

# Computing a value twice beats writing and reading it below this many operations.
CHEAP = 8
# A value that depends on its row's reductions can only be kept by the kernel that has the row.
CHEAP_IN_ROW = 40
# In a tile of a matrix product each element is read once per neighbouring tile.
CHEAP_IN_TILE = 2
# Longer chains of operations are cut: compilers take long over huge kernels, and readers too.
LONGEST_CHAIN = 150
# Metal has 31 buffers per kernel; this leaves room for results and sizes.
MAX_LEAVES = 12


def copied_outputs(outputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs, with a copy for each that no kernel computes as it stands."""
    results: list[Tensor] = []
    for i, output in enumerate(outputs):
        computed = isinstance(output, Pointwise | Reduction | Matmul | Scan)
        if not computed or any(output is earlier for earlier in results):
            output = pointwise(
                f"out{i}" if not isinstance(output, Stored | Table) else f"{output.name}_copy",
                output.shape,
                output.dtype,
                [output],
                lambda value: value,
                label="copy" if isinstance(base(output), Stored | Table) else "",
            )
        results.append(output)
    return results


def in_order(outputs: Iterable[Tensor]) -> list[Tensor]:
    """Every tensor that the outputs need, views left out, each after those it reads."""
    done: dict[int, Tensor] = {}
    stack = [(base(output), False) for output in reversed(list(outputs))]
    while stack:
        tensor, expanded = stack.pop()
        if id(tensor) in done:
            continue
        if expanded:
            done[id(tensor)] = tensor
            continue
        stack.append((tensor, True))
        stack.extend((source, False) for source in reversed(list(depends_on(tensor))))
    return list(done.values())


class Materialization:
    """Which pointwise tensors are stored; reductions, products and scans always may be."""

    def __init__(self, outputs: Sequence[Tensor], *, fuse: bool = True) -> None:
        self.order = in_order(outputs)
        self._outputs = {id(output) for output in outputs}
        self._fuse = fuse
        self._users = _users(self.order)
        self._stored: set[int] = set()
        self._cost: dict[int, int] = {}
        self._leaves: dict[int, set[int]] = {}
        for tensor in self.order:
            self._decide(tensor)

    def is_stored(self, tensor: Tensor) -> bool:
        return id(tensor) in self._stored

    def is_output(self, tensor: Tensor) -> bool:
        return id(tensor) in self._outputs

    def _decide(self, tensor: Tensor) -> None:
        if not isinstance(tensor, Pointwise):
            self._cost[id(tensor)] = 0
            self._leaves[id(tensor)] = {id(tensor)} if not _is_scalar_table(tensor) else set()
            return
        self._limit_leaves(tensor)
        inputs = list(depends_on(tensor))
        self._leaves[id(tensor)] = set().union(*(self._leaves[id(source)] for source in inputs))
        self._cost[id(tensor)] = tensor.cost + sum(self._cost[id(source)] for source in inputs)
        if self._must_store(tensor):
            self._store(tensor)

    def _store(self, tensor: Tensor) -> None:
        self._stored.add(id(tensor))
        self._cost[id(tensor)] = 0
        self._leaves[id(tensor)] = {id(tensor)}

    def _limit_leaves(self, tensor: Tensor) -> None:
        """Stores the inputs that read most until one kernel can name everything it reads."""
        inputs = [source for source in depends_on(tensor) if isinstance(source, Pointwise)]
        inputs.sort(key=lambda source: len(self._leaves[id(source)]), reverse=True)
        for source in inputs:
            together = set().union(*(self._leaves[id(other)] for other in depends_on(tensor)))
            if len(together) <= MAX_LEAVES or len(self._leaves[id(source)]) < 2:
                return
            self._store(source)

    def _must_store(self, tensor: Pointwise) -> bool:
        if self.is_output(tensor) or tensor.keep:
            return True
        users, cost = self._users[id(tensor)], self._cost[id(tensor)]
        if cost > LONGEST_CHAIN or (not self._fuse and tensor.cost):
            return True
        if any(isinstance(user, Matmul) for user in users) and cost > CHEAP_IN_TILE:
            return True
        if any(isinstance(user, Reduction) and user.overlaps for user in users) and cost > 1:
            return True
        leaves = [source for source in self._reads(tensor) if not isinstance(source, Stored)]
        in_row = any(isinstance(source, Reduction) for source in leaves)
        if len(users) > 1 and cost > (CHEAP_IN_ROW if in_row else CHEAP):
            return True
        return self._ends_epilogue(tensor, leaves, users)

    def _reads(self, tensor: Pointwise) -> list[Tensor]:
        known = {id(other): other for other in self.order}
        return [known[key] for key in self._leaves[id(tensor)] if key in known]

    def _ends_epilogue(self, tensor: Pointwise, leaves: list[Tensor], users: list[Tensor]) -> bool:
        """Whether a product's result passes through `tensor` before something else reads it."""
        if any(isinstance(leaf, Reduction) for leaf in leaves):
            return False
        size = product(tensor.shape)
        products = [leaf for leaf in leaves if isinstance(leaf, Matmul)]
        if not any(product(leaf.shape) == size for leaf in products):
            return False
        return len(users) > 1 or not all(isinstance(user, Pointwise) for user in users)


def _is_scalar_table(tensor: Tensor) -> bool:
    return isinstance(tensor, Table) and len(tensor.values) == 1


def _users(order: Sequence[Tensor]) -> dict[int, list[Tensor]]:
    users: dict[int, list[Tensor]] = {id(tensor): [] for tensor in order}
    for tensor in order:
        for source in depends_on(tensor):
            users[id(source)].append(tensor)
    return users

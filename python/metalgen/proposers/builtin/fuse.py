"""Groups tensors into kernels: what follows a reduction or product joins it where it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metalgen.proposers.builtin.division import flatten
from metalgen.proposers.builtin.evaluate import Evaluator
from metalgen.proposers.builtin.expressions import Expr
from metalgen.proposers.builtin.indexing import Atom, Axis, Index, product
from metalgen.proposers.builtin.loop_form import Kind
from metalgen.proposers.builtin.materialize import Materialization
from metalgen.proposers.builtin.solve import solve, split_axes
from metalgen.proposers.builtin.tensors import (
    AxisNames,
    Idx,
    Matmul,
    Pointwise,
    Reduction,
    Scan,
    Stored,
    Table,
    Tensor,
    positions,
)


@dataclass
class Member:
    """A tensor that a group computes at `index`; `inner` are its axes beyond the group's own."""

    tensor: Tensor
    index: Idx
    inner: tuple[Axis, ...] = ()


@dataclass(eq=False)
class Group:
    """One kernel to be: its axes, and the tensors it computes in order."""

    kind: Kind
    axes: tuple[Axis, ...]
    members: list[Member]
    external: dict[int, Tensor] = field(default_factory=dict)

    @property
    def anchor(self) -> Tensor:
        return self.members[0].tensor

    def computes(self, tensor: Tensor) -> bool:
        return any(member.tensor is tensor for member in self.members)

    def member(self, tensor: Tensor) -> Member:
        return next(member for member in self.members if member.tensor is tensor)


MAX_MEMBERS = 12
MAX_BUFFERS = 20


class Fusion:
    """Groups in launch order, and which tensors other groups read from memory."""

    def __init__(self, outputs: Sequence[Tensor], *, fuse: bool = True) -> None:
        self.memory = Materialization(outputs, fuse=fuse)
        self.groups: list[Group] = []
        self._fuse = fuse
        self._names = AxisNames()
        self._group_of: dict[int, Group] = {}
        for tensor in self.memory.order:
            self._place(tensor)
        self._read = {
            key for group in self.groups for key in group.external if key in self._group_of
        }

    def is_written(self, tensor: Tensor) -> bool:
        """Whether the tensor must be in memory after its kernel."""
        return self.memory.is_output(tensor) or id(tensor) in self._read

    def evaluator(self, group: Group) -> Evaluator:
        return Evaluator(group.computes, self.memory.is_stored)

    def _place(self, tensor: Tensor) -> None:
        if isinstance(tensor, Stored | Table):
            return
        if isinstance(tensor, Pointwise) and not self.memory.is_stored(tensor):
            return
        if isinstance(tensor, Pointwise | Reduction) and self._fuse and self._join_any(tensor):
            return
        self._start(tensor)

    def _start(self, tensor: Tensor) -> None:
        axes = self._names.fresh(tensor.shape)
        inner = self._inner_axes(tensor)
        member = Member(tensor, positions(axes), inner)
        group = Group(_kind(tensor), axes, [member])
        group.external = self._trace(group, tensor, member).loaded
        self.groups.append(group)
        self._group_of[id(tensor)] = group

    def _inner_axes(self, tensor: Tensor) -> tuple[Axis, ...]:
        if isinstance(tensor, Reduction):
            return self._names.fresh(tensor.inner)
        if isinstance(tensor, Matmul):
            return self._names.fresh((tensor.depth,))
        return ()

    def _trace(self, group: Group, tensor: Tensor, member: Member) -> Evaluator:
        """Evaluates `tensor` at the member's index, for what it reads."""
        evaluator = Evaluator(
            lambda other: other is not tensor and group.computes(other), self.memory.is_stored
        )
        evaluate(evaluator, tensor, member)
        return evaluator

    def _join_any(self, tensor: Pointwise | Reduction) -> bool:
        probe = Group("elementwise", (), [])
        axes, inner = self._names.fresh(tensor.shape), self._inner_axes(tensor)
        loaded = self._trace(probe, tensor, Member(tensor, positions(axes), inner)).loaded
        candidates = {
            id(self._group_of[key]): self._group_of[key] for key in loaded if key in self._group_of
        }
        latest = sorted(candidates.values(), key=self.groups.index, reverse=True)
        if any(self._join(group, tensor, axes, inner) for group in latest):
            return True
        return isinstance(tensor, Reduction) and self._join_beside(tensor, inner, loaded)

    def _join_beside(
        self, tensor: Reduction, inner: tuple[Axis, ...], loaded: dict[int, Tensor]
    ) -> bool:
        """Joins a reduction of the same rows that reads some of the same memory."""
        for group in reversed(self.groups):
            anchor = group.anchor
            if not isinstance(anchor, Reduction) or not group.external.keys() & loaded.keys():
                continue
            if (anchor.shape, anchor.inner) != (tensor.shape, tensor.inner):
                continue
            if self._admit(group, Member(tensor, positions(group.axes), inner)):
                return True
        return False

    def _join(
        self,
        group: Group,
        tensor: Pointwise | Reduction,
        axes: tuple[Axis, ...],
        inner: tuple[Axis, ...],
    ) -> bool:
        if group.kind == "scan":
            return False
        if isinstance(tensor, Reduction) and group.kind != "rows":
            return False
        member = self._locate(group, tensor, axes, inner)
        return member is not None and self._admit(group, member)

    def _admit(self, group: Group, member: Member) -> bool:
        """Adds the member if the group computes what it reads at the right places."""
        tensor = member.tensor
        if len(group.members) >= MAX_MEMBERS or not self._is_worthwhile(group, member):
            return False
        trace = self._trace(group, tensor, member)
        for read, index in trace.local_reads:
            if index != group.member(read).index:
                return False
        if len(group.external | trace.loaded) + len(group.members) >= MAX_BUFFERS:
            return False
        if not self._order_allows(group, trace.loaded):
            return False
        group.members.append(member)
        group.external |= trace.loaded
        self._group_of[id(tensor)] = group
        return True

    def _locate(
        self,
        group: Group,
        tensor: Pointwise | Reduction,
        axes: tuple[Axis, ...],
        inner: tuple[Axis, ...],
    ) -> Member | None:
        """Where in the group's grid the elements of `tensor` belong, if that is one place each."""
        start = Member(tensor, positions(axes), inner)
        reads = self._trace(group, tensor, start).local_reads
        reads = [(read, index) for read, index in reads if not isinstance(read, Pointwise)] or reads
        if not reads:
            return None
        read, index = reads[0]
        splits = split_axes(index)
        place = list(start.index)
        for split in splits:
            values: dict[Atom, Index] = {split.axis: split.value}
            index = tuple(at.replace(values) for at in index)
            place = [at.replace(values) for at in place]
        found = solve(
            flatten(index, read.shape),
            product(read.shape),
            flatten(positions(group.axes), _shape(group)),
        )
        if found is None:
            return None
        placed = tuple(at.replace(found) for at in place)
        used = {axis for axis in found if isinstance(axis, Axis)}
        free = _ordered_axes(place, used)
        if isinstance(tensor, Reduction):
            return Member(tensor, placed, inner) if not free else None
        if free and group.kind != "rows":
            return None
        return Member(tensor, placed, free)

    def _is_worthwhile(self, group: Group, member: Member) -> bool:
        """Whether the group's threads are enough for the member's work."""
        if group.kind != "rows" or isinstance(member.tensor, Reduction):
            return True
        work = product(axis.extent for axis in member.inner).hint
        own = max(product(axis.extent for axis in other.inner).hint for other in group.members)
        rows = product(_shape(group)).hint
        return work <= 4096 or (work <= 8 * own and (rows >= 16 or work <= 65536))

    def _order_allows(self, group: Group, loaded: dict[int, Tensor]) -> bool:
        """Whether all that is loaded comes from earlier groups, moving this one back if need be."""
        position = self.groups.index(group)
        producers = [self._group_of[key] for key in loaded if key in self._group_of]
        if any(producer is group for producer in producers):
            return False
        if all(self.groups.index(producer) < position for producer in producers):
            return True
        computed = {id(member.tensor) for member in group.members}
        later = self.groups[position + 1 :]
        if any(computed & other.external.keys() for other in later):
            return False
        self.groups.remove(group)
        self.groups.append(group)
        return True


def _ordered_axes(place: Sequence[Index], used: set[Axis]) -> tuple[Axis, ...]:
    """The axes that no equation fixed, slowest first."""
    free: list[Axis] = []
    for at in place:
        mine = sorted(at.axes() - used, key=lambda axis: -(at.coefficient(axis) or Index()).hint)
        free += [axis for axis in mine if axis not in free]
    return tuple(free)


def _shape(group: Group) -> Idx:
    return tuple(axis.extent for axis in group.axes)


def _kind(tensor: Tensor) -> Kind:
    if isinstance(tensor, Reduction):
        return "rows"
    if isinstance(tensor, Matmul):
        return "product"
    return "scan" if isinstance(tensor, Scan) else "elementwise"


def evaluate(evaluator: Evaluator, tensor: Tensor, member: Member) -> tuple[Expr, ...]:
    """What a kernel computes for one place of the member: one expression, two for a product."""
    inner = positions(member.inner)
    if isinstance(tensor, Pointwise):
        return (evaluator.compute(tensor, member.index),)
    if isinstance(tensor, Reduction):
        return (tensor.body(member.index, inner, evaluator.read),)
    if isinstance(tensor, Matmul):
        *batch, row, column = member.index
        left = tensor.left((*batch, row, *inner), evaluator.read)
        return left, tensor.right((*batch, *inner, column), evaluator.read)
    assert isinstance(tensor, Scan)
    return (evaluator.read(tensor.source, member.index),)

"""From fused groups to the loop form: each tensor's element as an expression over its loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from metalgen.proposers.builtin.division import flatten
from metalgen.proposers.builtin.evaluate import Evaluator, buffer_name
from metalgen.proposers.builtin.expressions import IndexValue
from metalgen.proposers.builtin.fuse import Fusion, Group, Member, evaluate
from metalgen.proposers.builtin.indexing import Axis
from metalgen.proposers.builtin.labels import label_of
from metalgen.proposers.builtin.loop_form import Buffer, LoopForm, LoopNest, Role, Statement
from metalgen.proposers.builtin.naming import Names
from metalgen.proposers.builtin.tensors import (
    Matmul,
    Pointwise,
    Reduction,
    Scan,
    Stored,
    Table,
    Tensor,
    positions,
)


def loop_form(fusion: Fusion, outputs: Sequence[str]) -> LoopForm:
    """The groups as loops, without schedules; tensors must have their names by now."""
    names = Names()
    nests = tuple(
        _nest(fusion, group, names.fresh(label_of(fusion, group))) for group in fusion.groups
    )
    buffers = {buffer.name: buffer for buffer in _buffers(fusion)}
    return LoopForm(nests, buffers, tuple(outputs))


def _nest(fusion: Fusion, group: Group, name: str) -> LoopNest:
    evaluator = fusion.evaluator(group)
    # A value that is only computed again where it is read needs no statement of its own.
    kept = [
        member
        for member in group.members
        if not isinstance(member.tensor, Pointwise) or fusion.is_written(member.tensor)
    ]
    statements = tuple(_statement(fusion, evaluator, member) for member in kept)
    along = {axis for member in kept if isinstance(member.tensor, Scan) for axis in _along(member)}
    axes = tuple(axis for axis in group.axes if axis not in along)
    return LoopNest(name, group.kind, axes, statements)


def _statement(fusion: Fusion, evaluator: Evaluator, member: Member) -> Statement:
    tensor, inner = member.tensor, member.inner
    values = evaluate(evaluator, tensor, member)
    fields: dict[str, Any] = {"how": "store"}
    if isinstance(tensor, Matmul):
        fields = {"how": "dot"}
    elif isinstance(tensor, Scan):
        fields, inner = {"how": "scan", "kind": tensor.kind}, _along(member)
    elif isinstance(tensor, Reduction):
        fields = {"how": "reduce", "kind": tensor.kind, "overlaps": tensor.overlaps}
        if tensor.kind.startswith("arg"):
            values = (*values, IndexValue("uint", flatten(positions(inner), tensor.inner)))
    target = flatten(member.index, tensor.shape) if fusion.is_written(tensor) else None
    return Statement(
        buffer_name(tensor), tensor.dtype, values=values, target=target, inner=inner, **fields
    )


def _along(member: Member) -> tuple[Axis, ...]:
    """The axis that a scan runs along."""
    assert isinstance(member.tensor, Scan)
    return tuple(member.index[member.tensor.dim].axes())


def _buffers(fusion: Fusion) -> Iterator[Buffer]:
    for tensor in fusion.memory.order:
        if isinstance(tensor, Stored | Table):
            yield given_buffer(tensor)
    for group in fusion.groups:
        for tensor in (member.tensor for member in group.members):
            if fusion.is_written(tensor):
                yield _buffer(tensor, "output" if fusion.memory.is_output(tensor) else "between")


def given_buffer(tensor: Stored | Table) -> Buffer:
    """What lies in memory before all kernels."""
    if isinstance(tensor, Table):
        return _buffer(tensor, "constant")
    return _buffer(tensor, "parameter" if tensor.is_parameter else "input")


def _buffer(tensor: Tensor, role: Role) -> Buffer:
    values = tensor.values if isinstance(tensor, Table) else ()
    is_gathered = isinstance(tensor, Reduction | Matmul | Scan)
    word = f"{tensor.name}_out" if is_gathered else tensor.name
    return Buffer(buffer_name(tensor), word, tensor.dtype, tensor.shape, role, values)

"""Names for kernels, from the operators that were fused into them."""

from __future__ import annotations

from metalgen.proposers.builtin.fuse import Fusion, Group
from metalgen.proposers.builtin.tensors import Pointwise, Tensor, depends_on

MOST = 4


def label_of(fusion: Fusion, group: Group) -> str:
    """Such as `matmul_bias_gelu`: the operators in order, the last ones where there are many."""
    found: list[str] = []
    seen: set[int] = set()

    def visit(tensor: Tensor) -> None:
        if id(tensor) in seen:
            return
        seen.add(id(tensor))
        for source in depends_on(tensor):
            if group.computes(source) or _is_inlined(fusion, source):
                visit(source)
        label = _bare(tensor.label)
        if label and label not in found:
            found.append(label)

    for member in group.members:
        visit(member.tensor)
    words = found[:1] + found[1:][-(MOST - 1) :]
    return "_".join(words) or group.kind


def _is_inlined(fusion: Fusion, tensor: Tensor) -> bool:
    return isinstance(tensor, Pointwise) and not fusion.memory.is_stored(tensor)


def _bare(label: str) -> str:
    """A graph's name without the number that export put behind it."""
    return label.strip("_").rstrip("0123456789").rstrip("_")

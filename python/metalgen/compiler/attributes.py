"""Metal's `[[...]]` attributes: reading them, and what those of compute kernels mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metalgen.compiler.tokens import Token, split_at_commas

# Positions and sizes: one, two or three numbers, the same in all of a kernel's parameters.
POSITIONS = frozenset(
    {
        "dispatch_threads_per_threadgroup",
        "thread_position_in_grid",
        "thread_position_in_threadgroup",
        "threadgroup_position_in_grid",
        "threadgroups_per_grid",
        "threads_per_grid",
        "threads_per_threadgroup",
    }
)
# Indices and counts: one number.
INDICES = frozenset(
    {
        "dispatch_quadgroups_per_threadgroup",
        "dispatch_simdgroups_per_threadgroup",
        "quadgroup_index_in_threadgroup",
        "quadgroups_per_threadgroup",
        "simdgroup_index_in_threadgroup",
        "simdgroups_per_threadgroup",
        "thread_index_in_quadgroup",
        "thread_index_in_simdgroup",
        "thread_index_in_threadgroup",
        "threads_per_simdgroup",
    }
)
# Old names.
ALIASES = {"thread_execution_width": "threads_per_simdgroup"}

# What exists in Metal but not here, by what it is called in the refusal.
UNSUPPORTED_PARAMETERS = {
    "texture": "textures",
    "sampler": "samplers",
    "stage_in": "stage_in arguments",
    "stage_in_grid_origin": "stage_in arguments",
    "stage_in_grid_size": "stage_in arguments",
    "grid_origin": "grid_origin",
    "grid_size": "grid_size",
    "imageblock_data": "image blocks",
    "payload": "ray tracing",
}
# Inputs of graphics functions alone.
GRAPHICS_INPUTS = frozenset(
    {
        "amplification_count",
        "amplification_id",
        "barycentric_coord",
        "base_instance",
        "base_vertex",
        "color",
        "front_facing",
        "instance_id",
        "patch_id",
        "point_coord",
        "position",
        "position_in_patch",
        "primitive_id",
        "render_target_array_index",
        "sample_id",
        "sample_mask",
        "vertex_id",
        "viewport_array_index",
    }
)
UNSUPPORTED_FUNCTIONS = {
    "vertex": "vertex functions",
    "fragment": "fragment functions",
    "mesh": "mesh functions",
    "object": "object functions",
    "intersection": "ray tracing",
    "visible": "visible functions",
    "stitchable": "stitchable functions",
}
# Understood by clang, and the same in Metal.
_STANDARD = frozenset(
    {
        "deprecated",
        "fallthrough",
        "likely",
        "maybe_unused",
        "nodiscard",
        "noreturn",
        "unlikely",
        "no_unique_address",
    }
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute, `name(arguments)`; `tokens[first:last]` are its arguments."""

    name: str
    first: int
    last: int
    start: int  # offset of the name


@dataclass(frozen=True, slots=True)
class AttributeGroup:
    """`[[a, b(1)]]` from the token `first` up to but not including `last`."""

    attributes: tuple[Attribute, ...]
    first: int
    last: int


def group_at(tokens: Sequence[Token], at: int, pairs: dict[int, int]) -> AttributeGroup | None:
    """The attribute group that starts at token `at`, if one does."""
    if at + 1 >= len(tokens) or tokens[at].text != "[" or tokens[at + 1].text != "[":
        return None
    inner = pairs.get(at + 1)
    if inner is None or pairs.get(at) != inner + 1:
        return None
    attributes = tuple(
        _attribute(tokens, first, last)
        for first, last in split_at_commas(tokens, at + 2, inner, pairs)
        if first < last
    )
    return AttributeGroup(attributes, at, inner + 2)


def groups(
    tokens: Sequence[Token], first: int, last: int, pairs: dict[int, int]
) -> Iterator[AttributeGroup]:
    """Every attribute group of `tokens[first:last]`."""
    at = first
    while at < last:
        group = group_at(tokens, at, pairs)
        if group is not None:
            yield group
        at = group.last if group is not None else at + 1


def _attribute(tokens: Sequence[Token], first: int, last: int) -> Attribute:
    opener = next((at for at in range(first, last) if tokens[at].text == "("), last)
    name = "".join(token.text for token in tokens[first:opener])
    name = ALIASES.get(name, name)
    return Attribute(name, min(opener + 1, last), max(opener, last - 1), tokens[first].start)


def is_standard(name: str) -> bool:
    """Whether clang is to see the attribute."""
    return name in _STANDARD or "::" in name

"""Small AIR modules for tests of the container: kernels that do nothing but have an interface."""

from __future__ import annotations

from dataclasses import replace

import llvmlite.binding as llvm
from hypothesis import strategies as st

from metalgen.air import Argument, Field, Function, FunctionConstant, KernelInfo, metadata_text
from metalgen.air.metadata_text import symbol


def assemble(info: KernelInfo, *, globals: str = "", **versions: tuple[int, int]) -> Function:
    """A function of a metallib whose bitcode, written by LLVM, describes `info`."""
    constants = "".join(
        f"{symbol('fc.' + constant.name)} = internal addrspace(2) global i8 undef\n"
        for constant in info.constants
    )
    metadata = metadata_text(
        info, symbols={constant.name: "fc." + constant.name for constant in info.constants}
    )
    # A body long enough that stepping over it matters.
    body = "\n".join(f"  %v{n} = add i32 {n}, {n * n}" for n in range(40))
    kernel = f"define void {symbol(info.name)}() {{\nstart:\n{body}\n  ret void\n}}"
    text = "\n".join([constants, globals, kernel, metadata])
    module = llvm.parse_assembly(text, llvm.create_context())
    return Function(info.name, bytes(module.as_bitcode()), **versions)


def some_kernel(name: str = "scale") -> KernelInfo:
    """An interface with one of everything that Metal's compute kernels have."""
    return KernelInfo(
        name=name,
        arguments=(
            Argument(
                position=0,
                name="x",
                kind="buffer",
                index=0,
                type_name="float",
                type_size=4,
                type_alignment=4,
                address_space="device",
                access="read_write",
            ),
            Argument(
                position=1,
                name="parameters",
                kind="buffer",
                index=3,
                type_name="Parameters",
                type_size=16,
                type_alignment=8,
                address_space="constant",
                access="read",
                is_reference=True,
                fields=(
                    Field("count", "uint", 0, 4),
                    Field("strides", "long", 8, 8, 1),
                ),
            ),
            Argument(
                position=2,
                name="scratch",
                kind="threadgroup",
                index=0,
                type_name="half",
                type_size=2,
                type_alignment=2,
                address_space="threadgroup",
                access="read_write",
                is_used=False,
            ),
            Argument(
                position=3,
                name="thread",
                kind="builtin",
                builtin="thread_position_in_grid",
                type_name="uint3",
            ),
        ),
        constants=(FunctionConstant("is_causal", 20, "bool"),),
        max_total_threads=256,
    )


# Metal allows little in names, but host_name("...") and lambdas put anything into metallibs.
names = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12
)
_texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
_sizes = st.sampled_from([1, 2, 4, 8, 16, 72])


def _fields(children: st.SearchStrategy[tuple[Field, ...]]) -> st.SearchStrategy[tuple[Field, ...]]:
    field = st.builds(
        Field,
        name=_texts,
        type_name=_texts,
        offset=st.integers(0, 1 << 20),
        size=_sizes,
        count=st.integers(0, 40),
        fields=children,
    )
    return st.lists(field, max_size=3).map(tuple)


fields = st.recursive(st.just(()), _fields, max_leaves=6)

_buffers = st.builds(
    Argument,
    position=st.just(0),
    name=_texts,
    kind=st.just("buffer"),
    index=st.integers(0, 30),
    type_name=_texts,
    type_size=_sizes,
    type_alignment=_sizes,
    address_space=st.sampled_from(["device", "constant"]),
    access=st.sampled_from(["read", "write", "read_write"]),
    is_reference=st.booleans(),
    is_used=st.booleans(),
    condition=st.none() | _texts,
    is_argument_buffer=st.booleans(),
    fields=fields,
)
_builtins = st.builds(
    Argument,
    position=st.just(0),
    name=_texts,
    kind=st.just("builtin"),
    builtin=st.sampled_from(["thread_position_in_grid", "simdgroups_per_threadgroup"]),
    type_name=st.sampled_from(["uint", "ushort2", "uint3"]),
)
_textures = st.builds(
    Argument,
    position=st.just(0),
    name=_texts,
    kind=st.sampled_from(["texture", "sampler"]),
    index=st.integers(0, 30),
    type_name=_texts,
    count=st.integers(1, 4),
)
_constants = st.builds(
    FunctionConstant,
    name=names,
    index=st.integers(0, 65535),
    type_name=st.sampled_from(["bool", "int", "uint2", "float", "half4", "ulong"]),
)


@st.composite
def kernels(draw: st.DrawFn) -> KernelInfo:
    """Any interface that the metadata can express."""
    arguments = draw(st.lists(st.one_of(_buffers, _builtins, _textures), max_size=6))
    return KernelInfo(
        name=draw(names),
        arguments=tuple(_at(position, found) for position, found in enumerate(arguments)),
        constants=tuple(draw(st.lists(_constants, max_size=3, unique_by=lambda c: c.name))),
        max_total_threads=draw(st.none() | st.integers(1, 1024)),
    )


def _at(position: int, argument: Argument) -> Argument:
    return replace(argument, position=position)

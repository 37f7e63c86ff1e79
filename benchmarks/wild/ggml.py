"""Launch ggml's kernels as its host does: arguments by the members' names, buffers of bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from metalgen.air import Field, KernelInfo
from metalgen.compiler import compile_source
from metalgen.library import Library, load_metallib
from wild.project import Source

Value = int | float
_FORMATS = {
    "int": "i",
    "short": "h",
    "long": "q",
    "ulong": "Q",
    "float": "f",
    "bool": "?",
}


@dataclass(frozen=True)
class Kernels:
    """The kernels of ggml's sources, each compiled when one of its kernels is first asked for.

    Or those of one library that has them all.
    """

    sources: Mapping[str, Source]
    whole: Library | None = None
    libraries: dict[str, Library] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Sequence[Source]) -> Kernels:
        """Those of `sources`."""
        return cls({Path(source.name).stem: source for source in sources})

    def library(self, stem: str) -> Library:
        """The kernels of `stem`.metal."""
        if self.whole is not None:
            return self.whole
        if stem not in self.libraries:
            source = self.sources[stem]
            metallib = compile_source(
                source.text,
                name=source.name,
                include_dirs=source.include_dirs,
                defines=dict(source.defines),
                options=source.options,
            )
            self.libraries[stem] = load_metallib(metallib)
        return self.libraries[stem]

    def launch(
        self,
        kernel: str,
        values: Mapping[str, Value],
        *tensors: torch.Tensor,
        groups: Sequence[int],
        group: Sequence[int],
        memory: int = 0,
        constants: Mapping[int, Value] | None = None,
    ) -> None:
        """Run `kernel`, "source.name": the struct first, then its buffers."""
        stem, _, name = kernel.partition(".")
        library = self.library(stem)
        info = library.metallib.kernel(name)
        shared = [
            a.index for a in info.arguments if a.kind == "threadgroup" and a.index is not None
        ]
        getattr(library, name)(
            arguments(info, values),
            *(as_bytes(info, at, tensor) for at, tensor in enumerate(tensors, start=1)),
            threadgroups=tuple(groups),
            group_size=tuple(group),
            threadgroup_memory={index: max(memory, 16) for index in shared},
            constants=dict(constants or {}),
        )


def arguments(info: KernelInfo, values: Mapping[str, Value]) -> bytes:
    """The struct that is the kernel's first argument."""
    described = info.arguments[0]
    packed = bytearray(described.type_size)
    for member in described.fields:
        _put(packed, member, values.get(member.name, 0))
    return bytes(packed)


def _put(packed: bytearray, member: Field, value: Value) -> None:
    """`value` in every element of a member."""
    count = max(member.count, 1)
    struct.pack_into(
        f"<{count}{_FORMATS[member.type_name]}", packed, member.offset, *[value] * count
    )


def as_bytes(info: KernelInfo, index: int, tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` as the buffer at `index` wants it: most are of chars, whatever is in them."""
    wanted = next(a for a in info.arguments if a.kind == "buffer" and a.index == index)
    return tensor.view(-1).view(torch.uint8) if wanted.type_name == "char" else tensor


def sizes(digit: str, tensor: torch.Tensor) -> dict[str, int]:
    """ggml's ne and nb of a tensor of four dimensions, the innermost first, as members' values."""
    steps = [stride * tensor.element_size() for stride in tensor.stride()]
    inner = range(4)
    return {f"ne{digit}{i}": tensor.shape[3 - i] for i in inner} | {
        f"nb{digit}{i}": steps[3 - i] for i in inner
    }

"""What a metallib says about one kernel: its arguments, static memory, constants and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ArgumentKind = Literal["buffer", "threadgroup", "builtin", "texture", "sampler"]
AddressSpace = Literal["device", "constant", "threadgroup"]
Access = Literal["read", "write", "read_write"]


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a struct that a buffer holds; offset and size in bytes.

    Of an array member `size` is one element's, and `count` how many there are; `count` is 0 for
    a member that is not an array. A member that is itself a pointer, texture or sampler (an
    argument buffer's) has `resource`.
    """

    name: str
    type_name: str
    offset: int
    size: int
    count: int = 0
    fields: tuple[Field, ...] = ()
    resource: Argument | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a kernel, in the words of Metal."""

    position: int  # among all parameters, built-ins included
    name: str
    kind: ArgumentKind
    index: int | None = None  # [[buffer(i)]], [[threadgroup(i)]] ...; None for built-ins
    builtin: str | None = None  # "thread_position_in_grid" ...; None for everything else
    type_name: str = ""  # Metal's: "float", "uint3"; of a buffer, what it points to
    type_size: int = 0  # bytes; 0 where the metadata does not say (built-ins, textures)
    type_alignment: int = 0  # bytes
    address_space: AddressSpace | None = None
    access: Access | None = None
    is_reference: bool = False  # constant T& rather than constant T*
    array_length: int = 1  # of a reference to an array, constant T (&name)[n]: n
    is_used: bool = True
    condition: str | None = None  # the function constant that decides whether it exists
    is_argument_buffer: bool = False  # holds pointers or textures, not only data
    fields: tuple[Field, ...] = ()  # members, where type_name is a struct
    count: int = 1  # how many consecutive indices it takes: arrays of textures take more


@dataclass(frozen=True, slots=True)
class FunctionConstant:
    """A `constant T name [[function_constant(index)]]` that the kernel reads."""

    name: str
    index: int
    type_name: str


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """A kernel's interface; `threadgroup_bytes` counts its static threadgroup variables."""

    name: str
    arguments: tuple[Argument, ...] = ()
    threadgroup_bytes: int = 0
    constants: tuple[FunctionConstant, ...] = ()
    max_total_threads: int | None = None

    @property
    def buffers(self) -> tuple[Argument, ...]:
        """The arguments a caller passes memory or scalars for, in the order of declaration."""
        return tuple(argument for argument in self.arguments if argument.kind == "buffer")


@dataclass(frozen=True, slots=True)
class Function:
    """One kernel as it lies in a metallib: a whole module of AIR bitcode and its versions."""

    name: str
    bitcode: bytes
    air_version: tuple[int, int] = (2, 7)
    language_version: tuple[int, int] = (3, 2)

"""What one buffer parameter of a kernel takes: tensors of some dtypes, values packed as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from metalgen import _core
from metalgen.air import Argument, Field
from metalgen.errors import LaunchError
from metalgen.library.value_types import Number, ValueType, value_type

_ELEMENTS = "__elems"  # the one member of metal::array<T, N>, a struct of Metal's library
_ADDRESSES = frozenset({torch.int64, torch.uint64})
_EVERY_DTYPE = frozenset(value for value in vars(torch).values() if isinstance(value, torch.dtype))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `[[buffer(index)]]` of a kernel, prepared for quick checks."""

    name: str
    index: int
    type_name: str
    value: ValueType | None  # None: a struct, or a type whose layout is not known
    fields: tuple[Field, ...]
    dtypes: frozenset[torch.dtype]
    misalignment: int  # address bits that must be zero
    minimum_bytes: int  # what a `T&` reads; 0 for pointers
    type_size: int  # bytes of one element
    is_many: bool  # a pointer, or a reference to an array
    writable: bool
    is_argument_buffer: bool  # a struct with pointers
    optional: bool  # a function constant may do without it, or the kernel does not use it

    def quick(self) -> _core.QuickParameter:
        """What the native core binds without asking: plain tensors and plain numbers."""
        single = self.value is not None and self.value.rows == self.value.columns == 1
        return _core.QuickParameter(
            index=self.index,
            dtypes=self.dtypes,
            misalignment=self.misalignment,
            number=self.value.scalar.code if self.value and single and not self.writable else "\0",
            tensors=self.minimum_bytes == 0,
        )

    def source_of(self, value: object, *, cast: str | None = None) -> bytes | None:
        """The bytes (or None: unbound) for an argument that is no tensor."""
        if value is None:
            self._check_optional()
            return None
        if self.writable and not self.is_argument_buffer:
            raise LaunchError(f"{self}: written by the kernel, expected a tensor, {_found(value)}")
        try:
            packed = self._pack(value, self.value if cast is None else _cast_type(cast))
        except LaunchError as error:
            raise LaunchError(f"{self}: {error}") from None
        if len(packed) < self.minimum_bytes:
            raise LaunchError(f"{self}: expected {self.minimum_bytes} bytes, found {len(packed)}")
        return packed

    def check(self, tensor: torch.Tensor, device: str) -> None:
        """Raise LaunchError for a tensor that this parameter cannot take."""
        if tensor.device.type != device:
            raise LaunchError(f"{self}: expected a tensor on {device}, found {tensor.device}")
        if tensor.layout != torch.strided:
            raise LaunchError(f"{self}: expected a dense tensor, found {tensor.layout}")
        if tensor.dtype not in self.dtypes:
            wanted = " or ".join(sorted(str(dtype) for dtype in self.dtypes))
            raise LaunchError(f"{self}: expected {wanted}, found {tensor.dtype}")
        if not tensor.is_contiguous():
            raise LaunchError(
                f"{self}: expected a contiguous tensor, found strides {tuple(tensor.stride())} for "
                f"shape {tuple(tensor.shape)}; pass tensor.contiguous()"
            )
        if getattr(tensor, "fake_mode", None) is not None:
            raise LaunchError(f"{self}: expected a tensor with memory of its own, found a fake one")
        if tensor.is_conj() or tensor.is_neg():
            raise LaunchError(f"{self}: a lazily conjugated or negated view; resolve it first")
        if tensor.nbytes < self.minimum_bytes:
            raise LaunchError(
                f"{self}: expected at least {self.minimum_bytes} bytes, found {tensor.nbytes}"
            )

    def misaligned(self) -> LaunchError:
        """The error for a tensor whose memory starts at the wrong place."""
        return LaunchError(
            f"{self}: its memory must start at a multiple of {self.misalignment + 1} bytes; "
            "pass tensor.clone()"
        )

    def __str__(self) -> str:
        return f"argument {self.name!r} (buffer {self.index}, {self.type_name})"

    def _check_optional(self) -> None:
        if not self.optional:
            raise LaunchError(f"{self}: expected a tensor or value, found None")

    def _pack(self, value: object, type: ValueType | None) -> bytes:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        if type is not None:
            return _pack_values(type, value)
        if self.fields and self.is_many:
            return _pack_structs(self.fields, value, self.type_size)
        if self.fields:
            return _pack_struct(self.fields, value, self.type_size)
        raise LaunchError(f"expected a tensor or bytes, {_found(value)}")


def parameter_of(alternatives: Sequence[Argument]) -> Parameter:
    """The parameter at one buffer index; function constants may choose among several there."""
    first = alternatives[0]
    value = value_type(first.type_name)
    known = [value_type(argument.type_name) for argument in alternatives]
    others = _ADDRESSES if _are_pointers(first.fields) else _EVERY_DTYPE
    dtypes = [others if type is None else type.dtypes for type in known]
    return Parameter(
        name=first.name,
        index=first.index or 0,
        type_name=first.type_name,
        value=value,
        fields=first.fields,
        dtypes=frozenset().union(*dtypes),
        misalignment=max(argument.type_alignment or 1 for argument in alternatives) - 1,
        minimum_bytes=_referred_bytes(alternatives),
        type_size=first.type_size,
        is_many=not first.is_reference or first.array_length > 1,
        writable=any(argument.access != "read" for argument in alternatives),
        is_argument_buffer=first.is_argument_buffer,
        optional=all(bool(a.condition) or not a.is_used for a in alternatives),
    )


def _referred_bytes(alternatives: Sequence[Argument]) -> int:
    if len(alternatives) > 1 or not alternatives[0].is_reference:
        return 0
    return alternatives[0].type_size * alternatives[0].array_length


# Short names for the types of scalars whose declared type says nothing, as PyTorch spells them.
_CASTS: dict[str, str] = {
    "fp16": "half", "fp32": "float", "bf16": "bfloat", "float16": "half", "float32": "float",
    "bfloat16": "bfloat", "int8": "char", "int16": "short", "int32": "int", "int64": "long",
    "uint8": "uchar", "uint16": "ushort", "uint32": "uint", "uint64": "ulong",
}  # fmt: skip


def _cast_type(name: str) -> ValueType:
    type = value_type(_CASTS.get(name, name))
    if type is None:
        raise LaunchError(f"arg_casts names an unknown type {name!r}")
    return type


def _pack_values(type: ValueType, value: object) -> bytes:
    """One value, or an array of them: nested sequences are read in order."""
    numbers = list(_numbers(value))
    each = type.rows * type.columns
    if not numbers or len(numbers) % each:
        raise LaunchError(f"expected {each} numbers for each {type.name}, found {len(numbers)}")
    chunks = (numbers[at : at + each] for at in range(0, len(numbers), each))
    return b"".join(type.pack(chunk) for chunk in chunks)


def _numbers(value: Any) -> Sequence[Number]:
    if isinstance(value, (bool, int, float)):
        return [value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return _numbers(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [number for item in value for number in _numbers(item)]
    if hasattr(value, "__index__"):
        return [int(value)]
    if hasattr(value, "__float__"):
        return [float(value)]
    raise LaunchError(f"expected numbers, {_found(value)}")


def _pack_struct(fields: Sequence[Field], value: object, size: int) -> bytes:
    """A struct from its members in order, or by name; a metal::array from its elements."""
    if _are_pointers(fields):
        return _pack_addresses(fields[0], value)
    if [field.name for field in fields] == [_ELEMENTS]:
        return _pack_member(fields[0], value)
    if isinstance(value, Mapping):
        values = _in_order(fields, value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        values = list(value)
    else:
        raise LaunchError(f"expected a mapping or sequence of members, {_found(value)}")
    if len(values) != len(fields):
        raise LaunchError(f"expected {len(fields)} members, found {len(values)}")
    packed = bytearray(size)
    for field, member in zip(fields, values, strict=True):
        part = _pack_member(field, member)
        packed[field.offset : field.offset + len(part)] = part
    return bytes(packed)


def _are_pointers(fields: Sequence[Field]) -> bool:
    """Whether these are the fields of what a pointer to pointers leads to."""
    only = fields[0] if [field.name for field in fields] == [_ELEMENTS] else None
    return only is not None and only.resource is not None and only.count == 0


def _pack_structs(fields: Sequence[Field], value: object, size: int) -> bytes:
    """One struct, or each of a sequence of them: nesting tells which."""
    try:
        return _pack_struct(fields, value, size)
    except LaunchError:
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        if not items or not all(isinstance(item, (Sequence, Mapping)) for item in items):
            raise
    return b"".join(_pack_struct(fields, item, size) for item in items)


def _in_order(fields: Sequence[Field], values: Mapping[Any, object]) -> list[object]:
    names = [field.name for field in fields]
    if set(values) != set(names):
        raise LaunchError(f"expected members {names}, found {list(values)}")
    return [values[name] for name in names]


def _pack_member(field: Field, value: object) -> bytes:
    room = field.size * max(field.count, 1)
    if isinstance(value, (bytes, bytearray, memoryview)):
        part = bytes(value)
    elif field.resource is not None:
        part = _pack_addresses(field, value if field.count else [value])
    elif field.fields and field.count == 0:
        part = _pack_struct(field.fields, value, field.size)
    elif field.fields:
        part = _pack_structs(field.fields, value, field.size)
    elif (type := value_type(field.type_name)) is not None:
        part = _pack_values(type, value)
    else:
        raise LaunchError(f"member {field.name!r}: expected bytes for a {field.type_name}")
    if len(part) != room:
        raise LaunchError(f"member {field.name!r}: expected {room} bytes, found {len(part)}")
    return part


def _pack_addresses(field: Field, value: object) -> bytes:
    """The addresses of the tensors that an argument buffer's pointers lead to; None is null.

    The caller keeps the tensors alive while the kernel runs.
    """
    if not isinstance(value, Sequence):
        raise LaunchError(f"member {field.name!r}: expected a sequence of tensors, {_found(value)}")
    return b"".join(_address(field, each).to_bytes(8, "little") for each in value)


def _address(field: Field, value: object) -> int:
    if value is None:
        return 0
    assert field.resource is not None
    type = value_type(field.resource.type_name)
    if not isinstance(value, torch.Tensor):
        raise LaunchError(f"member {field.name!r}: expected a tensor, {_found(value)}")
    if value.device.type != "cpu":
        raise LaunchError(
            f"member {field.name!r}: argument buffers take tensors on cpu alone so far, found one "
            f"on {value.device}"
        )
    if type is not None and value.dtype not in type.dtypes:
        raise LaunchError(
            f"member {field.name!r}: expected a tensor of {type.name}, found {value.dtype}"
        )
    if not value.is_contiguous():
        raise LaunchError(f"member {field.name!r}: expected a contiguous tensor")
    return value.data_ptr()


def _found(value: object) -> str:
    return f"found a {type(value).__name__}"

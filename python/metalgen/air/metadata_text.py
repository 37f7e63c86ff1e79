"""Write a kernel's AIR metadata as LLVM assembly, in the form Apple's compiler gives it.

The inverse of metalgen.air.metadata: what is written here, assembled and read back, is the same
KernelInfo, less `threadgroup_bytes`, which the module's own variables say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metalgen.air.kernel_info import Argument, Field, KernelInfo
from metalgen.air.metadata import INDIRECT, SPACES, STRUCT

_SPACE_NUMBERS = {space: number for number, space in SPACES.items()}
_LIMITS = {
    "device_buffers": 31,
    "constant_buffers": 31,
    "threadgroup_buffers": 31,
    "textures": 128,
    "read_write_textures": 8,
    "samplers": 16,
}


def metadata_text(
    info: KernelInfo,
    *,
    function: str | None = None,
    symbols: Mapping[str, str] | None = None,
    first: int = 0,
    air_version: tuple[int, int] = (2, 6),
    language_version: tuple[int, int] = (3, 1),
    fast_math: bool = False,
    producer: str = "metalgen",
) -> str:
    """Assembly to append to the module that defines the kernel.

    `function` is the LLVM function's name where it differs from the kernel's. `symbols` names the
    global (in the constant address space) that holds each function constant, by the constant's
    name. Nodes are numbered from `first`, which must be beyond those the module has.
    """
    writer = _Writer(info, function or info.name, symbols or {}, first)
    maths = "enable" if fast_math else "disable"
    writer.module(("denorms_disable", f"fast_math_{maths}", "framebuffer_fetch_enable"), producer)
    writer.versions(air_version, language_version)
    writer.kernel()
    return "\n".join(writer.lines) + "\n"


def quoted(text: str) -> str:
    """`text` as LLVM assembly quotes strings: anything but plain ASCII as two hex digits."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:02X}"
        for byte in text.encode()
    )
    return f'"{"".join(plain)}"'


def symbol(name: str) -> str:
    """A reference to the global `name`."""
    return f"@{quoted(name)}"


def _string(text: str) -> str:
    return f"!{quoted(text)}"


class _Writer:
    """Numbers nodes as it writes them; `node` and what builds on it return a reference."""

    def __init__(
        self, info: KernelInfo, function: str, symbols: Mapping[str, str], first: int
    ) -> None:
        self.info = info
        self.function = function
        self.symbols = symbols
        self.next = first
        self.lines: list[str] = []

    def node(self, *operands: str) -> str:
        reference = f"!{self.next}"
        self.next += 1
        self.lines.append(f"{reference} = !{{{', '.join(operands)}}}")
        return reference

    def named(self, name: str, nodes: Iterable[str]) -> None:
        self.lines.append(f"!{name} = !{{{', '.join(nodes)}}}")

    def module(self, options: Sequence[str], producer: str) -> None:
        """What Apple's compiler says of every module."""
        self.named(
            "llvm.module.flags",
            [
                self.node("i32 7", _string(f"air.max_{what}"), _number(limit))
                for what, limit in _LIMITS.items()
            ],
        )
        self.named("llvm.ident", [self.node(_string(producer))])
        self.named(
            "air.compile_options",
            [self.node(_string(f"air.compile.{option}")) for option in options],
        )

    def versions(self, air: tuple[int, int], language: tuple[int, int]) -> None:
        self.named("air.version", [self.node(*map(_number, (*air, 0)))])
        metal = [_string("Metal"), *map(_number, (*language, 0))]
        self.named("air.language_version", [self.node(*metal)])

    def kernel(self) -> None:
        info = self.info
        arguments = self.node(*[self.argument(argument) for argument in info.arguments])
        extras = []
        if info.max_total_threads is not None:
            limit = _number(info.max_total_threads)
            extras.append(self.node(_string("air.max_work_group_size"), limit))
        kernel = self.node(f"ptr {symbol(self.function)}", self.node(), arguments, *extras)
        self.named("air.kernel", [kernel])
        if info.constants:
            self.named(
                "air.function_constants",
                [
                    self.node(*self.constant(c.name, c.type_name), _number(c.index), "i1 true")
                    for c in info.constants
                ],
            )

    def constant(self, name: str, type_name: str) -> list[str]:
        found = self.symbols.get(name)
        pointer = symbol(found) if found is not None else "null"
        return [f"ptr addrspace(2) {pointer}", _string(type_name), _string(name)]

    def argument(self, argument: Argument) -> str:
        operands = [_number(argument.position)]
        if argument.condition is not None:
            predicate = self.node(*self.constant(argument.condition, "bool"))
            operands += [_string("air.function_constant"), predicate]
        if argument.builtin is not None:
            operands.append(_string(f"air.{argument.builtin}"))
        else:
            operands += self.resource(argument)
        operands += _texts("air.arg_type_name", argument.type_name)
        operands += _texts("air.arg_name", argument.name)
        if not argument.is_used:
            operands.append(_string("air.arg_unused"))
        return self.node(*operands)

    def resource(self, argument: Argument) -> list[str]:
        """What is bound by index: where, how it is accessed and, of a buffer, what it holds."""
        is_buffer = argument.kind in ("buffer", "threadgroup")
        kind = "buffer" if is_buffer else argument.kind
        operands = [
            _string("air.indirect_buffer" if argument.is_argument_buffer else f"air.{kind}")
        ]
        if argument.is_reference:
            operands += _numbers("air.buffer_size", argument.type_size * argument.array_length)
        operands += _numbers("air.location_index", argument.index or 0, argument.count)
        if argument.access is not None:
            operands.append(_string(f"air.{argument.access}"))
        if argument.address_space is not None:
            operands += _numbers("air.address_space", _SPACE_NUMBERS[argument.address_space])
        if argument.fields:
            operands += [_string(STRUCT), self.fields(argument.fields)]
        if argument.type_size:
            operands += _numbers("air.arg_type_size", argument.type_size)
            operands += _numbers("air.arg_type_align_size", argument.type_alignment)
        return operands

    def fields(self, fields: Iterable[Field]) -> str:
        operands: list[str] = []
        for field in fields:
            if field.fields:
                operands += [_string(STRUCT), self.fields(field.fields)]
            operands += map(_number, (field.offset, field.size, field.count))
            operands += [_string(field.type_name), _string(field.name)]
            if field.resource is not None:
                operands += [_string(INDIRECT), self.argument(field.resource)]
        return self.node(*operands)


def _number(value: int) -> str:
    return f"i32 {value}"


def _numbers(key: str, *values: int) -> list[str]:
    return [_string(key), *map(_number, values)]


def _texts(key: str, value: str) -> list[str]:
    return [_string(key), _string(value)]

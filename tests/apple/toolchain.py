"""What the software Metal asks Python for: a metallib's kernels, and host code for one of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_DESCRIBE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_TRANSLATE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p
)

_FLOATS = ("float", "half")
Number = bool | int | float

_kept: list[Any] = []  # callbacks, metallibs and host code live as long as the process


def register(soft_metal: ctypes.CDLL) -> None:
    """Let the software Metal ask from now on."""
    metallibs: list[Any] = []

    def describe(address: int, size: int) -> str:
        from metalgen.air import Metallib

        metallib = Metallib(ctypes.string_at(address, size))
        metallibs.append(metallib)
        lines = [f"metallib {len(metallibs) - 1}"]
        for name in metallib.names:
            lines += _kernel_lines(metallib.kernel(name))
        return "\n".join(lines)

    def translate(metallib: int, kernel: bytes, constants: bytes, variant: bytes) -> str:
        from metalgen.software import translate

        values = dict(map(_constant, constants.decode().splitlines()))
        name = kernel.decode()
        bitcode = metallibs[metallib].bitcode(name)
        native = translate(bitcode, name, values, variant=variant.decode())  # type: ignore[arg-type]
        _kept.append(native)
        return f"{native.address} {native.threadgroup_bytes}"

    callbacks = (
        _DESCRIBE(_answering(soft_metal, describe)),
        _TRANSLATE(_answering(soft_metal, translate)),
    )
    _kept.extend(callbacks)
    soft_metal.soft_set_toolchain(*callbacks)


def _answering(soft_metal: ctypes.CDLL, function: Callable[..., str]) -> Callable[..., int]:
    def answer(*arguments: Any) -> int:
        from metalgen.errors import MetalgenError

        try:
            text, succeeded = function(*arguments), 1
        except MetalgenError as error:
            text, succeeded = str(error), 0
        soft_metal.soft_answer(text.encode())
        return succeeded

    return answer


def _kernel_lines(info: Any) -> list[str]:
    lines = [f"kernel {info.name} {info.threadgroup_bytes} {info.max_total_threads or 1024}"]
    for argument in info.arguments:
        if argument.kind == "threadgroup":
            lines.append(f"threadgroup {argument.index}")
        if argument.kind == "buffer" and argument.is_used and argument.condition is None:
            needed = argument.type_size * argument.array_length if argument.is_reference else 0
            alignment = argument.type_alignment or 1
            lines.append(f"buffer {argument.index} {needed} {alignment} {argument.name}")
    for constant in info.constants:
        lines.append(f"constant {constant.index} {constant.type_name} {constant.name}")
    return lines


def _constant(line: str) -> tuple[int, Number | tuple[Number, ...]]:
    index, type_name, *texts = line.split()
    scalar = type_name.rstrip("234")
    values = tuple(
        text == "1" if scalar == "bool" else float(text) if scalar in _FLOATS else int(text)
        for text in texts
    )
    return int(index), values[0] if len(values) == 1 else values

"""What entry points over threads share: the kernel's arguments, and loops over a threadgroup."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metalgen.software import builtins
from metalgen.software.ir.model import Module, Parameter
from metalgen.software.ir.types import PTR, Pointer
from metalgen.software.metadata import add_node
from metalgen.software.prepare import Prepared

ENTRY = "metalgen.threadgroup"
SIGNATURE = f"define void @{ENTRY}(ptr noalias %threadgroup)"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The kernel's arguments as IR: what computes them once, what per thread, and their list."""

    uniform: list[str]
    varying: list[str]
    values: list[str]


def arguments(prepared: Prepared) -> Arguments:
    """Instructions that compute every argument from `%threadgroup` and `%x`, `%y`, `%z`."""
    uniform, varying = builtins.uniform_values(), builtins.thread_values()
    values = []
    pairs = zip(prepared.function.parameters, prepared.signature, strict=True)
    for i, (parameter, argument) in enumerate(pairs):
        type_ = PTR if isinstance(parameter.type, Pointer) else parameter.type
        metadata = _reference_metadata(prepared.module, parameter)
        lines = builtins.argument(argument, type_, f"%argument.{i}", metadata)
        (varying if builtins.is_thread_value(argument) else uniform).extend(lines)
        values.append(f"{type_} %argument.{i}")
    return Arguments(uniform, varying, values)


def _reference_metadata(module: Module, parameter: Parameter) -> str:
    """What keeps the attributes of a `constant T&` when the kernel is inlined.

    They let LLVM read it ahead of a condition, once for all threads.
    """
    metadata = ""
    for attribute in ("align", "dereferenceable"):
        match = re.search(rf"{attribute}[ (]*(\d+)", parameter.attributes)
        if match is not None:
            metadata += f", !{attribute} {add_node(module, f'!{{i64 {match[1]}}}')}"
    return metadata


def loop_over_threads(before: str, body: list[str], metadata: str = "") -> list[str]:
    """Three loops around `body`, x innermost; they start after the block `before`."""
    return [
        "br label %z.loop",
        *_head("z", before, "y.end"),
        "br label %y.loop",
        *_head("y", "z.loop", "x.end"),
        "br label %x.loop",
        *_head("x", "y.loop", "x.loop"),
        *body,
        *_end("x", metadata),
        *_end("y"),
        *_end("z"),
    ]


def _head(axis: str, before: str, latch: str) -> list[str]:
    return [f"{axis}.loop:", f"%{axis} = phi i32 [ 0, %{before} ], [ %{axis}.next, %{latch} ]"]


def _end(axis: str, metadata: str = "") -> list[str]:
    return [
        f"%{axis}.next = add nuw nsw i32 %{axis}, 1",
        f"%{axis}.more = icmp ult i32 %{axis}.next, %size.{axis}",
        f"br i1 %{axis}.more, label %{axis}.loop, label %{axis}.end{metadata}",
        f"{axis}.end:",
    ]

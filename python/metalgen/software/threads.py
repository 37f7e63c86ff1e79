"""One strand per thread, no meetings: loops over a threadgroup's threads with the kernel inside."""

from __future__ import annotations

import re

from metalgen.software import builtins
from metalgen.software.ir import write_module
from metalgen.software.ir.model import Instruction, Module, Parameter
from metalgen.software.ir.types import PTR, Pointer
from metalgen.software.metadata import add_node
from metalgen.software.prepare import Prepared

ENTRY = "metalgen.threadgroup"
_KERNEL = "metalgen.kernel"
_MEETINGS = ("air.wg.", "air.simd", "air.quad")
_SHARED_SPACES = (1, 2)  # device, constant


def is_meeting(instruction: Instruction) -> bool:
    """Whether threads of a threadgroup meet in this call."""
    return instruction.callee_name.startswith(_MEETINGS)


def lower_to_loops(prepared: Prepared) -> str:
    """A module whose entry point runs a kernel without meeting points for every thread in turn."""
    function, module = prepared.function, prepared.module
    # Threads that never meet may not depend on each other's plain loads and stores, so LLVM may
    # run several at a time. Private variables are not covered: all threads share their stack.
    group = add_node(module, "distinct !{}")
    empty = add_node(module, "!{}")
    for instruction in function.instructions():
        if _is_shared_access(instruction):
            instruction.suffix += f", !llvm.access.group {group}"
        if _is_constant_load(instruction):
            instruction.suffix += f", !invariant.load {empty}"
    function.name, function.prefix = _KERNEL, "internal"
    function.suffix += " alwaysinline"
    parallel = add_node(module, f'!{{!"llvm.loop.parallel_accesses", {group}}}')
    loop = add_node(module, f"distinct !{{!SELF, {parallel}}}")
    entry = _entry(prepared, loop)
    return f"{flat(write_module(module))}\n{entry}"


def _is_constant_load(instruction: Instruction) -> bool:
    return instruction.opcode == "load" and instruction.operands[0].type == Pointer(2)


def _is_shared_access(instruction: Instruction) -> bool:
    if instruction.opcode not in ("load", "store") or instruction.flags:
        return False
    pointer = instruction.operands[-1].type
    return isinstance(pointer, Pointer) and pointer.address_space in _SHARED_SPACES


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


def flat(text: str) -> str:
    """`text` with every pointer in the host's one address space."""
    text = re.sub(r" addrspace\(\d+\)", "", text)
    return text.replace("addrspacecast", "bitcast")


def _entry(prepared: Prepared, loop: str) -> str:
    uniform, varying = builtins.uniform_values(), builtins.thread_values()
    arguments = []
    for i, (parameter, argument) in enumerate(
        zip(prepared.function.parameters, prepared.signature, strict=True)
    ):
        type_ = PTR if isinstance(parameter.type, Pointer) else parameter.type
        metadata = _reference_metadata(prepared.module, parameter)
        lines = builtins.argument(argument, type_, f"%argument.{i}", metadata)
        (varying if builtins.is_thread_value(argument) else uniform).extend(lines)
        arguments.append(f"{type_} %argument.{i}")
    call = f"call void @{_KERNEL}({', '.join(arguments)})"
    return "\n".join(
        [
            f"define void @{ENTRY}(ptr noalias %threadgroup) {{",
            "entry:",
            *uniform,
            "br label %z.loop",
            *_loop_head("z", "entry"),
            "br label %y.loop",
            *_loop_head("y", "z.loop"),
            "br label %x.loop",
            *_loop_head("x", "y.loop"),
            *varying,
            call,
            *_loop_end("x", f", !llvm.loop {loop}"),
            *_loop_end("y"),
            *_loop_end("z"),
            "ret void",
            "}",
        ]
    )


def _loop_head(axis: str, before: str) -> list[str]:
    latch = {"x": "x.loop", "y": "x.end", "z": "y.end"}[axis]
    return [f"{axis}.loop:", f"%{axis} = phi i32 [ 0, %{before} ], [ %{axis}.next, %{latch} ]"]


def _loop_end(axis: str, metadata: str = "") -> list[str]:
    return [
        f"%{axis}.next = add nuw nsw i32 %{axis}, 1",
        f"%{axis}.more = icmp ult i32 %{axis}.next, %size.{axis}",
        f"br i1 %{axis}.more, label %{axis}.loop, label %{axis}.end{metadata}",
        f"{axis}.end:",
    ]

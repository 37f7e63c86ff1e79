"""One strand per SIMD-group: a kernel rewritten to run 32 threads at a time as vectors."""

from __future__ import annotations

from collections.abc import Callable

import llvmlite.binding as llvm

from metalgen.software import abi, builtins, target
from metalgen.software.entry import SIGNATURE
from metalgen.software.ir import parse_module, write_function, write_module
from metalgen.software.ir.model import Function, Module
from metalgen.software.ir.passes import flatten_address_spaces
from metalgen.software.prepare import Prepared
from metalgen.software.simdgroup.adjacent import join_adjacent
from metalgen.software.simdgroup.builder import Builder
from metalgen.software.simdgroup.control import Control
from metalgen.software.simdgroup.kernel import Kernel
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.operations import BARRIERS
from metalgen.software.simdgroup.positions import Positions, Variant, arguments, bounds
from metalgen.software.turns import add_turns

_STRAND = "metalgen.simdgroup"
_ATTRIBUTES = 'nounwind "min-legal-vector-width"="512" "prefer-vector-width"="512"'
# LLVM takes a minute for so much; for more it takes minutes, and more than in proportion.
_MOST_LINES = 200_000
_COROUTINES = (
    "declare token @llvm.coro.id(i32, ptr, ptr, ptr)",
    "declare i64 @llvm.coro.size.i64()",
    "declare ptr @llvm.coro.begin(token, ptr)",
    "declare i8 @llvm.coro.suspend(token, i1)",
    "declare void @llvm.coro.end(ptr, i1, token)",
    "declare void @llvm.coro.resume(ptr)",
    "declare i8 @llvm.umax.i8(i8, i8)",
)


def lower_to_simdgroups(
    prepared: Prepared,
    variant: Variant,
    defined: Callable[[str], bool],
    most_lines: int = _MOST_LINES,
) -> str:
    """The text of a module whose entry point runs a threadgroup, one SIMD-group after the other.

    `defined` tells which functions the runtime has. Raises UnsupportedError for control flow or
    instructions that have no form for whole SIMD-groups, and for more than some `most_lines` of a
    kernel whose threads never meet: running them one by one takes far less code.
    """
    add_turns(prepared.module, prepared.function, prepared.signature)
    module = _canonical(prepared)
    function = module.functions.pop(prepared.function.name)
    join_adjacent(function, module.layout)
    meets = any(i.callee_name in BARRIERS for i in function.instructions())
    builder = Builder(None if meets else most_lines)
    strand = _strand(prepared, module, function, variant, defined, meets, builder)
    declarations = builder.declarations
    # Every call of the kernel is written, and its function declared, anew.
    for other in module.functions.values():
        called = {instruction.callee_name for instruction in other.instructions()}
        for name in called & module.declarations.keys():
            declarations.setdefault(name, module.declarations[name])
    kept = (*module.header, *(v.definition for v in module.globals.values()))
    coroutines = _COROUTINES if meets else ()
    entry = _entry_with_barriers() if meets else _entry()
    lines = [
        *kept,
        *(text for name, text in declarations.items() if name not in module.functions),
        *coroutines,
        "",
        *map(write_function, module.functions.values()),
        "",
        *strand,
        "",
        *entry,
        "",
        *module.footer,
    ]
    return "\n".join(lines) + "\n"


def _canonical(prepared: Prepared) -> Module:
    """One return, no switches, loops with one latch and with phis for what they hand on."""
    text = flatten_address_spaces(write_module(prepared.module))
    module = llvm.parse_assembly(text, llvm.create_context())
    machine = target.machine()
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    # Small private arrays, indexed in loops of known length, become registers.
    passes.add_loop_simplify_pass()
    passes.add_lcssa_pass()
    passes.add_loop_rotate_pass()
    passes.add_loop_unroll_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_lower_switch_pass()
    passes.add_unify_function_exit_nodes_pass()
    passes.add_loop_simplify_pass()
    passes.add_lcssa_pass()
    passes.run(module, builder)
    return parse_module(str(module))


def _strand(
    prepared: Prepared,
    module: Module,
    function: Function,
    variant: Variant,
    defined: Callable[[str], bool],
    meets: bool,
    builder: Builder,
) -> list[str]:
    """The function that runs one SIMD-group."""
    lanes = Lanes(builder, module.layout)
    positions = Positions(lanes, variant)
    held = arguments(function, prepared.signature, lanes, positions)

    def wait(is_turn: bool) -> None:
        _suspend(builder, 2 if is_turn else 1)

    known = bounds(function, prepared.signature)
    kernel = Kernel(function, module.layout, builder, held, known, defined, wait)
    mask = builder.mask(positions.mask_bits())
    Control(kernel, "leave").emit(mask)
    result = "ptr" if meets else "void"
    suspends = " presplitcoroutine" if meets else ""
    parameters = "ptr noalias %threadgroup, i32 %simdgroup"
    if meets:
        parameters += ", ptr %waiting"
    head = f"define internal {result} @{_STRAND}({parameters}) {_ATTRIBUTES}{suspends} {{"
    body = [head, "entry:", *builder.storage, *(_BEGIN if meets else ()), *builder.lines]
    return [*body, "leave:", *(_LEAVE if meets else ("  ret void",)), "}"]


_BEGIN = (
    "  %coroutine = call token @llvm.coro.id(i32 64, ptr null, ptr null, ptr null)",
    "  %frame.bytes = call i64 @llvm.coro.size.i64()",
    f"  %allocate.at = getelementptr i8, ptr %threadgroup, i64 {abi.offset('allocate')}",
    "  %allocate = load ptr, ptr %allocate.at",
    "  %frame = call ptr %allocate(ptr %threadgroup, i64 %frame.bytes)",
    "  %handle = call ptr @llvm.coro.begin(token %coroutine, ptr %frame)",
)
_LEAVE = (
    "  store i8 0, ptr %waiting",
    "  br label %stop",
    "stop:",
    "  call void @llvm.coro.end(ptr %handle, i1 false, token none)",
    "  ret ptr %handle",
)


def _suspend(builder: Builder, flag: int) -> None:
    """Waits until every SIMD-group of the threadgroup waits too or has returned.

    Flag 2 is of a turn (turns.py), 1 of a barrier: those who wait for a turn go on first.
    """
    following = builder.fresh("met")
    builder.emit(f"store i8 {flag}, ptr %waiting")
    state = builder.value("call i8 @llvm.coro.suspend(token none, i1 false)")
    # Strands are never destroyed: their frames go with the threadgroup's arena.
    builder.emit(f"switch i8 {state}, label %stop [ i8 0, label %{following} ]")
    builder.label(following)


def _entry() -> list[str]:
    return [
        f"{SIGNATURE} {_ATTRIBUTES} {{",
        "entry:",
        *builtins.uniform_values(),
        "  br label %next",
        "next:",
        "  %simdgroup = phi i32 [ 0, %entry ], [ %following, %next ]",
        f"  call void @{_STRAND}(ptr %threadgroup, i32 %simdgroup)",
        "  %following = add nuw i32 %simdgroup, 1",
        "  %more = icmp ult i32 %following, %simdgroups",
        "  br i1 %more, label %next, label %done",
        "done:",
        "  ret void",
        "}",
    ]


def _entry_with_barriers() -> list[str]:
    """Rounds: in each, every SIMD-group runs from one barrier to the next, the first one last.

    What all read behind a barrier is what the first most often writes next. Kernels without a
    barrier in between work on GPUs, where the others have read by then (PyTorch's scans of long
    rows); those without one before the others read do not.
    """
    limit = 1024 // abi.SIMDGROUP_WIDTH
    return [
        f"{SIGNATURE} {_ATTRIBUTES} {{",
        "entry:",
        f"  %handles = alloca [{limit} x ptr]",
        f"  %waiting = alloca [{limit} x i8]",
        *builtins.uniform_values(),
        "  br label %start",
        "start:",
        "  %first.left = phi i32 [ %simdgroups, %entry ], [ %first, %start ]",
        "  %most.yet = phi i8 [ 0, %entry ], [ %most.first, %start ]",
        "  %first = sub nuw i32 %first.left, 1",
        "  %first.flag = getelementptr i8, ptr %waiting, i32 %first",
        f"  %handle = call ptr @{_STRAND}(ptr %threadgroup, i32 %first, ptr %first.flag)",
        "  %handle.at = getelementptr ptr, ptr %handles, i32 %first",
        "  store ptr %handle, ptr %handle.at",
        "  %first.waits = load i8, ptr %first.flag",
        "  %most.first = call i8 @llvm.umax.i8(i8 %most.yet, i8 %first.waits)",
        "  %first.more = icmp ne i32 %first, 0",
        "  br i1 %first.more, label %start, label %started",
        "started:",
        "  %any = icmp ne i8 %most.first, 0",
        "  br i1 %any, label %round, label %done",
        "round:",
        "  %wanted = phi i8 [ %most.first, %started ], [ %most.now, %round.end ]",
        "  br label %next",
        "next:",
        "  %left = phi i32 [ %simdgroups, %round ], [ %simdgroup, %passed ]",
        "  %most = phi i8 [ 0, %round ], [ %most.now, %passed ]",
        "  %simdgroup = sub nuw i32 %left, 1",
        "  %flag.at = getelementptr i8, ptr %waiting, i32 %simdgroup",
        "  %flag = load i8, ptr %flag.at",
        "  %goes.on = icmp eq i8 %flag, %wanted",
        "  br i1 %goes.on, label %resume, label %passed",
        "resume:",
        "  %resumed.at = getelementptr ptr, ptr %handles, i32 %simdgroup",
        "  %resumed = load ptr, ptr %resumed.at",
        "  call void @llvm.coro.resume(ptr %resumed)",
        "  br label %passed",
        "passed:",
        "  %flag.now = load i8, ptr %flag.at",
        "  %most.now = call i8 @llvm.umax.i8(i8 %most, i8 %flag.now)",
        "  %more = icmp ne i32 %simdgroup, 0",
        "  br i1 %more, label %next, label %round.end",
        "round.end:",
        "  %again = icmp ne i8 %most.now, 0",
        "  br i1 %again, label %round, label %done",
        "done:",
        "  ret void",
        "}",
    ]

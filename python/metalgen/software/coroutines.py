"""One strand per thread, with meetings: the kernel as an LLVM coroutine that suspends at each."""

from __future__ import annotations

from collections.abc import Iterable

from metalgen.software.ir.model import Block, Function, Instruction, Parameter
from metalgen.software.ir.types import I64, PTR, VOID
from metalgen.software.meeting_order import add_reconvergence, number_meetings
from metalgen.software.meetings import (
    Meeting,
    is_meeting,
    is_threadgroup_barrier,
    load_result,
    meeting_of,
    store_operands,
)

STRAND = "metalgen.strand"
# What a lane's `site` says while it waits; smaller numbers are the places of its meetings.
AT_BARRIER = 0x7FFFFFFE
RETURNED = 0x7FFFFFFF

DECLARATIONS = {
    "llvm.coro.id": "declare token @llvm.coro.id(i32, ptr, ptr, ptr)",
    "llvm.coro.size.i64": "declare i64 @llvm.coro.size.i64()",
    "llvm.coro.begin": "declare ptr @llvm.coro.begin(token, ptr)",
    "llvm.coro.suspend": "declare i8 @llvm.coro.suspend(token, i1)",
    "llvm.coro.end": "declare void @llvm.coro.end(ptr, i1, token)",
    "llvm.coro.resume": "declare void @llvm.coro.resume(ptr)",
}
_PARAMETERS = [
    Parameter(PTR, "%metalgen.threadgroup"),
    Parameter(PTR, "%metalgen.allocate"),
    Parameter(PTR, "%metalgen.site"),
    Parameter(PTR, "%metalgen.payload"),
    Parameter(I64, "%metalgen.lane"),
]
_START = "%metalgen.start"
_END = "%metalgen.end"


def make_coroutine(function: Function) -> list[Meeting]:
    """Turn a kernel into the coroutine STRAND and return its meetings.

    Its parameters are _PARAMETERS, then the kernel's own. It suspends at once, then at every
    meeting with the meeting's number in `site`; it ends with RETURNED there.
    """
    add_reconvergence(function, is_meeting)
    numbers = number_meetings(function, is_meeting)
    meetings: dict[int, Meeting] = {}
    ends: dict[str, str] = {}
    blocks: list[Block] = []
    for block in function.blocks:
        parts = _split(block, numbers, meetings)
        ends[block.label] = parts[-1].label
        blocks += parts
    for phi in (phi for block in blocks for phi in block.phis()):
        phi.labels = [ends[label] for label in phi.labels]
    function.blocks = _framed(blocks)
    function.name, function.prefix, function.return_type = STRAND, "internal", PTR
    function.suffix = "nounwind presplitcoroutine"
    # What a parameter's attributes promise need not hold for a coroutine, which keeps it.
    own = [Parameter(parameter.type, parameter.name) for parameter in function.parameters]
    function.parameters = [*_PARAMETERS, *own]
    return [meetings[number] for number in sorted(meetings)]


def _split(block: Block, numbers: dict[int, int], meetings: dict[int, Meeting]) -> list[Block]:
    """The parts of a block between its meetings; the first keeps its label."""
    parts = [Block(block.label, [])]
    for instruction in block.instructions:
        if id(instruction) not in numbers:
            parts[-1].instructions += _returned(instruction)
            continue
        number, label = numbers[id(instruction)], f"{block.label}.after.{len(parts)}"
        following = Block(label, [])
        if is_threadgroup_barrier(instruction):
            parts[-1].instructions += _suspend(AT_BARRIER, label)
        else:
            end = max((meeting.slots for meeting in meetings.values()), default=0)
            meeting = meetings.setdefault(number, meeting_of(instruction, number, end))
            parts[-1].instructions += _written(store_operands(instruction, meeting))
            parts[-1].instructions += _suspend(number, label)
            following.instructions += _written(load_result(instruction, meeting))
        parts.append(following)
    return parts


def _returned(instruction: Instruction) -> list[Instruction]:
    if instruction.opcode != "ret":
        return [instruction]
    return _written([f"store i32 {RETURNED}, ptr %metalgen.site", f"br label {_END}"])


def _suspend(site: int, following: str) -> list[Instruction]:
    state = f"{following}.state"
    return _written(
        [
            f"store i32 {site}, ptr %metalgen.site",
            f"{state} = call i8 @llvm.coro.suspend(token none, i1 false)",
            # Strands are never destroyed: their frames go with the threadgroup's arena.
            f"switch i8 {state}, label {_END} [ i8 0, label {following} ]",
        ]
    )


def _framed(blocks: list[Block]) -> list[Block]:
    """`blocks` between what starts a coroutine and what ends it."""
    entry = blocks[0]
    variables = [i for i in entry.instructions if i.opcode == "alloca"]
    entry.instructions = [i for i in entry.instructions if i.opcode != "alloca"]
    start = _written(
        [
            "%metalgen.id = call token @llvm.coro.id(i32 64, ptr null, ptr null, ptr null)",
            "%metalgen.size = call i64 @llvm.coro.size.i64()",
            "%metalgen.frame = call ptr %metalgen.allocate(ptr %metalgen.threadgroup, "
            "i64 %metalgen.size)",
            "%metalgen.handle = call ptr @llvm.coro.begin(token %metalgen.id, ptr %metalgen.frame)",
        ]
    )
    end = _written(
        [
            "call void @llvm.coro.end(ptr %metalgen.handle, i1 false, token none)",
            "ret ptr %metalgen.handle",
        ]
    )
    start_block = Block(_START, [*variables, *start, *_suspend(0, entry.label)])
    return [start_block, *blocks, Block(_END, end)]


def _written(lines: Iterable[str]) -> list[Instruction]:
    """Instructions that stand as they are: from here on they are only printed."""
    return [Instruction(line, VOID, []) for line in lines]

"""One strand per thread, with meetings: the kernel as a function that returns at each of them.

Called again it goes on there. What a thread needs later it keeps in a frame: its arguments, its
private variables, and the values that a meeting separates from a use. LLVM makes such coroutines
too, but copies the whole kernel three times on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from metalgen.software.frames import FRAME, Frame, address, keep_in_frame, written
from metalgen.software.ir.model import Block, Function, Instruction, Parameter
from metalgen.software.ir.types import I64, PTR, VOID, Layout
from metalgen.software.meeting_order import add_reconvergence, number_meetings
from metalgen.software.meetings import (
    Meeting,
    is_meeting,
    is_threadgroup_barrier,
    load_result,
    meeting_of,
    store_operands,
)
from metalgen.software.turns import TURN

STRAND = "metalgen.strand"
# What a lane's `site` says while it waits; smaller numbers are places of its meetings and turns.
AT_BARRIER = 0x7FFFFFFE
RETURNED = 0x7FFFFFFF

_PARAMETERS = [
    Parameter(PTR, FRAME),
    Parameter(PTR, "%metalgen.site"),
    Parameter(PTR, "%metalgen.payload"),
    Parameter(I64, "%metalgen.lane"),
]
_ENTRY = "%metalgen.entry"


@dataclass(frozen=True, slots=True)
class Coroutine:
    """A kernel as `void STRAND(frame, site, payload, lane)`, and what whoever calls it must know.

    A frame begins with an i32, which is 0 until the thread starts, and holds the kernel's
    arguments at their places.
    """

    meetings: list[Meeting]
    turns: list[int]  # the numbers of those among the places where lanes wait for others to read
    frame: Frame
    arguments: list[tuple[Parameter, int]]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A meeting between two blocks, of which the first ends in a copy of it without its result."""

    call: Instruction
    before: Block
    after: Block


def make_coroutine(function: Function, layout: Layout) -> Coroutine:
    """Turn a kernel into the function STRAND.

    It returns at every meeting with the meeting's number in `site`, at the end with RETURNED.
    """
    add_reconvergence(function, is_meeting)
    numbers = number_meetings(function, is_meeting)
    blocks, cuts = _cut(function.blocks)
    frame = Frame(layout)
    arguments = [(parameter, frame.place(parameter.type)) for parameter in function.parameters]
    lines = [line for p, place in arguments for line in frame.load(p.name, p.type, place)]
    lines += [*_place_variables(blocks, frame), *_STATE]
    entry = Block(_ENTRY, [*written(lines), _entrance(blocks[0], cuts)])
    function.blocks = [entry, *blocks]
    keep_in_frame(function, frame, {cut.after.label: cut.call for cut in cuts})
    meetings = _meetings(cuts, numbers)
    for state, cut in enumerate(cuts, 1):
        number = numbers[id(cut.call)]
        site = AT_BARRIER if is_threadgroup_barrier(cut.call) else number
        _write_meeting(cut, meetings.get(number), site, state)
    for block in blocks:
        if block.terminator.opcode == "ret":
            block.instructions[-1:] = written([*_site(RETURNED), "ret void"])
    function.name, function.prefix, function.return_type = STRAND, "internal", VOID
    function.suffix, function.parameters = "nounwind noinline", list(_PARAMETERS)
    turns = sorted(numbers[id(cut.call)] for cut in cuts if cut.call.callee_name == TURN)
    return Coroutine([meetings[number] for number in sorted(meetings)], turns, frame, arguments)


def _cut(blocks: list[Block]) -> tuple[list[Block], list[_Cut]]:
    """The blocks between meetings, the first of each with the label of the whole."""
    parts: list[Block] = []
    cuts: list[_Cut] = []
    last: dict[str, str] = {}
    for block in blocks:
        parts.append(Block(block.label, []))
        for instruction in block.instructions:
            if not is_meeting(instruction):
                parts[-1].instructions.append(instruction)
                continue
            before, after = parts[-1], Block(f"{block.label}.after.{len(cuts)}", [])
            before.instructions += [replace(instruction, result=""), Instruction("ret", VOID, [])]
            cuts.append(_Cut(instruction, before, after))
            parts.append(after)
        last[block.label] = parts[-1].label
    for phi in (phi for part in parts for phi in part.phis()):
        phi.labels = [last[label] for label in phi.labels]
    return parts, cuts


def _place_variables(blocks: list[Block], frame: Frame) -> list[str]:
    """Private variables, which live as long as the thread: their addresses."""
    lines = []
    for block in blocks:
        for variable in (i for i in block.instructions if i.opcode == "alloca"):
            assert variable.source_type is not None
            place = frame.place(variable.source_type, max(1, variable.align))
            lines.append(address(variable.result, place))
        block.instructions = [i for i in block.instructions if not _is_of_stack(i)]
    return lines


def _is_of_stack(instruction: Instruction) -> bool:
    """Whether it makes a private variable, or says when one lives, as LLVM allows of no other."""
    lives = instruction.opcode == "call" and instruction.callee_name.startswith("llvm.lifetime")
    return instruction.opcode == "alloca" or lives


_STATE = [address("%metalgen.state.at", 0), "%metalgen.state = load i32, ptr %metalgen.state.at"]


def _entrance(first: Block, cuts: list[_Cut]) -> Instruction:
    """The jump to where the thread goes on."""
    labels = [first.label, *(cut.after.label for cut in cuts)]
    cases = " ".join(f"i32 {state}, label {labels[state]}" for state in range(1, len(labels)))
    text = f"switch i32 %metalgen.state, label {first.label} [ {cases} ]"
    return Instruction(text, VOID, [], labels=labels)


def _meetings(cuts: list[_Cut], numbers: dict[int, int]) -> dict[int, Meeting]:
    """The meetings of SIMD-groups by number; no two share slots."""
    found: dict[int, Meeting] = {}
    for cut in cuts:
        number = numbers[id(cut.call)]
        if not _is_of_threadgroup(cut.call) and number not in found:
            end = max((meeting.slots for meeting in found.values()), default=0)
            found[number] = meeting_of(cut.call, number, end)
    return found


def _is_of_threadgroup(call: Instruction) -> bool:
    return is_threadgroup_barrier(call) or call.callee_name == TURN


def _write_meeting(cut: _Cut, meeting: Meeting | None, site: int, state: int) -> None:
    """Hand over operands, return, and take the result when called in `state`."""
    handed: list[str] = []
    if meeting is not None:
        handed = list(store_operands(cut.before.instructions[-2], meeting))
        cut.after.instructions[:0] = written(load_result(cut.call, meeting))
    lines = [*handed, *_site(site), f"store i32 {state}, ptr %metalgen.state.at", "ret void"]
    cut.before.instructions[-2:] = written(lines)


def _site(number: int) -> list[str]:
    return [f"store i32 {number}, ptr %metalgen.site"]

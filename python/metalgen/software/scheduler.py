"""The LLVM IR that runs a threadgroup's coroutines: SIMD-group by SIMD-group, meeting by meeting.

A SIMD-group's lanes all run to their next meeting. Those that wait at the meeting with the lowest
number take part in it together and run on; when none is left but those at a threadgroup barrier,
the next SIMD-group runs. When all have run, the barrier opens. Lanes that wait for others to read
first (turns.py) run on when all SIMD-groups have come to such a place or to a barrier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalgen.software import abi, runtime
from metalgen.software.coroutines import (
    AT_BARRIER,
    RETURNED,
    STRAND,
    Coroutine,
    make_coroutine,
)
from metalgen.software.divisions import contain_divisions
from metalgen.software.entry import SIGNATURE, Arguments, arguments, loop_over_threads
from metalgen.software.frames import FRAME, address
from metalgen.software.ir import write_module
from metalgen.software.ir.model import Module
from metalgen.software.ir.passes import flatten_address_spaces
from metalgen.software.matrices import narrow_matrices
from metalgen.software.meetings import SLOT_BYTES, Meeting, is_meeting_name
from metalgen.software.operations import calls, perform
from metalgen.software.prepare import Prepared
from metalgen.software.turns import add_turns

_LANES = abi.SIMDGROUP_WIDTH
# What a SIMD-group waits for while the first of its lanes wait for a turn; less than a barrier.
AT_TURN = AT_BARRIER - 1
_SITES = f"<{_LANES} x i32>"


def lower_to_coroutines(prepared: Prepared) -> str:
    """A module whose entry point runs a kernel with meeting points, one coroutine per thread."""
    add_turns(prepared.module, prepared.function, prepared.signature)
    narrow_matrices(prepared.function)
    given = arguments(prepared)
    strand = make_coroutine(prepared.function, prepared.module.layout)
    contain_divisions(prepared.function)
    meetings = strand.meetings
    _declare_what_is_called(prepared.module, meetings)
    operations = {m.operation: f"@metalgen.operation.{m.number}" for m in meetings if m.slots}
    parts = [
        flatten_address_spaces(write_module(prepared.module)),
        *(_operation_function(name, operation) for operation, name in operations.items()),
        _simdgroup_function(strand, operations),
        _entry(given, strand),
    ]
    return "\n".join(parts)


def _declare_what_is_called(module: Module, meetings: Sequence[Meeting]) -> None:
    declarations = module.declarations
    for name in [name for name in declarations if is_meeting_name(name)]:
        del declarations[name]
    for meeting in meetings:
        declarations.update((name, runtime.declaration(name)) for name in calls(meeting))
    declarations["llvm.umin.i32"] = "declare i32 @llvm.umin.i32(i32, i32)"
    declarations["llvm.cttz.i32"] = "declare i32 @llvm.cttz.i32(i32, i1)"
    minimum = f"llvm.vector.reduce.umin.v{_LANES}i32"
    declarations[minimum] = f"declare i32 @{minimum}({_SITES})"


def _operation_function(name: str, operation: Meeting) -> str:
    """`void name(ptr payload, i32 active)`, where `payload` is the meeting's own."""
    head = f"define internal void {name}(ptr %payload, i32 %active) {{"
    return "\n".join([head, *perform(operation), "ret void", "}"])


def _case(meeting: Meeting, operations: Mapping[Meeting, str]) -> str:
    """The block that performs a meeting and has its lanes run on."""
    label = f"meeting.{meeting.number}"
    if not meeting.slots:
        return f"{label}:\n  br label %run"
    return f"""
{label}:
  %{label}.payload = getelementptr i8, ptr %payload, i64 {meeting.first_slot * SLOT_BYTES}
  call void {operations[meeting.operation]}(ptr %{label}.payload, i32 %next)
  br label %run
"""


def _simdgroup_function(strand: Coroutine, operations: Mapping[Meeting, str]) -> str:
    """`i32 @metalgen.simdgroup(wanted, sites, frames, payload)`: what its first lanes wait for.

    They run if that is the wanted: nothing (0), a turn, or a barrier.
    """
    numbers = [meeting.number for meeting in strand.meetings]
    again = "".join(f", [ %next, %meeting.{n} ]" for n in numbers)
    cases = " ".join(f"i32 {n}, label %meeting.{n}" for n in numbers)
    turns, known = (
        " ".join(f"i32 {n}, label %{label}" for n in strand.turns)
        for label in ("turn", "waits.for.turn")
    )
    bodies = "\n".join(_case(meeting, operations) for meeting in strand.meetings)
    return f"""
define internal i32 @metalgen.simdgroup(i32 %wanted, ptr %sites, ptr %frames, ptr %payload) {{
start:
  %before = load {_SITES}, ptr %sites, align 64
  %least = call i32 @llvm.vector.reduce.umin.v{_LANES}i32({_SITES} %before)
  %least.one = insertelement {_SITES} poison, i32 %least, i32 0
  %least.all = shufflevector {_SITES} %least.one, {_SITES} poison, {_SITES} zeroinitializer
  %at.least = icmp eq {_SITES} %before, %least.all
  %all = bitcast <{_LANES} x i1> %at.least to i32
  %begins = icmp eq i32 %wanted, 0
  br i1 %begins, label %run, label %find
find:
  switch i32 %least, label %found [ {known} ]
waits.for.turn:
  br label %found
found:
  %state = phi i32 [ %least, %find ], [ {AT_TURN}, %waits.for.turn ]
  %is.wanted = icmp eq i32 %state, %wanted
  br i1 %is.wanted, label %run, label %idle
idle:
  ret i32 %state
run:
  %active = phi i32 [ %all, %start ], [ %all, %found ]{again}
  br label %lane
lane:
  %waiting = phi i32 [ %active, %run ], [ %others, %lane ]
  %lane.index = call i32 @llvm.cttz.i32(i32 %waiting, i1 true)
  %lane.wide = zext i32 %lane.index to i64
  %site = getelementptr i32, ptr %sites, i64 %lane.wide
  %frame = getelementptr [{strand.frame.bytes} x i8], ptr %frames, i64 %lane.wide
  call void @{STRAND}(ptr %frame, ptr %site, ptr %payload, i64 %lane.wide)
  %less = sub i32 %waiting, 1
  %others = and i32 %waiting, %less
  %more = icmp ne i32 %others, 0
  br i1 %more, label %lane, label %choose
choose:
  %after = load {_SITES}, ptr %sites, align 64
  %first = call i32 @llvm.vector.reduce.umin.v{_LANES}i32({_SITES} %after)
  %first.one = insertelement {_SITES} poison, i32 %first, i32 0
  %first.all = shufflevector {_SITES} %first.one, {_SITES} poison, {_SITES} zeroinitializer
  %here = icmp eq {_SITES} %after, %first.all
  %next = bitcast <{_LANES} x i1> %here to i32
  switch i32 %first, label %blocked [ {cases} {turns} ]
turn:
  ret i32 {AT_TURN}
blocked:
  ret i32 %first
{bodies}
}}
"""


def _entry(given: Arguments, strand: Coroutine) -> str:
    start = [
        *given.varying,
        "%index.wide = zext i32 %index to i64",
        "%site = getelementptr i32, ptr %sites, i64 %index.wide",
        "store i32 0, ptr %site",
        f"{FRAME} = getelementptr [{strand.frame.bytes} x i8], ptr %frames, i64 %index.wide",
        f"store i32 0, ptr {FRAME}",
    ]
    for n, (value, (_, place)) in enumerate(zip(given.values, strand.arguments, strict=True)):
        start += [address(f"%kept.{n}", place), f"store {value}, ptr %kept.{n}"]
    slots = max((meeting.slots for meeting in strand.meetings), default=0)
    return "\n".join(
        [
            f"{SIGNATURE} {{",
            "entry:",
            *given.uniform,
            *_scheduling_memory(slots, strand.frame.bytes),
            "br label %clear",
            _CLEAR,
            *loop_over_threads("cleared", start),
            _ROUNDS.replace("FRAME_BYTES", str(strand.frame.bytes)),
            "}",
        ]
    )


def _scheduling_memory(slots: int, frame_bytes: int) -> list[str]:
    """`%sites`, `%frames` with an entry per lane, and `%payload`, which one SIMD-group uses."""
    return [
        f"%allocate.at = getelementptr i8, ptr %threadgroup, i64 {abi.offset('allocate')}",
        "%allocate = load ptr, ptr %allocate.at, align 8",
        f"%payload = call ptr %allocate(ptr %threadgroup, i64 {max(1, slots) * SLOT_BYTES})",
        "%simdgroups.wide = zext i32 %simdgroups to i64",
        f"%lanes = mul nuw nsw i64 %simdgroups.wide, {_LANES}",
        "%sites.bytes = mul nuw nsw i64 %lanes, 4",
        "%sites = call ptr %allocate(ptr %threadgroup, i64 %sites.bytes)",
        f"%frames.bytes = mul nuw nsw i64 %lanes, {frame_bytes}",
        "%frames = call ptr %allocate(ptr %threadgroup, i64 %frames.bytes)",
    ]


# Lanes beyond the last thread take part in nothing, as if they had returned.
_CLEAR = f"""
clear:
  %clearing = phi i64 [ 0, %entry ], [ %clearing.next, %clear ]
  %clearing.at = getelementptr i32, ptr %sites, i64 %clearing
  store i32 {RETURNED}, ptr %clearing.at
  %clearing.next = add nuw nsw i64 %clearing, 1
  %clearing.more = icmp ult i64 %clearing.next, %lanes
  br i1 %clearing.more, label %clear, label %cleared
cleared:
"""

# The first SIMD-group last, as in the simdgroup lowering.
_ROUNDS = f"""
  br label %round
round:
  %wanted = phi i32 [ 0, %z.end ], [ %least.now, %round.end ]
  br label %group
group:
  %left = phi i64 [ %simdgroups.wide, %round ], [ %number, %group ]
  %least.so.far = phi i32 [ {RETURNED}, %round ], [ %least.now, %group ]
  %number = sub nuw i64 %left, 1
  %first.lane = mul nuw nsw i64 %number, {_LANES}
  %group.sites = getelementptr i32, ptr %sites, i64 %first.lane
  %group.frames = getelementptr [FRAME_BYTES x i8], ptr %frames, i64 %first.lane
  %site.now = call i32 @metalgen.simdgroup(
      i32 %wanted, ptr %group.sites, ptr %group.frames, ptr %payload)
  %least.now = call i32 @llvm.umin.i32(i32 %least.so.far, i32 %site.now)
  %groups.more = icmp ne i64 %number, 0
  br i1 %groups.more, label %group, label %round.end
round.end:
  %waits = icmp ne i32 %least.now, {RETURNED}
  br i1 %waits, label %round, label %done
done:
  ret void
"""

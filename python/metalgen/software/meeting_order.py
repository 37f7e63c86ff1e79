"""The order in which lanes that wait at different meeting points go on, so that they meet again."""

from __future__ import annotations

from collections.abc import Callable

from metalgen.software.ir.model import Block, Function, Global, Instruction
from metalgen.software.ir.types import VOID
from metalgen.software.simdgroup.cfg import Graph, Loop

RECONVERGE = "metalgen.reconverge"
IsMeeting = Callable[[Instruction], bool]
_Place = tuple[tuple[bool, int], ...]


def add_reconvergence(function: Function, is_meeting: IsMeeting) -> None:
    """Make lanes that may pass through a loop's body at different speeds wait at its end.

    Otherwise a lane could reach a meeting point of its next iteration while others are still on
    the way to one of this iteration. A loop whose last meeting point is passed in every iteration
    keeps its lanes together by itself.
    """
    graph = Graph(function)
    for loop in graph.loops.values():
        latches = [p for p in graph.predecessors[loop.header] if loop.contains(p)]
        if _may_part(graph, loop, latches, is_meeting):
            for latch in dict.fromkeys(latches):
                _wait_between(function, graph.blocks[latch], graph.blocks[loop.header])


def number_meetings(function: Function, is_meeting: IsMeeting) -> dict[int, int]:
    """The place of each meeting call by its `id`: loop bodies before what follows the loop.

    All waits at the end of one loop's iterations share their place.
    """
    graph = Graph(function)
    numbers: dict[int, int] = {}
    shared: dict[str, int] = {}
    for label in sorted(graph.order, key=lambda label: _place(graph, label)):
        block = graph.blocks[label]
        for instruction in filter(is_meeting, block.instructions):
            number = len(numbers)
            if instruction.callee_name == RECONVERGE:
                number = shared.setdefault(block.terminator.labels[0], number)
            numbers[id(instruction)] = number
    return numbers


def _place(graph: Graph, label: str) -> _Place:
    """A key that sorts blocks into a topological order in which every loop is contiguous.

    In reverse post-order a loop's header comes before its body and before what follows it, so
    a loop as a whole may stand at its header's position. Waiting blocks end their loop.
    """
    waits = graph.blocks[label].instructions[0].callee_name == RECONVERGE
    place = [(waits, graph.position[label])]
    loop = graph.innermost_loop[label]
    while loop is not None:
        place.append((False, graph.position[loop.header]))
        loop = loop.parent
    return tuple(reversed(place))


def _may_part(graph: Graph, loop: Loop, latches: list[str], is_meeting: IsMeeting) -> bool:
    meeting = [
        label for label in loop.blocks if any(map(is_meeting, graph.blocks[label].instructions))
    ]
    if not meeting:
        return False
    last = max(meeting, key=lambda label: _place(graph, label))
    passed = all(graph.dominates(last, latch) for latch in latches)
    return not passed or graph.innermost_loop[last] is not loop


def _wait_between(function: Function, latch: Block, header: Block) -> None:
    label = f"%metalgen.wait.{len(function.blocks)}"
    call = Instruction("call", VOID, [], callee=Global(f"@{RECONVERGE}"))
    branch = Instruction("br", VOID, [], labels=[header.label])
    function.blocks.append(Block(label, [call, branch]))
    for instruction, old, new in (
        (latch.terminator, header.label, label),
        *((phi, latch.label, label) for phi in header.phis()),
    ):
        instruction.labels = [new if name == old else name for name in instruction.labels]

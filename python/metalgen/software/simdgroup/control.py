"""Control flow of a whole SIMD-group: real branches where its lanes agree, masks where they part.

A *walk* emits blocks with their own branches, all under one mask. Where a branch parts the lanes,
or a loop lets them go at different times, a *chain* takes over up to the block where they are
together again: its items (blocks, whole loops, or the two arms of the branch) stand one behind the
other, and each is passed over when no lane wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metalgen.errors import UnsupportedError
from metalgen.software.simdgroup.cfg import Loop
from metalgen.software.simdgroup.kernel import Kernel
from metalgen.software.simdgroup.partings import Partings
from metalgen.software.simdgroup.values import Mask, Same


@dataclass(frozen=True, slots=True)
class Item:
    """One link of a chain, entered at `head`; `blocks` is empty for a single block."""

    head: str
    blocks: frozenset[str] = frozenset()
    loop: Loop | None = None


@dataclass(slots=True)
class Walk:
    blocks: frozenset[str]
    mask: Mask
    parent: Scope | None
    pending: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Chain:
    items: Sequence[Item]
    parent: Scope
    wanted: dict[str, str]  # item's head → storage for the mask of lanes that want it
    next_label: str
    header: str = ""  # of the loop whose body this is
    again: str = ""  # storage for the mask of lanes that go round again


Scope = Walk | Chain


class Control:
    """Emits all blocks of a kernel; `leave` is the label that a return jumps to."""

    def __init__(self, kernel: Kernel, leave: str) -> None:
        self._kernel = kernel
        self._builder = kernel.builder
        self._graph = kernel.graph
        self._leave = leave
        self._partings = Partings(kernel.graph, kernel.divergence)
        self._emitted: set[str] = set()

    def emit(self, mask: Mask) -> None:
        walk = Walk(frozenset(self._graph.order), mask, None)
        self._builder.jump(self._label(self._graph.entry))
        self._walk(walk, self._graph.entry)

    def _lower_block(self, block: str, mask: Mask) -> None:
        if block in self._emitted:
            raise UnsupportedError("not supported: control flow that enters a region sideways")
        self._emitted.add(block)
        self._kernel.lower_block(block, mask)

    def _label(self, block: str) -> str:
        return f"block.{self._graph.position[block]}"

    def _enter(self, scope: Scope, target: str, mask: Mask) -> str:
        """Has the lanes of `mask` go on at `target`; returns the label to jump to."""
        if isinstance(scope, Walk):
            if target in scope.blocks:
                scope.pending.append(target)
                return self._label(target)
            assert scope.parent is not None
            return self._enter(scope.parent, target, mask)
        if target == scope.header:
            self._add(scope.again, mask)
        elif target in scope.wanted:
            self._add(scope.wanted[target], mask)
        elif scope.header:
            self._enter(scope.parent, target, mask)
        return scope.next_label

    def _add(self, slot: str, mask: Mask) -> None:
        builder = self._builder
        before = builder.load("i32", slot)
        builder.store("i32", builder.value(f"or i32 {before}, {mask.bits}"), slot)

    # Walks.

    def _walk(self, walk: Walk, start: str) -> None:
        walk.pending.append(start)
        done: set[str] = set()
        while walk.pending:
            block = walk.pending.pop()
            if block in done:
                continue
            done.add(block)
            self._builder.label(self._label(block))
            if block in self._partings.loops:
                self._loop_in_walk(walk, block)
            else:
                self._lower_block(block, walk.mask)
                self._branch_in_walk(walk, block)

    def _branch_in_walk(self, walk: Walk, block: str) -> None:
        builder = self._builder
        terminator = self._graph.blocks[block].terminator
        successors = self._graph.successors[block]
        if terminator.opcode == "ret":
            builder.jump(self._leave)
        elif terminator.opcode == "unreachable":
            builder.emit("unreachable")
        elif len(successors) == 1:
            self._edge_in_walk(walk, block, successors[0])
        elif block in self._partings.heads | self._kernel.divergence.divergent_branches:
            self._part_in_walk(walk, block)
        else:
            condition = self._kernel.held(terminator.operands[0])
            assert isinstance(condition, Same)
            labels = [builder.fresh("edge") for _ in terminator.labels]
            builder.branch(condition.text, *labels)
            for label, successor in zip(labels, terminator.labels, strict=True):
                builder.label(label)
                self._edge_in_walk(walk, block, successor)

    def _edge_in_walk(self, walk: Walk, source: str, target: str) -> None:
        """A branch that all lanes of the walk take."""
        inside = target in walk.blocks
        self._kernel.copy_to_phis(source, target, None if inside else walk.mask)
        self._builder.jump(self._enter(walk, target, walk.mask))

    def _part_in_walk(self, walk: Walk, block: str) -> None:
        graph = self._graph
        end = graph.postdominator(block)
        successors = graph.successors[block]
        arms = {s: graph.region([s], end) for s in successors if s != end}
        crossing = len(arms) == 2 and set.intersection(*arms.values())
        if crossing or block in self._partings.heads:
            items = self._items(graph.region(successors, end), None)
        else:
            items = [Item(head, frozenset(blocks)) for head, blocks in arms.items()]
        chain = self._chain(items, walk)
        self._edges_in_chain(chain, block, walk.mask)
        self._builder.jump(chain.next_label)
        self._run(chain)
        self._builder.jump(self._enter(walk, end, walk.mask))

    def _loop_in_walk(self, walk: Walk, header: str) -> None:
        end = self._graph.common_postdominator(self._graph.exits(self._graph.loops[header]))
        chain = self._chain(self._items(self._graph.region([header], end), None), walk)
        self._add(chain.wanted[header], walk.mask)
        self._builder.jump(chain.next_label)
        self._run(chain)
        self._builder.jump(self._enter(walk, end, walk.mask))

    # Chains.

    def _items(self, region: set[str], current: Loop | None) -> list[Item]:
        """The region's blocks in order, each of its outermost loops in one piece."""
        inner = [
            loop
            for loop in self._graph.loops.values()
            if loop is not current and loop.blocks <= region and loop.header != _header(current)
        ]
        outermost = [
            x for x in inner if not any(x is not y and x.header in y.blocks for y in inner)
        ]
        loop_at = {loop.header: loop for loop in outermost}
        within = {label for loop in outermost for label in loop.blocks}
        items = []
        for label in self._graph.order:
            if label in loop_at:
                items.append(Item(label, frozenset(loop_at[label].blocks), loop_at[label]))
            elif label in region and label not in within:
                items.append(Item(label))
        return items

    def _chain(self, items: Sequence[Item], parent: Scope) -> Chain:
        builder = self._builder
        wanted = {item.head: builder.slot("i32") for item in items}
        for slot in wanted.values():
            builder.store("i32", "0", slot)
        return Chain(items, parent, wanted, builder.fresh("item"))

    def _run(self, chain: Chain) -> None:
        """Emits the items; ends in the block that `chain.next_label` names then."""
        builder = self._builder
        for item in chain.items:
            builder.label(chain.next_label)
            chain.next_label = builder.fresh("item")
            bits = builder.load("i32", chain.wanted[item.head])
            body = builder.fresh("lanes")
            builder.branch(builder.any(bits), body, chain.next_label)
            builder.label(body)
            self._item(chain, item, builder.mask(bits))
        builder.label(chain.next_label)

    def _item(self, chain: Chain, item: Item, mask: Mask) -> None:
        if item.loop is not None and item.head in self._partings.loops:
            self._divergent_loop(chain, item.loop, mask)
        elif item.blocks:
            self._builder.jump(self._label(item.head))
            self._walk(Walk(item.blocks, mask, chain), item.head)
        else:
            self._lower_block(item.head, mask)
            self._end_block_in_chain(chain, item.head, mask)

    def _end_block_in_chain(self, chain: Chain, block: str, mask: Mask) -> None:
        if self._graph.blocks[block].terminator.opcode == "unreachable":
            self._builder.emit("unreachable")
            return
        self._edges_in_chain(chain, block, mask)
        self._builder.jump(chain.next_label)

    def _edges_in_chain(self, chain: Chain, block: str, mask: Mask) -> None:
        """Sends each lane of `mask` to the successor of `block` that it takes."""
        terminator = self._graph.blocks[block].terminator
        successors = self._graph.successors[block]
        edges = [mask]
        if len(successors) == 2:
            edges = self._parted(block, mask)
            successors = terminator.labels
        for successor, edge in zip(successors, edges, strict=True):
            self._kernel.copy_to_phis(block, successor, edge)
            self._enter(chain, successor, edge)

    def _parted(self, block: str, mask: Mask) -> list[Mask]:
        builder = self._builder
        condition = self._kernel.held(self._graph.blocks[block].terminator.operands[0])
        if isinstance(condition, Same):
            yes = builder.value(f"select i1 {condition.text}, i32 {mask.bits}, i32 0")
        else:
            yes = builder.bits(self._kernel.lanes.wide(condition), mask)
        no = builder.value(f"xor i32 {mask.bits}, {yes}")
        return [builder.mask(yes), builder.mask(no)]

    def _divergent_loop(self, outer: Chain, loop: Loop, mask: Mask) -> None:
        """Goes round as long as any lane does; the lanes that left wait behind the loop."""
        builder = self._builder
        live, again = builder.slot("i32"), builder.slot("i32")
        head = builder.fresh("loop")
        builder.store("i32", mask.bits, live)
        builder.jump(head)
        builder.label(head)
        items = [i for i in self._items(loop.blocks, loop) if i.head != loop.header]
        builder.store("i32", "0", again)
        chain = self._chain(items, outer)
        chain.header, chain.again = loop.header, again
        running = builder.mask(builder.load("i32", live))
        self._lower_block(loop.header, running)
        self._end_block_in_chain(chain, loop.header, running)
        self._run(chain)
        left = builder.load("i32", again)
        builder.store("i32", left, live)
        builder.branch(builder.any(left), head, outer.next_label)


def _header(loop: Loop | None) -> str:
    return loop.header if loop else ""

"""Decides where chains begin: at branches and loops whose lanes part, or above them.

A chain emits all blocks up to where its lanes are together again, so nothing else may lead into
these blocks. Where something does (a switch that falls through, `a && b` in front of a jump), the
chain begins further up, at a branch that every way in has passed.
"""

from __future__ import annotations

from metalgen.software.simdgroup.cfg import Graph, Loop
from metalgen.software.simdgroup.divergence import Divergence


class Partings:
    """`heads` are branches, `loops` the headers of loops, at which a chain of blocks begins."""

    def __init__(self, graph: Graph, divergence: Divergence) -> None:
        self._graph = graph
        self.heads: set[str] = set()
        self.loops: set[str] = set()
        for header in divergence.divergent_loops:
            self._chain_loop(graph.loops[header])
        for branch in divergence.divergent_branches:
            self._raise(branch, branch)

    def _raise(self, branch: str, start: str) -> None:
        """Finds the branch at or above `start` that alone leads to everything it may run."""
        graph, around = self._graph, self._graph.innermost_loop[branch]
        while True:
            end = graph.postdominator(start)
            if around is not None and not around.contains(end):
                self._chain_loop(around)
                return
            if self._is_closed(start, graph.region(graph.successors[start], end)):
                if start != branch:
                    self.heads.add(start)
                return
            if around is not None and start == around.header:
                self._chain_loop(around)
                return
            start = self._above(start, around)

    def _chain_loop(self, loop: Loop) -> None:
        if loop.header in self.loops:
            return
        self.loops.add(loop.header)
        graph = self._graph
        end = graph.common_postdominator(graph.exits(loop))
        outside = loop.parent
        if outside is not None and not outside.contains(end):
            self._chain_loop(outside)
        elif not self._is_closed(loop.header, graph.region([loop.header], end)):
            above = self._above(loop.header, outside)
            self._raise(above, above)
            self.heads.add(above)

    def _is_closed(self, head: str, region: set[str]) -> bool:
        return all(self._graph.dominates(head, block) for block in region)

    def _above(self, block: str, around: Loop | None) -> str:
        """The nearest dominator that is in no loop within `around`."""
        block = self._graph.dominator(block)
        while (loop := self._graph.innermost_loop[block]) is not around:
            assert loop is not None
            block = self._graph.dominator(loop.header)
        return block

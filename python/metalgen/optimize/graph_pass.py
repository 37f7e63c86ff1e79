"""A captured graph with its regions in place, and the passes that settle them, heaviest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Interpreter
from torch.fx.node import Argument, Target

from metalgen.device import synchronize
from metalgen.optimize.budget import Budget, waves
from metalgen.optimize.region import Region

Visit = Callable[[Region, tuple[object, ...]], tuple[Tensor, ...]]
# Set while a call is to settle what it meets; collects the contents of the contenders that it used.
_USED: ContextVar[list[str] | None] = ContextVar("used", default=None)


@contextmanager
def settling() -> Iterator[list[str]]:
    """Graphs that are called inside settle their regions; what they used is in the list then."""
    used: list[str] = []
    token = _USED.set(used)
    try:
        yield used
    finally:
        _USED.reset(token)


@dataclass
class SplitGraph:
    """Called with a list of arguments, which it empties; `is_repeatable`: passes change nothing."""

    module: GraphModule
    budget: Budget
    is_repeatable: bool
    _boxed_call: bool = True  # what AOTAutograd asks for

    def __call__(self, arguments: list[object]) -> Any:
        """The graph's outputs."""
        given = tuple(arguments)
        arguments.clear()
        used = _USED.get()
        if used is None:
            return self.module(*given)
        if self.budget.limit_s is not None and self.is_repeatable:
            self._heaviest_first(given)

        def settle(region: Region, of: tuple[object, ...]) -> tuple[Tensor, ...]:
            contender = region.chosen(of)
            used.append("aten" if contender is None else contender.content)
            return region.run(contender, of)

        return _Pass(self.module, settle).run(*given)

    def _heaviest_first(self, given: tuple[object, ...]) -> None:
        """Spend the budget in the order of the time that regions take in ATen."""
        times = {region: time for region, time in self._times(given).items() if time is not None}
        for wave in waves(times):
            if self.budget.is_spent:
                return
            _Pass(self.module, partial(self._settle, frozenset(wave))).run(*given)

    def _settle(
        self, wanted: frozenset[Region], region: Region, of: tuple[object, ...]
    ) -> tuple[Tensor, ...]:
        if region in wanted and not self.budget.is_spent:
            return region.run(region.chosen(of), of)
        return region.aten(*of)

    def _times(self, given: tuple[object, ...]) -> dict[Region, float | None]:
        """Seconds of every region that is not settled, in ATen; a first pass warms up."""
        times: dict[Region, float | None] = {}
        clock = self.budget.clock

        def timed(region: Region, of: tuple[object, ...]) -> tuple[Tensor, ...]:
            device = region.device
            synchronize(device)
            started = clock()
            results = region.aten(*of)
            synchronize(device)
            times[region] = None if region.is_settled(of) else clock() - started
            return results

        for _ in range(2):
            _Pass(self.module, timed).run(*given)
        return times


class _Pass(Interpreter):
    """Runs the graph once, each region by `visit`."""

    def __init__(self, module: GraphModule, visit: Visit) -> None:
        super().__init__(module)
        self._visit = visit

    def call_module(
        self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]
    ) -> Any:
        child = self.fetch_attr(str(target))
        if isinstance(child, Region):
            return self._visit(child, args)
        return super().call_module(target, args, kwargs)

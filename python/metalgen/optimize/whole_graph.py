"""One captured graph as it is called: with its regions, or eager where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metalgen.errors import MetalgenError
from metalgen.kept_times import Time
from metalgen.optimize.choices import digest, is_faster, place_of
from metalgen.optimize.energy import joules_of
from metalgen.optimize.graph_pass import settling
from metalgen.optimize.means import Means, kept_choices
from metalgen.optimize.meters import EnergyMeter
from metalgen.optimize.race import race
from metalgen.optimize.region import MOST_CLASSES
from metalgen.optimize.report import GraphClass, GraphReport, How
from metalgen.optimize.shape_class import shape_class, signature

Run = Callable[..., Any]
_MOST_SIGNATURES = 1024
_EAGER = "eager"


@dataclass
class WholeGraph:
    """Calls of each shape class are settled when the first comes; other threads wait for it.

    `open_places`: the arguments that differ from call to call. `is_pure`: it may be run again for
    timing. `subject` names the graph, and what is offered for it, for times that are kept.
    """

    eager: Run
    compiled: Run
    report: GraphReport
    means: Means
    open_places: tuple[int, ...]
    is_pure: bool = False
    subject: str = ""
    _classes: dict[str, Run] = field(default_factory=dict)
    _chosen: dict[Hashable, Run] = field(default_factory=dict)

    def __call__(self, *arguments: object) -> Any:
        """The graph's outputs."""
        key = signature(arguments[i] for i in self.open_places)
        chosen = self._chosen.get(key)
        return self._first(key, arguments) if chosen is None else chosen(*arguments)

    def _first(self, key: Hashable, arguments: tuple[object, ...]) -> Any:
        with self.means.lock:
            if len(self._chosen) >= _MOST_SIGNATURES:
                self._chosen.clear()
            name = shape_class(arguments[i] for i in self.open_places)
            if name not in self._classes and len(self._classes) < MOST_CLASSES:
                return self._settle(name, arguments)
            chosen = self._chosen[key] = self._classes.get(name, self.eager)
        return chosen(*arguments)

    def _settle(self, name: str, arguments: tuple[object, ...]) -> Any:
        whole = _Whole(self, name, arguments)
        decided = whole.known()
        if decided is not None:
            results = self.eager(*arguments)
        else:
            with settling() as used:
                results = self.compiled(*arguments)
            decided = whole.decide(used)
        self.report.add(decided)
        self._classes[name] = self.eager if decided.choice == "eager" else self.compiled
        kept_choices().save()
        return results


@dataclass
class _Whole:
    """The choice for a graph as a whole: eager, undecomposed, may beat even regions that gain."""

    graph: WholeGraph
    name: str
    arguments: tuple[object, ...]

    def known(self) -> GraphClass | None:
        """That eager won when it was last measured; None where that is not known."""
        means = self.graph.means
        if means.policy != "fastest" or means.chip is not None or means.is_thorough:
            return None
        known = kept_choices().times(*self._place())
        ours = [time.us for name, time in known.items() if name != _EAGER]
        if not ours or _EAGER not in known or is_faster(min(ours), known[_EAGER].us):
            return None
        return self._chosen(min(ours), known[_EAGER].us, "kept")

    def decide(self, used: list[str]) -> GraphClass:
        """What is right for the regions as they were chosen, whose contents are `used`."""
        means = self.graph.means
        if all(content == "aten" for content in used):
            return GraphClass(self.name, "eager", "no region runs on Metal")
        if means.policy == "metal":
            return GraphClass(self.name, "mixed", "the policy asks for Metal")
        if means.chip is not None:
            reason = "not timed: chosen for another chip by the cost model"
            return GraphClass(self.name, "mixed", reason)
        if not self.graph.is_pure:
            reason = "not timed as a whole: it changes its inputs or draws random numbers"
            return GraphClass(self.name, "mixed", reason)
        try:
            if means.meter is not None:
                return self._by_energy(means.meter)
            return self._chosen(*self._times(used))
        except MetalgenError as error:
            return GraphClass(self.name, "eager", f"cannot be timed: {error}")

    def _by_energy(self, meter: EnergyMeter) -> GraphClass:
        graph, arguments = self.graph, self.arguments
        runs: dict[str, Run] = {
            "mixed": lambda: graph.compiled(*arguments),
            "eager": lambda: graph.eager(*arguments),
        }
        joules = joules_of(runs, meter, self._device().type)
        gain = f"{1e3 * joules['mixed']:.3g} mJ, eager {1e3 * joules['eager']:.3g} mJ"
        is_less = is_faster(joules["mixed"], joules["eager"])
        reason = f"{meter.name}: {gain}"
        return GraphClass(self.name, "mixed" if is_less else "eager", reason)

    def _chosen(self, compiled_us: float, eager_us: float, how: How) -> GraphClass:
        if is_faster(compiled_us, eager_us):
            reason = "regions are chosen one by one"
            return GraphClass(self.name, "mixed", reason, compiled_us, eager_us, how)
        reason = "eager is faster as a whole" + (", as measured before" if how == "kept" else "")
        return GraphClass(self.name, "eager", reason, compiled_us, eager_us, how)

    def _times(self, used: list[str]) -> tuple[float, float, How]:
        kept = kept_choices()
        ours = f"regions {digest(used)}"
        known = kept.times(*self._place())
        if ours in known and _EAGER in known:
            return known[ours].us, known[_EAGER].us, "kept"
        graph, arguments = self.graph, self.arguments
        with graph.means.budget.spending():
            compiled_us, eager_us = race(
                lambda: graph.compiled(*arguments), lambda: graph.eager(*arguments), self._device()
            )
        kept.keep(*self._place(), {ours: Time(compiled_us), _EAGER: Time(eager_us)})
        return compiled_us, eager_us, "measured"

    def _place(self) -> tuple[str, str, str]:
        # Shortened: a model has hundreds of parameters.
        sizes = digest([shape_class(self.arguments)])
        return place_of(self._device().type), self.graph.subject, sizes

    def _device(self) -> torch.device:
        tensors = (value for value in self.arguments if isinstance(value, Tensor))
        first = next(tensors, None)
        return torch.device("cpu") if first is None else first.device

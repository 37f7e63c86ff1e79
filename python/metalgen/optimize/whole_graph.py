"""One captured graph as it is called: with its regions, or eager where that is faster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from metalgen.device import measured_on
from metalgen.errors import MetalgenError
from metalgen.kept_times import Time
from metalgen.optimize.decision import LEAST_GAIN
from metalgen.optimize.graph_pass import settling
from metalgen.optimize.means import Means, kept_choices
from metalgen.optimize.race import race
from metalgen.optimize.region import MOST_CLASSES, is_open
from metalgen.optimize.report import GraphClass, GraphReport, How
from metalgen.optimize.shape_class import shape_class, signature

Run = Callable[..., Any]
_MOST_SIGNATURES = 1024


@dataclass
class WholeGraph:
    """Calls of each shape class are settled when the first comes; other threads wait for it.

    `is_pure`: it may be run again for timing. `fingerprint` is the graph's.
    """

    eager: Run
    compiled: Run
    report: GraphReport
    means: Means
    inputs: Sequence[object]
    is_pure: bool = False
    fingerprint: str = ""
    _open: tuple[int, ...] = field(init=False)
    _classes: dict[str, Run] = field(default_factory=dict)
    _chosen: dict[Hashable, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._open = tuple(i for i, value in enumerate(self.inputs) if is_open(value))

    def __call__(self, *arguments: object) -> Any:
        """The graph's outputs."""
        key = signature(arguments[i] for i in self._open)
        chosen = self._chosen.get(key)
        return self._first(key, arguments) if chosen is None else chosen(*arguments)

    def _first(self, key: Hashable, arguments: tuple[object, ...]) -> Any:
        with self.means.lock:
            if len(self._chosen) >= _MOST_SIGNATURES:
                self._chosen.clear()
            name = shape_class(arguments[i] for i in self._open)
            if name not in self._classes and len(self._classes) < MOST_CLASSES:
                return self._settle(name, arguments)
            chosen = self._chosen[key] = self._classes.get(name, self.eager)
        return chosen(*arguments)

    def _settle(self, name: str, arguments: tuple[object, ...]) -> Any:
        with settling() as used:
            results = self.compiled(*arguments)
        decided = self._decide(name, used, arguments)
        self.report.add(decided)
        self._classes[name] = self.eager if decided.choice == "eager" else self.compiled
        kept_choices().save()
        return results

    def _decide(self, name: str, used: list[str], arguments: tuple[object, ...]) -> GraphClass:
        """Eager, undecomposed, may beat the graph even where some regions gain."""
        if all(content == "aten" for content in used):
            return GraphClass(name, "eager", "no region runs on Metal")
        if self.means.policy == "metal":
            return GraphClass(name, "mixed", "the policy asks for Metal")
        if self.means.chip is not None:
            return GraphClass(name, "mixed", "not timed: chosen for another chip by the cost model")
        if not self.is_pure:
            reason = "not timed as a whole: it changes its inputs or draws random numbers"
            return GraphClass(name, "mixed", reason)
        try:
            compiled_us, eager_us, how = self._times(used, arguments)
        except MetalgenError as error:
            return GraphClass(name, "eager", f"cannot be timed: {error}")
        if compiled_us < eager_us * (1 - LEAST_GAIN):
            reason = "regions are chosen one by one"
            return GraphClass(name, "mixed", reason, compiled_us, eager_us, how)
        return GraphClass(name, "eager", "eager is faster as a whole", compiled_us, eager_us, how)

    def _times(self, used: list[str], arguments: tuple[object, ...]) -> tuple[float, float, How]:
        device = next(value.device for value in arguments if isinstance(value, Tensor))
        kept = kept_choices()
        place = (
            measured_on("mps" if device.type == "mps" else "cpu"),
            f"graph {self.fingerprint}",
            _digest(shape_class(arguments)),  # a model has hundreds of parameters
        )
        ours = f"regions {_digest(' '.join(used))}"
        known = kept.times(*place)
        if ours in known and "eager" in known:
            return known[ours].us, known["eager"].us, "kept"
        with self.means.budget.spending():
            compiled_us, eager_us = race(
                lambda: self.compiled(*arguments), lambda: self.eager(*arguments), device
            )
        kept.keep(*place, {ours: Time(compiled_us), "eager": Time(eager_us)})
        return compiled_us, eager_us, "measured"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

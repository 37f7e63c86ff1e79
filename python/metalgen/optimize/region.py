"""A region in place of its operators: each shape class is checked and timed once, then settled."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from metalgen.errors import MetalgenError
from metalgen.optimize.choices import RegionTimes, key_of
from metalgen.optimize.contender import Contender, Offer, RegionGraph
from metalgen.optimize.decision import Decision, Trial, left
from metalgen.optimize.means import Means
from metalgen.optimize.report import RegionReport
from metalgen.optimize.shape_class import shape_class, signature

# Each costs a check and a race; what comes later stays with ATen.
MOST_CLASSES = 64
_MOST_SIGNATURES = 1024


class Region(nn.Module):
    """Computes what `graph` computes, by a contender that is right and wanted, else in ATen.

    May be called by several threads; one at a time decides.
    """

    def __init__(
        self, graph: RegionGraph, offers: Sequence[Offer], means: Means, report: RegionReport
    ) -> None:
        super().__init__()
        self.report = report
        self._graph = graph
        self._offers = list(offers)
        self._means = means
        self._times = RegionTimes(graph)
        self._made: dict[str, Contender] = {}
        self._failures: dict[str, str] = {}
        self._classes: dict[str, Contender | None] = {}
        self._chosen: dict[Hashable, Contender | None] = {}
        self._open = open_places(graph)

    @property
    def device(self) -> str:
        """The type of the device that its tensors are on."""
        return self._graph.device

    def forward(self, *arguments: object) -> tuple[Tensor, ...]:
        """The region's outputs."""
        return self.run(self.chosen(arguments), arguments)

    def chosen(self, arguments: tuple[object, ...]) -> Contender | None:
        """Who computes such calls, None for ATen; decided now if it was not before."""
        key = signature(arguments[i] for i in self._open)
        try:
            return self._chosen[key]
        except KeyError:
            return self._settle(key, arguments)

    def is_settled(self, arguments: tuple[object, ...]) -> bool:
        """Whether that was decided before."""
        return self._class(arguments) in self._classes

    def run(self, contender: Contender | None, arguments: tuple[object, ...]) -> tuple[Tensor, ...]:
        """The outputs, by ATen where the contender fails, and from then on."""
        if contender is not None:
            try:
                return contender.run(arguments)
            except MetalgenError as error:
                self._give_up(arguments, f"failed on later inputs: {error}")
        return self.aten(*arguments)

    def aten(self, *arguments: object) -> tuple[Tensor, ...]:
        """The outputs as ATen computes them."""
        return tuple(self._graph.eager(*arguments))

    def _class(self, arguments: tuple[object, ...]) -> str:
        return shape_class(arguments[i] for i in self._open)

    def _settle(self, key: Hashable, arguments: tuple[object, ...]) -> Contender | None:
        with self._means.lock:
            name = self._class(arguments)
            if name not in self._classes:
                self._classes[name] = self._decide(name, arguments)
            if len(self._chosen) >= _MOST_SIGNATURES:
                self._chosen.clear()
            self._chosen[key] = self._classes[name]
            return self._classes[name]

    def _decide(self, name: str, arguments: tuple[object, ...]) -> Contender | None:
        budget = self._means.budget
        if budget.is_spent:
            decision = left(name, budget.reason)
        elif len(self._classes) >= MOST_CLASSES:
            decision = left(name, f"not checked: it is beyond the {MOST_CLASSES} shape classes")
        else:
            with budget.spending():
                decision = self._tried(name, arguments)
        self.report.add(decision.report)
        self._show(decision.report.contender)
        return decision.contender

    def _show(self, contender: str) -> None:
        """Report launches and texts of a contender, made here or for an equal region."""
        place, shown = (self._times.subject, contender), self._means.shown
        made = self._made.get(contender)
        if made is not None:
            shown[place] = made.kernels, made.stages
        if place in shown:
            self.report.kernels, texts = shown[place]
            self.report.stages = dict(texts)

    def _tried(self, name: str, arguments: tuple[object, ...]) -> Decision:
        trial = Trial(self._times, arguments, self._means, name)
        # A new class is no reason to compile: what lost elsewhere and was not made stays so.
        offers = [offer for offer in self._offers if offer.name in self._made] or self._offers
        known = trial.known(offers)
        if isinstance(known, Decision):
            return known
        won = self._contenders([known]) if known is not None else []
        if won and key_of(won[0]) in self._times.known(arguments):
            decision = trial.decide(won)
            if decision.contender is not None:
                return decision
        contenders = self._contenders(offers)
        for offer in self._failures:
            self._times.refuse(arguments, f"{offer} refused")
        if not contenders:
            return left(name, "; ".join(self._failures.values()) or "nothing is offered for it")
        return trial.decide(contenders, tuple(self._failures.values()))

    def _give_up(self, arguments: tuple[object, ...], reason: str) -> None:
        with self._means.lock:
            name = self._class(arguments)
            self._classes[name] = None
            self._chosen.clear()
            self.report.add(left(name, reason).report)

    def _contenders(self, offers: Sequence[Offer]) -> list[Contender]:
        """What is made of the offers, now or before, as far as the budget reaches."""
        for offer in offers:
            if self._made and self._means.budget.is_spent:
                break
            if offer.name in self._made or offer.name in self._failures:
                continue
            try:
                self._made[offer.name] = offer.make()
                self._means.report.compilations += 1
            except MetalgenError as error:
                self._failures[offer.name] = f"{offer.name}: {error}"
            except Exception as error:  # whatever a source does not expect, ATen can compute
                reason = f"{offer.name} failed: {type(error).__name__}: {error}"
                self._failures[offer.name] = reason
        return [self._made[offer.name] for offer in offers if offer.name in self._made]


def open_places(graph: RegionGraph) -> tuple[int, ...]:
    """Which of a region's arguments differ in sizes, strides or value from call to call."""
    values = [node.meta.get("val") for node in graph.placeholders]
    return tuple(i for i, value in enumerate(values) if is_open(value))


def is_open(value: object) -> bool:
    """Whether calls of the same graph may differ in an argument's sizes, strides or value."""
    if isinstance(value, Tensor):
        return any(isinstance(size, torch.SymInt) for size in (*value.shape, *value.stride()))
    return not isinstance(value, bool | None)

"""One captured graph that needs gradients: forward and backward with regions, or eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metalgen.errors import MetalgenError
from metalgen.optimize.choices import is_faster
from metalgen.optimize.differentiable import differentiable, gradient_step
from metalgen.optimize.means import Means
from metalgen.optimize.race import race
from metalgen.optimize.report import GraphClass, GraphReport

Run = Callable[..., Any]


@dataclass
class TrainingGraph:
    """Regions are settled as they are met; the whole is timed once, forward and backward together.

    `changed` are the positions of inputs that a call changes, such as running statistics.
    """

    eager: Run
    compiled: Run
    report: GraphReport
    means: Means
    is_pure: bool
    changed: frozenset[int]
    _chosen: Run | None = field(default=None)

    def __call__(self, *arguments: object) -> Any:
        """The graph's outputs."""
        if self._chosen is None:
            self._chosen = self._settle(arguments)
        return self._chosen(*arguments)

    def _settle(self, arguments: tuple[object, ...]) -> Run:
        # No lock is held: a device's backward pass runs in a thread of its own.
        compiled = differentiable(self.compiled, self.eager, self.is_pure)
        decided = self._decide(arguments)
        self.report.add(decided)
        return self.eager if decided.choice == "eager" else compiled

    def _decide(self, arguments: tuple[object, ...]) -> GraphClass:
        name = "training"
        device = next(value.device for value in arguments if isinstance(value, Tensor))
        with _random_state(device):
            try:
                gradient_step(self.compiled, self._copied(arguments))
            except MetalgenError as error:
                return GraphClass(name, "eager", f"cannot be run: {error}")
            if self.means.policy == "metal":
                return GraphClass(name, "mixed", "the policy asks for Metal")
            if self.means.chip is not None:
                return GraphClass(name, "mixed", "not timed: chosen by the cost model")
            given = self._copied(arguments)
            ours, theirs = race(
                lambda: gradient_step(self.compiled, given),
                lambda: gradient_step(self.eager, given),
                device,
            )
        if is_faster(ours, theirs):
            reason = "regions are chosen one by one"
            return GraphClass(name, "mixed", reason, ours, theirs, "measured")
        reason = "eager is faster as a whole, forward and backward"
        return GraphClass(name, "eager", reason, ours, theirs, "measured")

    def _copied(self, arguments: Sequence[object]) -> list[object]:
        """The arguments, with copies of those that a call changes."""
        return [
            value.detach().clone() if i in self.changed and isinstance(value, Tensor) else value
            for i, value in enumerate(arguments)
        ]


@contextmanager
def _random_state(device: torch.device) -> Iterator[None]:
    """Inside, random numbers may be drawn without anybody noticing afterwards."""
    own = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=[]):
        yield
    if own is not None:
        torch.mps.set_rng_state(own)

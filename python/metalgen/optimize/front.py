"""What stands before a compiled model: its first call alone, and none of the capture for eager.

Dynamo's guards take about a tenth of a millisecond a call. Where they lead to eager anyway, calls
of the same kind go straight to the model, so that it is not slower than without metalgen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from metalgen.optimize.report import GraphReport, Report

_MOST_KINDS = 1024


class Front:
    """Calls `run`, or `model` itself where the report says that all of it is eager."""

    def __init__(self, model: nn.Module, run: Callable[..., Any], report: Report) -> None:
        self._model = model
        self._run = run
        self._report = report
        self._first = next(model.parameters(), None)
        self._lock = threading.RLock()
        self._is_through = False
        self._eager: set[Hashable] = set()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the model gives."""
        if not self._is_through:
            # Each thread would capture and compile for itself.
            with self._lock:
                if not self._is_through:
                    results = self._run(*arguments, **named)
                    self._is_through = True
                    return results
        if self._eager and self._kind(arguments, named) in self._eager:
            return self._model(*arguments, **named)
        results = self._run(*arguments, **named)
        if _is_eager(self._report) and (kind := self._kind(arguments, named)) is not None:
            if len(self._eager) >= _MOST_KINDS:
                self._eager.clear()
            self._eager.add(kind)
        return results

    def _kind(self, arguments: Any, named: Any) -> Hashable | None:
        """What decides where such a call runs; None where that cannot be told from outside.

        Taking one call for another costs time at most: the model itself is always right.
        """
        first = self._first
        try:
            return (
                _described(arguments),
                _described(tuple(named.items())) if named else (),
                None if first is None else (first.dtype, first.device),
                self._model.training,
                torch.is_grad_enabled(),
                torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("mps"),
            )
        except TypeError:
            return None


def _described(value: object) -> Hashable:
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device, value.requires_grad
    if isinstance(value, list | tuple):
        return tuple(map(_described, value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(type(value).__name__)


def _is_eager(report: Report) -> bool:
    return bool(report.graphs) and all(map(_runs_eager, report.graphs))


def _runs_eager(graph: GraphReport) -> bool:
    choices = {graph.choice, *(each.choice for each in graph.classes.values())}
    return choices == {"eager"}

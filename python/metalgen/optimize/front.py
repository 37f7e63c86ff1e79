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
from torch._dynamo.eval_frame import OptimizedModule

from metalgen.optimize.report import GraphReport, Report

_MOST_KINDS = 1024


class FrontedModule(OptimizedModule):
    """What torch.compile makes of a module, with a `Front` as its forward.

    What PyTorch does at each call of such a module (warning of hooks, marking the thread) takes as
    long as a small operator, and is only needed where the call may be captured.
    """

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the model gives."""
        own = vars(self)
        if not (own["_forward_hooks"] or own["_forward_pre_hooks"]) and own["forward"].is_eager(
            arguments, named
        ):
            return own["_modules"]["_orig_mod"](*arguments, **named)
        return super().__call__(*arguments, **named)


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
        if self.is_eager(arguments, named):
            return self._model(*arguments, **named)
        results = self._run(*arguments, **named)
        if _is_eager(self._report) and (kind := self._kind(arguments, named)) is not None:
            if len(self._eager) >= _MOST_KINDS:
                self._eager.clear()
            self._eager.add(kind)
        return results

    def is_eager(self, arguments: Any, named: Any) -> bool:
        """Whether such a call was found to be the model's own."""
        return bool(self._eager) and self._kind(arguments, named) in self._eager

    def _kind(self, arguments: Any, named: Any) -> Hashable | None:
        """What decides where such a call runs; None where that cannot be told from outside.

        Taking one call for another costs time at most: the model itself is always right.
        """
        first = self._first
        kind: list[Hashable] = [
            None if first is None else (first.dtype, first.device),
            self._model.training,
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.is_autocast_enabled("mps"),
        ]
        try:
            for value in arguments:
                _describe(value, kind)
            for name, value in named.items():
                kind.append(name)
                _describe(value, kind)
        except TypeError:
            return None
        return tuple(kind)


def _describe(value: object, kind: list[Hashable]) -> None:
    """One list for all, without recursion for tensors: this stands before every call."""
    if isinstance(value, Tensor):
        kind += (value.shape, value.dtype, value.device, value.requires_grad)
    elif isinstance(value, list | tuple):
        kind.append(len(value))
        for each in value:
            _describe(each, kind)
    elif value is None or isinstance(value, bool | int | float | str):
        kind.append(value)
    else:
        raise TypeError(type(value).__name__)


def _is_eager(report: Report) -> bool:
    return bool(report.graphs) and all(map(_runs_eager, report.graphs))


def _runs_eager(graph: GraphReport) -> bool:
    choices = {graph.choice, *(each.choice for each in graph.classes.values())}
    return choices == {"eager"}

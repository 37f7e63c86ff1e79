"""Lets Dynamo capture recurrent modules for our models, in one graph for all lengths.

Dynamo has a switch for them, which is turned on around calls alone. To know the shape of a result
it would then run PyTorch's decomposition, a Python loop over the steps that fixes their number;
around those calls the shapes are given instead. Other users of torch.compile notice neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey

_ACTIVE: ContextVar[bool] = ContextVar("recurrent modules are allowed", default=False)
_aten = torch.ops.aten
_OPERATORS = (
    *(_aten.lstm.input, _aten.gru.input),
    *(_aten.rnn_tanh.input, _aten.rnn_relu.input),
)
_KEYS = (DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd)


def allowing() -> AbstractContextManager[Any]:
    """Around calls without gradients; those that are trained stay eager's.

    Their gradients would need a graph with every step, a new one for each length.
    """
    return nullcontext() if torch.is_grad_enabled() else _allowing()


@contextmanager
def _allowing() -> Iterator[None]:
    _give_shapes()
    token = _ACTIVE.set(True)
    try:
        with _SWITCH:
            yield
    finally:
        _ACTIVE.reset(token)


_SWITCH = torch._dynamo.config.patch(allow_rnn=True)


def result_shapes(
    x: Tensor, state: Sequence[Tensor], bidirectional: bool, batch_first: bool
) -> list[Tensor]:
    """Outputs and states as eager gives them; the time is first in memory."""
    length, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    size = state[0].shape[-1] * (2 if bidirectional else 1)
    outputs = x.new_empty((length, batch, size))
    states = [torch.empty_like(value) for value in state]
    return [outputs.transpose(0, 1) if batch_first else outputs, *states]


def _shapes_or(original: Callable[..., Any], x: Tensor, state: Any, *rest: Any) -> Any:
    if not _ACTIVE.get():
        return original(x, state, *rest)
    *_, bidirectional, batch_first = rest
    states = state if isinstance(state, list | tuple) else [state]
    return tuple(result_shapes(x, states, bidirectional, batch_first))


@functools.cache
def _give_shapes() -> None:
    """Wrap PyTorch's decompositions, once."""
    for found in _OPERATORS:
        for key in _KEYS:
            if key in found.py_kernels:
                found.py_kernels[key] = partial(_shapes_or, found.py_kernels[key])
        found._dispatch_cache.clear()

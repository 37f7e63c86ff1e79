"""Gradients of operations by the formula that PyTorch itself would differentiate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Operator(Protocol):
    """What torch.library.custom_op makes of a function."""

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """Say how gradients are found."""


def differentiate(operator: Operator, formula: Callable[..., Any]) -> None:
    """Give `operator` the derivative of `formula`, which takes its arguments and computes the same.

    The forward pass runs our kernel; the backward pass runs the formula in PyTorch, on the tensors'
    own device, and differentiates that. Only tensors and plain values may be arguments.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(i for i in inputs if isinstance(i, Tensor)))
        ctx.plain = [None if isinstance(i, Tensor) else (i,) for i in inputs]

    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        arguments = [next(saved) if plain is None else plain[0] for plain in ctx.plain]
        needed = [i for i, wanted in enumerate(ctx.needs_input_grad) if wanted]
        found = dict(zip(needed, _gradients(formula, arguments, needed, grads), strict=True))
        return tuple(found.get(i) for i in range(len(arguments)))

    operator.register_autograd(backward, setup_context=setup_context)


def _gradients(
    formula: Callable[..., Any],
    arguments: Sequence[Any],
    needed: Sequence[int],
    grads: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    leaves = list(arguments)
    for i in needed:
        leaves[i] = arguments[i].detach().requires_grad_()
    with torch.enable_grad():
        outputs = formula(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
    return torch.autograd.grad(
        [output for output, _ in pairs],
        [leaves[i] for i in needed],
        [grad for _, grad in pairs],
        allow_unused=True,
    )

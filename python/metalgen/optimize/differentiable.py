"""A compiled graph as autograd sees it: gradients by its own backward graph, theirs by eager.

AOTAutograd's graphs have a backward pass that cannot be differentiated. Where somebody asks for
that (`create_graph=True`), eager computes the graph again, on the inputs that were saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from metalgen.errors import UnsupportedError

Run = Callable[..., Any]


def differentiable(compiled: Run, eager: Run, is_pure: bool) -> Run:
    """`compiled` with gradients of gradients by `eager`, where that may be run again."""

    def run(*arguments: object) -> Any:
        return _Compiled.apply(compiled, eager if is_pure else None, *arguments)  # type: ignore[no-untyped-call]

    return run


def gradient_step(run: Run, arguments: Sequence[object]) -> None:
    """Forward and backward, as for timing: no gradient is left anywhere."""
    leaves = [_leaf(value) for value in arguments]
    with torch.enable_grad():
        outputs = run(*leaves)
    ones = [torch.ones_like(value) if _needs_gradient(value) else None for value in outputs]
    _gradients(outputs, leaves, ones)


class _Compiled(torch.autograd.Function):
    """Runs the compiled graph on leaves of its own and keeps what autograd recorded."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, compiled: Run, eager: Run | None, *arguments: object
    ) -> tuple[object, ...]:
        leaves = [_leaf(value) for value in arguments]
        with torch.enable_grad():
            outputs = tuple(compiled(*leaves))
        state: Any = ctx
        state.eager, state.leaves, state.outputs = eager, leaves, outputs
        state.plain = [None if isinstance(value, Tensor) else (value,) for value in arguments]
        ctx.save_for_backward(*(value for value in arguments if isinstance(value, Tensor)))
        results = tuple(value.detach() if isinstance(value, Tensor) else value for value in outputs)
        ctx.mark_non_differentiable(
            *(
                result
                for result, output in zip(results, outputs, strict=True)
                if isinstance(result, Tensor) and not _needs_gradient(output)
            )
        )
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            found = _by_eager(ctx, gradients)
        else:
            keep = torch._C._autograd._get_current_graph_task_keep_graph()
            found = _gradients(ctx.outputs, ctx.leaves, gradients, retain_graph=keep)
            if not keep:
                ctx.outputs = ()
        return (None, None, *found)


def _by_eager(ctx: Any, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients as part of a graph that can be differentiated again."""
    if ctx.eager is None:
        raise UnsupportedError(
            "not supported: gradients of gradients where a graph changes its inputs or draws random"
            " numbers; call the model that was given to optimize_for_metal"
        )
    saved = iter(ctx.saved_tensors)
    arguments = [next(saved) if plain is None else plain[0] for plain in ctx.plain]
    return _gradients(ctx.eager(*arguments), arguments, gradients, create_graph=True)


def _gradients(
    outputs: Sequence[object],
    inputs: Sequence[object],
    gradients: Sequence[Tensor | None],
    **options: bool,
) -> list[Tensor | None]:
    """One for each input, None where there is none."""
    pairs = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if isinstance(output, Tensor) and output.requires_grad and gradient is not None
    ]
    wanted = {
        i: value
        for i, value in enumerate(inputs)
        if isinstance(value, Tensor) and value.requires_grad
    }
    found: dict[int, Tensor | None] = {}
    if pairs and wanted:
        results = torch.autograd.grad(
            [output for output, _ in pairs],
            list(wanted.values()),
            [gradient for _, gradient in pairs],
            allow_unused=True,
            **options,
        )
        found = dict(zip(wanted, results, strict=True))
    return [found.get(i) for i in range(len(inputs))]


def _leaf(value: object) -> object:
    if not isinstance(value, Tensor):
        return value
    return value.detach().requires_grad_(value.requires_grad)


def _needs_gradient(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad

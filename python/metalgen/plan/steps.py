"""The steps of a plan with every expression evaluated, and how they run on tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor

from metalgen.errors import LaunchError, MetalgenError
from metalgen.library import Kernel, run_together
from metalgen.plan.aten import aten_value
from metalgen.plan.expression import Scope
from metalgen.plan.resolve import Geometry
from metalgen.plan.schema import AtenStep


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One launch with everything evaluated; arguments are tensors' names or ready values."""

    place: str
    kernel: Kernel
    arguments: tuple[tuple[str | None, object], ...]
    geometry: Geometry
    written: frozenset[str]

    def values(self, bound: Mapping[str, Tensor]) -> list[object]:
        """The arguments, names replaced by tensors."""
        return [value if name is None else bound[name] for name, value in self.arguments]

    @property
    def touched(self) -> set[str]:
        """Names of the tensors that it reads or writes."""
        return {name for name, _ in self.arguments if name is not None}


@dataclass(frozen=True, slots=True)
class AtenCall:
    place: str
    step: AtenStep
    operator: Callable[..., Any]
    scope: Scope


def execute(steps: Sequence[Dispatch | AtenCall], bound: dict[str, Tensor]) -> None:
    """Run the steps in their order on the tensors called by name; errors say which step failed."""
    for are_kernels, group in groupby(steps, key=lambda step: isinstance(step, Dispatch)):
        if are_kernels:
            _dispatch([step for step in group if isinstance(step, Dispatch)], bound)
            continue
        for call in group:
            try:
                _call_aten(cast(AtenCall, call), bound)
            except MetalgenError as error:
                raise _placed(call.place, error) from error


def _dispatch(steps: list[Dispatch], bound: Mapping[str, Tensor]) -> None:
    """Kernels one after another; on Apple's GPU all in one encoder."""
    together = len(steps) > 1 and any(tensor.is_mps for tensor in _tensors(steps[:1], bound))
    launches = []
    for step in steps:
        try:
            if together:
                launches.append(step.kernel.launch(*step.values(bound), **step.geometry.keywords))
            else:
                step.kernel(*step.values(bound), **step.geometry.keywords)
        except MetalgenError as error:
            raise _placed(step.place, error) from error
    if together:
        try:
            run_together("mps", launches, _waits(steps))
        except MetalgenError as error:
            raise _placed(f"{steps[0].place} to {steps[-1].place}", error) from error


def _placed(place: str, error: MetalgenError) -> MetalgenError:
    return type(error)(f"{place}: {error}")


def _tensors(steps: list[Dispatch], bound: Mapping[str, Tensor]) -> Iterator[Tensor]:
    return (bound[name] for step in steps for name, _ in step.arguments if name is not None)


def _waits(steps: list[Dispatch]) -> list[bool]:
    """Which steps use what one since the last that waited writes, or write what one uses."""
    waits = []
    read: set[str] = set()
    written: set[str] = set()
    for step in steps:
        wait = bool(step.touched & written or step.written & read)
        if wait:
            read, written = set(), set()
        read |= step.touched
        written |= step.written
        waits.append(wait)
    return waits


def _call_aten(call: AtenCall, bound: dict[str, Tensor]) -> None:
    step, place = call.step, call.place
    args = [aten_value(raw, call.scope, bound, place) for raw in step.args]
    kwargs = {name: aten_value(raw, call.scope, bound, place) for name, raw in step.kwargs.items()}
    try:
        result = call.operator(*args, **kwargs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise LaunchError(f"aten '{step.aten}' raised {str(error).splitlines()[0]}") from None
    results = result if isinstance(result, list | tuple) else [result]
    if len(results) != len(step.results):
        raise LaunchError(f"aten '{step.aten}' gives {len(results)} results, 'out' names others")
    for name, value in zip(step.results, results, strict=True):
        bound[name] = _as_declared(name, value, bound[name], step.aten)


def _as_declared(name: str, value: object, declared: Tensor, operator: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise LaunchError(f"aten '{operator}' gives {type(value).__name__}, not a tensor")
    if value.shape != declared.shape or value.dtype != declared.dtype:
        raise LaunchError(
            f"aten '{operator}' gives {list(value.shape)} of {value.dtype}, but '{name}' is"
            f" declared {list(declared.shape)} of {declared.dtype}"
        )
    # A view of an input must not become writable memory for a later kernel.
    return (
        value.clone(memory_format=torch.contiguous_format)
        if value._is_view()
        else (value.contiguous())
    )

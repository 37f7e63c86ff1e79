"""Run a checked plan: allocate what it declares, dispatch its steps, return its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metalgen.air import KernelInfo
from metalgen.errors import LaunchError, PlanError
from metalgen.library import Library
from metalgen.plan.aten import aten_operator
from metalgen.plan.check import (
    Names,
    check_group_size,
    check_plan,
    known_names,
    written_names,
)
from metalgen.plan.constants import Constant, Struct
from metalgen.plan.expression import Scope, TensorType
from metalgen.plan.resolve import resolve_allocations, resolve_geometry
from metalgen.plan.schema import AtenStep, KernelStep, LaunchPlan, TensorArgument
from metalgen.plan.steps import AtenCall, Dispatch, execute

Bindable = Tensor | bool | int | float
# Sets of input shapes that a plan is kept evaluated for; a sequence that grows has ever new ones.
MOST_PREPARED = 256
Allocate = Callable[[str, tuple[int, ...], torch.dtype, torch.device], Tensor]


def allocate_uninitialised(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Memory as it comes, whatever the tensor's name."""
    return torch.empty(shape, dtype=dtype, device=device)


@dataclass(frozen=True)
class CompiledPlan:
    """A plan that fits its kernels and its module's names; `bind` makes it runnable."""

    plan: LaunchPlan
    kernels: Mapping[str, KernelInfo]
    names: Names

    def bind(
        self,
        library: Library,
        parameters: Mapping[str, Tensor],
        device: torch.device | None = None,
    ) -> BoundPlan:
        """Join it with the library that holds its kernels and the module's parameters.

        `device` says where it runs if no input and no parameter is a tensor.
        """
        return BoundPlan(self, library, dict(parameters), device=device)


def compile_plan(
    plan: LaunchPlan,
    kernels: Mapping[str, KernelInfo],
    *,
    inputs: tuple[str, ...] | list[str],
    parameters: tuple[str, ...] | list[str] = (),
    allow_aten: bool = True,
) -> CompiledPlan:
    """Check the plan against its kernels and names; PlanError says what does not fit, and where."""
    names = known_names(inputs, parameters)
    check_plan(plan, kernels, names, allow_aten=allow_aten)
    return CompiledPlan(plan, kernels, names)


def kernels_of(library: Library) -> dict[str, KernelInfo]:
    """What a library's metallib says about each kernel."""
    return {name: library.kernel(name).info for name in library.names}


def run_plan(
    plan: LaunchPlan, library: Library, tensors: Mapping[str, Bindable]
) -> dict[str, Tensor]:
    """Check and run a plan once; whoever repeats it keeps the bound plan instead."""
    compiled = compile_plan(plan, kernels_of(library), inputs=tuple(tensors))
    return compiled.bind(library, {}).run(tensors)


@dataclass(frozen=True, slots=True)
class _Allocation:
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    fill: int | float | None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A plan with every expression evaluated for one set of input shapes."""

    allocations: tuple[_Allocation, ...]
    lasting: tuple[_Allocation, ...]
    steps: tuple[Dispatch | AtenCall, ...]
    once: tuple[Dispatch | AtenCall, ...]


@dataclass
class BoundPlan:
    """A runnable plan: call it with the module's inputs, as the module itself.

    Expressions are evaluated once per set of input shapes, steps marked `once` again whenever a
    parameter was changed or replaced. Inputs must be on one device; those that are not contiguous
    are copied first.
    """

    compiled: CompiledPlan
    library: Library
    parameters: dict[str, Tensor]
    allocate: Allocate = allocate_uninitialised
    device: torch.device | None = None  # where no input and no parameter is a tensor
    _prepared: dict[tuple[object, ...], _Prepared] = field(default_factory=dict)
    _state: tuple[object, ...] | None = None
    _constant: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, *inputs: Bindable) -> Tensor | tuple[Tensor, ...]:
        """The outputs for inputs in `forward`'s order, lists flattened; a tuple if several."""
        names = self.compiled.names.inputs
        if len(inputs) != len(names):
            raise LaunchError(f"the plan takes {len(names)} inputs ({', '.join(names)})")
        outputs = tuple(self.run(dict(zip(names, inputs, strict=True))).values())
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, inputs: Mapping[str, Bindable]) -> dict[str, Tensor]:
        """The outputs by name, in the order declared."""
        key = tuple(_key(value) for value in inputs.values())
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared = {}
            prepared = self._prepared[key] = self._prepare(inputs)
        device = self._device(inputs)
        self._refresh(prepared, device)
        bound = dict(self._constant)
        for name, value in inputs.items():
            if isinstance(value, Tensor):
                bound[name] = value if value.is_contiguous() else value.contiguous()
        self._allocate(prepared.allocations, bound, device)
        execute(prepared.steps, bound)
        return {name: bound[name] for name in self.compiled.plan.outputs}

    def _device(self, inputs: Mapping[str, Bindable]) -> torch.device:
        for value in (*inputs.values(), *self.parameters.values()):
            if isinstance(value, Tensor):
                return value.device
        if self.device is None:
            raise LaunchError("no input is a tensor, so there is no device to run on")
        return self.device

    def _refresh(self, prepared: _Prepared, device: torch.device) -> None:
        """Redo what depends on parameters alone, if any parameter changed since."""
        state = tuple((id(each), writes_to(each)) for each in self.parameters.values())
        if state == self._state:
            return
        constant = {name: value.contiguous() for name, value in self.parameters.items()}
        self._allocate(prepared.lasting, constant, device)
        execute(prepared.once, constant)
        self._constant, self._state = constant, state

    def _allocate(
        self, wanted: tuple[_Allocation, ...], bound: dict[str, Tensor], device: torch.device
    ) -> None:
        for allocation in wanted:
            try:
                tensor = self.allocate(allocation.name, allocation.shape, allocation.dtype, device)
            except (RuntimeError, MemoryError) as error:
                raise PlanError(
                    f"'{allocation.name}': cannot allocate {list(allocation.shape)} of"
                    f" {allocation.dtype}: {str(error).splitlines()[0]}"
                ) from None
            if allocation.fill is not None:
                tensor.fill_(allocation.fill)
            bound[allocation.name] = tensor

    def _prepare(self, inputs: Mapping[str, Bindable]) -> _Prepared:
        compiled = self.compiled
        scope: dict[str, TensorType | int | float] = {
            name: _described(value) for name, value in {**self.parameters, **inputs}.items()
        }
        scope.update(resolve_allocations(compiled.plan, scope))
        lasting = {
            name
            for step in compiled.plan.steps
            if step.once
            for name in written_names(step, compiled.kernels)
        }
        allocations = [
            _Allocation(name, kind.shape, getattr(torch, kind.dtype), allocation.fill)
            for name, allocation in compiled.plan.allocations.items()
            if isinstance(kind := scope[name], TensorType)
        ]
        steps = [
            (step.once, self._prepare_step(step, scope, f"steps[{index}]"))
            for index, step in enumerate(compiled.plan.steps)
        ]
        return _Prepared(
            allocations=tuple(a for a in allocations if a.name not in lasting),
            lasting=tuple(a for a in allocations if a.name in lasting),
            steps=tuple(s for once, s in steps if s is not None and not once),
            once=tuple(s for once, s in steps if s is not None and once),
        )

    def _prepare_step(
        self, step: KernelStep | AtenStep, scope: Scope, place: str
    ) -> Dispatch | AtenCall | None:
        """The step evaluated; None where its grid is empty, so that there is nothing to launch."""
        if isinstance(step, AtenStep):
            return AtenCall(place, step, aten_operator(step.aten, place), scope)
        geometry = resolve_geometry(step, scope, place)
        if geometry.group_size is not None:
            info = self.compiled.kernels[step.kernel]
            check_group_size(list(geometry.group_size), info, place)
        if geometry.is_empty:
            return None
        arguments = tuple(_arguments(step, scope, place))
        written = frozenset(written_names(step, self.compiled.kernels))
        return Dispatch(place, self.library.kernel(step.kernel), arguments, geometry, written)


def _arguments(step: KernelStep, scope: Scope, place: str) -> Iterator[tuple[str | None, object]]:
    for position, argument in enumerate(step.args):
        if isinstance(argument, TensorArgument):
            yield argument.name, None
            continue
        try:
            yield None, _value(argument.value, scope)
        except PlanError as error:
            raise PlanError(f"{place}.args[{position}]: {error}") from None


def _value(value: Constant | Struct, scope: Scope) -> bytes | int | float:
    """Bytes, or for plain numbers the number: the library converts it to the declared type."""
    packed = value.pack(scope)  # for numbers too: it checks their range
    if isinstance(value, Constant) and value.is_scalar:
        return value.numbers(scope)[0]
    return packed


def _key(value: Bindable) -> object:
    return (value.shape, value.dtype) if isinstance(value, Tensor) else (type(value), value)


def writes_to(tensor: Tensor) -> int:
    """A number that grows with each write in place; 0 always for those of inference mode."""
    return 0 if tensor.is_inference() else tensor._version


def _described(value: Bindable) -> TensorType | int | float:
    if isinstance(value, Tensor):
        return TensorType(tuple(value.shape), str(value.dtype).removeprefix("torch."))
    return value

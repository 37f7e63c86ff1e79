"""From a launch plan and its tensors' shapes to its dispatches: sizes, buffers, scalars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from metalgen.air import KernelInfo
from metalgen.errors import PlanError
from metalgen.library.function_constants import Constants
from metalgen.library.launch_geometry import launch_geometry
from metalgen.library.parameter import parameter_of
from metalgen.plan.expression import Scope, TensorType
from metalgen.plan.resolve import resolve_allocations, resolve_geometry
from metalgen.plan.schema import AtenStep, KernelStep, LaunchPlan, TensorArgument

_BYTES = {"float32": 4, "int32": 4, "uint32": 4, "float16": 2, "bfloat16": 2, "int16": 2}
_BYTES |= {"uint16": 2, "int64": 8, "uint64": 8, "int8": 1, "uint8": 1, "bool": 1}

Extent = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Buffer:
    """What is bound to a buffer index: a tensor of so many bytes, or a value's own bytes."""

    argument: str  # the kernel's name for it
    name: str  # the plan's
    size: int  # bytes
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """One dispatch of a kernel."""

    kernel: str
    grid: Extent  # in threads
    group_size: Extent
    groups: Extent
    buffers: Mapping[int, Buffer]
    threadgroup_memory: int  # bytes given at launch
    constants: Constants
    is_once: bool = False

    @property
    def threadgroups(self) -> int:
        """How many threadgroups there are."""
        x, y, z = self.groups
        return x * y * z

    @property
    def threads_per_threadgroup(self) -> int:
        """Threads of a whole threadgroup."""
        x, y, z = self.group_size
        return x * y * z


def launches(
    plan: LaunchPlan, kernels: Mapping[str, KernelInfo], sizes: Scope
) -> tuple[Launch, ...]:
    """The plan's dispatches in order, ATen steps and empty grids left out.

    `sizes` has the shape and dtype of every input and parameter, and integer inputs' values.
    Raises PlanError where an expression does not hold for them.
    """
    scope = {**sizes, **resolve_allocations(plan, sizes)}
    found = []
    for index, step in enumerate(plan.steps):
        if isinstance(step, AtenStep):
            continue
        launch = _launch(step, kernels, scope, f"steps[{index}]")
        if launch is not None:
            found.append(launch)
    return tuple(found)


def _launch(
    step: KernelStep, kernels: Mapping[str, KernelInfo], scope: Scope, place: str
) -> Launch | None:
    if step.kernel not in kernels:
        raise PlanError(f"{place}: no kernel '{step.kernel}'; there are {', '.join(kernels)}")
    info = kernels[step.kernel]
    resolved = resolve_geometry(step, scope, place)
    if resolved.is_empty:
        return None
    keywords = resolved.keywords
    geometry = launch_geometry(
        keywords.get("threads"),
        keywords.get("threadgroups"),
        keywords.get("group_size"),
        info.max_total_threads or 1024,
    )
    return Launch(
        kernel=step.kernel,
        grid=_extent(geometry.grid),
        group_size=_extent(geometry.group_size),
        groups=_extent(geometry.groups),
        buffers=_buffers(step, info, scope, place),
        threadgroup_memory=sum(keywords.get("threadgroup_memory", {}).values()),
        constants=keywords.get("constants", {}),
        is_once=step.once,
    )


def _extent(sizes: list[int]) -> Extent:
    x, y, z = sizes
    return x, y, z


def _buffers(step: KernelStep, info: KernelInfo, scope: Scope, place: str) -> dict[int, Buffer]:
    """By index; scalars in the form that the kernel declares."""

    def index(argument: object) -> int:
        return getattr(argument, "index", 0) or 0

    ordered = sorted(info.buffers, key=index)
    parameters = [parameter_of(list(same)) for _, same in groupby(ordered, key=index)]
    if len(parameters) != len(step.args):
        raise PlanError(f"{place}: {len(step.args)} arguments for {len(parameters)} buffers")
    found: dict[int, Buffer] = {}
    for parameter, argument in zip(parameters, step.args, strict=True):
        if isinstance(argument, TensorArgument):
            size = _tensor_bytes(argument.name, scope)
            found[parameter.index] = Buffer(parameter.name, argument.name, size)
            continue
        value = argument.value
        packed = value.pack(scope)
        is_scalar = getattr(value, "is_scalar", False)
        given = value.numbers(scope)[0] if is_scalar else packed  # type: ignore[union-attr]
        source = parameter.source_of(given) or packed
        found[parameter.index] = Buffer(parameter.name, "", len(source), source)
    return found


def _tensor_bytes(name: str, scope: Scope) -> int:
    kind = scope.get(name)
    if not isinstance(kind, TensorType):
        return 8
    total = _BYTES.get(kind.dtype, 4)
    for size in kind.shape:
        total *= size
    return total

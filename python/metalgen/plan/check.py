"""Does a plan fit its kernels and the module's names? All that can be known before a launch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from metalgen.air import Argument, KernelInfo
from metalgen.errors import PlanError
from metalgen.plan.aten import check_aten_step
from metalgen.plan.constants import ALIASES, FLOATS, SCALARS, Constant, Struct, parse_constant
from metalgen.plan.expression import Expression
from metalgen.plan.schema import (
    Allocation,
    AtenStep,
    ConstantArgument,
    KernelStep,
    LaunchPlan,
    Step,
    TensorArgument,
)

MAX_GROUP_THREADS = 1024
MAX_THREADGROUP_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Names:
    """What a plan may refer to besides what it declares itself."""

    inputs: tuple[str, ...]
    parameters: frozenset[str]


def check_plan(
    plan: LaunchPlan, kernels: Mapping[str, KernelInfo], names: Names, *, allow_aten: bool
) -> None:
    """Raise PlanError for the first thing in the plan that cannot work."""
    given = {*names.inputs, *names.parameters}
    for name in plan.allocations:
        if name in given:
            raise PlanError(f"'{name}' is already the name of an input or parameter; rename it")
    for place, allocation in _placed_allocations(plan):
        _check_names(allocation.names, plan, names, place)
    for index, step in enumerate(plan.steps):
        place = f"steps[{index}]"
        if isinstance(step, AtenStep):
            if not allow_aten:
                raise PlanError(f"{place}: this run allows no ATen operators; use a kernel")
            check_aten_step(step, plan.allocations, place)
        _check_names(step_names(step), plan, names, place)
        if isinstance(step, KernelStep):
            _check_kernel_step(step, kernels, plan, place)
    _check_every_output_is_written(plan, kernels)
    _check_once(plan, kernels, names)


def _placed_allocations(plan: LaunchPlan) -> Iterator[tuple[str, Allocation]]:
    for kind, group in (("buffers", plan.buffers), ("outputs", plan.outputs)):
        for name, allocation in group.items():
            yield f"{kind}.{name}", allocation


def step_names(step: Step) -> set[str]:
    """Every name a step refers to."""
    if isinstance(step, AtenStep):
        return {*_aten_names([*step.args, *step.kwargs.values()]), *step.results}
    names = {arg.name for arg in step.args if isinstance(arg, TensorArgument)}
    for argument in step.args:
        if isinstance(argument, ConstantArgument):
            names |= argument.value.names
    for expression in _step_expressions(step):
        names |= expression.names
    return names


def _aten_names(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _aten_names(value)
        elif isinstance(value, dict):
            yield from parse_constant(value).names


def _step_expressions(step: KernelStep) -> Iterator[Expression]:
    for extent in (step.threads, step.threadgroups, step.group_size):
        yield from extent or ()
    yield from step.threadgroup_memory.values()
    yield from (value for value in step.constants.values() if isinstance(value, Expression))


def _check_names(used: set[str], plan: LaunchPlan, names: Names, place: str) -> None:
    known = {*names.inputs, *names.parameters, *plan.allocations}
    if unknown := sorted(used - known):
        raise PlanError(
            f"{place}: unknown name '{unknown[0]}'; known names: {', '.join(sorted(known))}"
        )


def _check_kernel_step(
    step: KernelStep, kernels: Mapping[str, KernelInfo], plan: LaunchPlan, place: str
) -> None:
    info = kernels.get(step.kernel)
    if info is None:
        raise PlanError(
            f"{place}: no kernel '{step.kernel}' in the source; it has {', '.join(kernels)}"
        )
    expected = parameters_of(info)
    if len(step.args) != len(expected):
        raise PlanError(
            f"{place}: kernel '{step.kernel}' takes {len(expected)} arguments"
            f" ({', '.join(_declared(argument) for argument in expected)}), found {len(step.args)}"
        )
    for position, (argument, declared) in enumerate(zip(step.args, expected, strict=True)):
        _check_argument(argument, declared, plan, f"{place}.args[{position}]")
    _check_geometry(step, info, place)
    _check_threadgroup_memory(step, info, place)
    _check_constants(step, info, place)


def _declared(argument: Argument) -> str:
    """The argument as its source declares it, near enough."""
    const = "const " if argument.address_space == "device" and argument.access == "read" else ""
    mark = "&" if argument.is_reference else "*"
    return f"{argument.address_space} {const}{argument.type_name}{mark} {argument.name}"


def parameters_of(info: KernelInfo) -> tuple[Argument, ...]:
    """What a step gives arguments for: a kernel's buffers in the order of their indices.

    Function constants may choose among several declarations of one index; the one that may write
    stands for them all.
    """
    by_index: dict[int, Argument] = {}
    for argument in info.buffers:
        known = by_index.get(argument.index or 0)
        if known is None or (may_write(argument) and not may_write(known)):
            by_index[argument.index or 0] = argument
    return tuple(by_index[index] for index in sorted(by_index))


def may_write(argument: Argument) -> bool:
    """Whether the kernel may write what the argument points to."""
    return argument.address_space == "device" and argument.access != "read"


def _check_argument(
    argument: TensorArgument | ConstantArgument, declared: Argument, plan: LaunchPlan, place: str
) -> None:
    if isinstance(argument, ConstantArgument):
        _check_constant(argument.value, declared, place)
    elif may_write(declared) and argument.name not in plan.allocations:
        raise PlanError(
            f"{place}: '{_declared(declared)}' may be written, but '{argument.name}' is an input or"
            f" parameter; declare the argument 'device const {declared.type_name}*'"
        )


def _check_constant(value: Constant | Struct, declared: Argument, place: str) -> None:
    if may_write(declared):
        raise PlanError(f"{place}: '{_declared(declared)}' needs a tensor's name, found a value")
    if isinstance(value, Constant) and value.is_scalar and declared.is_reference:
        _check_scalar(value, declared, place)
    elif declared.is_reference and declared.type_size and value.size != declared.type_size:
        raise PlanError(
            f"{place}: '{_declared(declared)}' takes {declared.type_size} bytes, the value has"
            f" {value.size}"
        )


def _check_scalar(value: Constant, declared: Argument, place: str) -> None:
    """A whole number may be given for any integer type, a real one for any floating type."""
    wanted = ALIASES.get(declared.type_name, declared.type_name)
    found = value.type.scalar
    if wanted not in SCALARS or (wanted in FLOATS) != (found in FLOATS):
        raise PlanError(f"{place}: '{_declared(declared)}' takes {wanted}, found {found}")


def _check_geometry(step: KernelStep, info: KernelInfo, place: str) -> None:
    for extent in (step.threads, step.threadgroups, step.group_size):
        for size in extent or ():
            if size.constant is not None and size.constant < 0:
                raise PlanError(f"{place}: the launch geometry has a negative size, {size}")
    group = [size.constant for size in step.group_size or ()]
    check_group_size([size for size in group if size is not None], info, place)


def check_group_size(group: list[int], info: KernelInfo, place: str) -> None:
    """PlanError where a threadgroup is empty or larger than the kernel or Metal allows."""
    limit = min(MAX_GROUP_THREADS, info.max_total_threads or MAX_GROUP_THREADS)
    if any(size < 1 for size in group):
        raise PlanError(f"{place}.group_size: {group} has a size below 1")
    if prod(group) > limit:
        raise PlanError(
            f"{place}.group_size: {group} has {prod(group)} threads, at most {limit} allowed"
        )


def _check_threadgroup_memory(step: KernelStep, info: KernelInfo, place: str) -> None:
    declared = {str(a.index) for a in info.arguments if a.kind == "threadgroup"}
    if declared != step.threadgroup_memory.keys():
        raise PlanError(
            f"{place}.threadgroup_memory: kernel '{info.name}' has threadgroup arguments"
            f" {sorted(declared) or 'none'}, the plan gives {sorted(step.threadgroup_memory)}"
        )
    asked = [size.constant or 0 for size in step.threadgroup_memory.values()]
    if (total := info.threadgroup_bytes + sum(asked)) > MAX_THREADGROUP_BYTES:
        raise PlanError(
            f"{place}: kernel '{info.name}' needs {total} bytes of threadgroup memory, at most"
            f" {MAX_THREADGROUP_BYTES} allowed"
        )


def _check_constants(step: KernelStep, info: KernelInfo, place: str) -> None:
    known = {c.name for c in info.constants} | {str(c.index) for c in info.constants}
    if unknown := sorted(step.constants.keys() - known):
        raise PlanError(
            f"{place}.constants: kernel '{info.name}' has no function constant '{unknown[0]}'; it"
            f" has {', '.join(c.name for c in info.constants) or 'none'}"
        )


def written_names(step: Step, kernels: Mapping[str, KernelInfo]) -> set[str]:
    """Names of the tensors a step may write."""
    if isinstance(step, AtenStep):
        return set(step.results)
    pairs = zip(step.args, parameters_of(kernels[step.kernel]), strict=True)
    return {
        argument.name
        for argument, declared in pairs
        if isinstance(argument, TensorArgument) and may_write(declared)
    }


def _check_every_output_is_written(plan: LaunchPlan, kernels: Mapping[str, KernelInfo]) -> None:
    written = {name for step in plan.steps for name in written_names(step, kernels)}
    for name in plan.outputs:
        if name not in written:
            raise PlanError(f"outputs.{name}: no step writes it")


def _check_once(plan: LaunchPlan, kernels: Mapping[str, KernelInfo], names: Names) -> None:
    """Steps marked once must depend on parameters alone, and theirs must be all that they write."""
    once = [step for step in plan.steps if step.once]
    lasting = {name for step in once for name in written_names(step, kernels)}
    for index, step in enumerate(plan.steps):
        place = f"steps[{index}]"
        if not step.once:
            if both := sorted(written_names(step, kernels) & lasting):
                raise PlanError(
                    f"{place}: writes '{both[0]}', which a step marked once writes as well"
                )
            continue
        if outside := sorted(step_names(step) - names.parameters - lasting):
            raise PlanError(
                f"{place}: marked once, but '{outside[0]}' is neither a parameter nor written by"
                f" steps marked once"
            )
        if outputs := sorted(written_names(step, kernels) & plan.outputs.keys()):
            raise PlanError(f"{place}: marked once, but writes the output '{outputs[0]}'")
    for name in sorted(lasting):
        needed = plan.buffers[name].names
        if outside := sorted(needed - names.parameters - lasting):
            raise PlanError(
                f"buffers.{name}: written by a step marked once, but its size needs '{outside[0]}'"
            )


def known_names(inputs: Collection[str], parameters: Collection[str]) -> Names:
    """Names from a module's inputs (in forward's order) and its parameters."""
    return Names(tuple(inputs), frozenset(parameters))

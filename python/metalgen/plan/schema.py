"""The launch plan's form: what to allocate, what to launch, with which arguments, as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationError,
    model_validator,
)

from metalgen.errors import PlanError
from metalgen.plan.constants import Constant, Struct, parse_constant
from metalgen.plan.expression import Expression, parse_expression

# Metal has no 64-bit float, so a plan cannot declare one.
FLOAT_DTYPES = ("float32", "float16", "bfloat16")
INTEGER_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*FLOAT_DTYPES, *INTEGER_DTYPES, "bool")
MAX_ENTRIES = 256


class TensorArgument(BaseModel):
    """A tensor, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str


class ConstantArgument(BaseModel):
    """A value for a `constant` argument, kept with the JSON it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    raw: dict[str, Any]
    value: Constant | Struct


def _expression(raw: object) -> Expression:
    if isinstance(raw, Expression):
        return raw
    try:
        return parse_expression(raw)
    except PlanError as error:
        raise ValueError(str(error)) from None


def _extent(raw: object) -> tuple[Expression, ...]:
    sizes = list(raw) if isinstance(raw, list | tuple) else [raw]
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"expected one to three sizes, found {len(sizes)}")
    return tuple(_expression(size) for size in sizes)


def _shape(raw: object) -> tuple[Expression, ...] | str:
    if isinstance(raw, str) and raw.endswith(".shape"):
        return raw
    if not isinstance(raw, list | tuple):
        raise ValueError(f"expected a list of sizes or 'name.shape', found {raw!r}")
    return tuple(_expression(size) for size in raw)


def _dtype(raw: object) -> str:
    if isinstance(raw, str):
        bare = raw.removeprefix("torch.")
        if bare in DTYPES or (bare.endswith(".dtype") and bare != ".dtype"):
            return bare
    raise ValueError(f"expected 'name.dtype' or one of {', '.join(DTYPES)}, found {raw!r}")


def _argument(raw: object) -> TensorArgument | ConstantArgument:
    if isinstance(raw, TensorArgument | ConstantArgument):
        return raw
    if isinstance(raw, str):
        return TensorArgument(name=raw)
    if isinstance(raw, dict):
        try:
            return ConstantArgument(raw=raw, value=parse_constant(raw))
        except PlanError as error:
            raise ValueError(str(error)) from None
    raise ValueError(
        f'expected a tensor\'s name or a typed value such as {{"uint": 4}}, found {raw!r}'
    )


def _constant_value(raw: object) -> Expression | float:
    if isinstance(raw, bool):
        return _expression(int(raw))
    return raw if isinstance(raw, float) else _expression(raw)


def _plain(value: object) -> object:
    """The JSON that a parsed value came from."""
    match value:
        case Expression():
            return value.text
        case tuple():
            return [_plain(item) for item in value]
        case TensorArgument():
            return value.name
        case ConstantArgument():
            return value.raw
        case _:
            return value


_Plain = PlainSerializer(_plain)
Extent = Annotated[tuple[Expression, ...], PlainValidator(_extent), _Plain]
Shape = Annotated[tuple[Expression, ...] | str, PlainValidator(_shape), _Plain]
DType = Annotated[str, PlainValidator(_dtype)]
Argument = Annotated[TensorArgument | ConstantArgument, PlainValidator(_argument), _Plain]
Size = Annotated[Expression, PlainValidator(_expression), _Plain]
ConstantValue = Annotated[Expression | float, PlainValidator(_constant_value), _Plain]


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )


class Allocation(_Strict):
    """A tensor that the harness allocates: uninitialised, or filled before the first step."""

    dtype: DType
    shape: Shape
    fill: int | float | None = None

    @property
    def names(self) -> set[str]:
        """Names that the shape and dtype need."""
        if isinstance(self.shape, str):
            names = {self.shape.removesuffix(".shape")}
        else:
            names = {name for size in self.shape for name in size.names}
        if self.dtype.endswith(".dtype"):
            names.add(self.dtype.removesuffix(".dtype"))
        return names


class KernelStep(_Strict):
    """One dispatch, as Metal's dispatchThreads (`threads`) or dispatchThreadgroups has it."""

    kernel: str
    args: tuple[Argument, ...] = Field(max_length=31, strict=False)
    threads: Extent | None = None
    threadgroups: Extent | None = None
    group_size: Extent | None = None
    threadgroup_memory: dict[str, Size] = {}
    constants: dict[str, ConstantValue] = {}
    once: bool = False

    @model_validator(mode="after")
    def _one_geometry(self) -> KernelStep:
        if (self.threads is None) == (self.threadgroups is None):
            raise ValueError("expected either threads or threadgroups, and not both")
        if self.threadgroups is not None and self.group_size is None:
            raise ValueError("expected group_size beside threadgroups")
        return self


class AtenStep(_Strict):
    """One call of a functional ATen operator, which runs are free to forbid."""

    aten: str
    args: tuple[Any, ...] = Field(default=(), max_length=32, strict=False)
    kwargs: dict[str, Any] = {}
    out: str | Annotated[tuple[str, ...], Field(strict=False)]
    once: bool = False

    @property
    def results(self) -> tuple[str, ...]:
        """Names its results are bound to."""
        return (self.out,) if isinstance(self.out, str) else self.out


Step = KernelStep | AtenStep


def _kind_of_step(raw: object) -> str | None:
    if isinstance(raw, dict) and ("kernel" in raw) != ("aten" in raw):
        return _KERNEL if "kernel" in raw else _ATEN
    if isinstance(raw, KernelStep):
        return _KERNEL
    return _ATEN if isinstance(raw, AtenStep) else None


# Tags of the union below; pydantic puts them into the places of errors, whose readers want none.
_KERNEL, _ATEN = "<kernel>", "<aten>"
_TaggedStep = Annotated[
    Annotated[KernelStep, Tag(_KERNEL)] | Annotated[AtenStep, Tag(_ATEN)],
    Discriminator(
        _kind_of_step,
        custom_error_type="step",
        custom_error_message='expected an object with either "kernel" or "aten"',
    ),
]


class LaunchPlan(_Strict):
    """What the harness does for a candidate: allocate, launch, return the outputs in order."""

    buffers: dict[str, Allocation] = Field(default={}, max_length=MAX_ENTRIES)
    outputs: dict[str, Allocation] = Field(min_length=1, max_length=MAX_ENTRIES)
    steps: Annotated[
        tuple[_TaggedStep, ...],
        Field(min_length=1, max_length=MAX_ENTRIES, strict=False),
    ]

    @model_validator(mode="after")
    def _distinct_names(self) -> LaunchPlan:
        if twice := sorted(self.buffers.keys() & self.outputs.keys()):
            raise ValueError(f"'{twice[0]}' is both a buffer and an output")
        return self

    @property
    def allocations(self) -> Mapping[str, Allocation]:
        """Buffers and outputs by name."""
        return {**self.buffers, **self.outputs}

    @property
    def aten_steps(self) -> tuple[AtenStep, ...]:
        """Steps that call an ATen operator instead of a kernel."""
        return tuple(step for step in self.steps if isinstance(step, AtenStep))


def parse_plan(raw: str | bytes | Mapping[str, Any]) -> LaunchPlan:
    """Read a plan from JSON or from its objects; PlanError names each faulty place."""
    if isinstance(raw, str | bytes):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise PlanError(f"the launch plan is not valid JSON: {error}") from None
    try:
        return LaunchPlan.model_validate(raw)
    except ValidationError as error:
        raise PlanError("; ".join(_worded(error))) from None


def _worded(error: ValidationError) -> Iterable[str]:
    """At most five faults, each as `where: what was expected`."""
    faults = [
        fault
        for fault in error.errors(include_url=False, include_context=False)
        # A list whose items failed is not too short: the items' own faults are named.
        if fault["type"] != "too_short" or not fault["input"]
    ]
    for fault in faults[:5]:
        where = _place(fault["loc"])
        message = _message(fault["type"], fault["msg"])
        yield f"{where}: {message}" if where else message
    if len(faults) > 5:
        yield f"and {len(faults) - 5} more"


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        if part in (_KERNEL, _ATEN):
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place


def _message(kind: str, message: str) -> str:
    if kind == "missing":
        return "required but missing"
    if kind == "extra_forbidden":
        return "unknown key"
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]

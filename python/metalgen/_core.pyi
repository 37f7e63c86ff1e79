# Types of the native core, src/bindings/module.cpp.
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

Extent = tuple[int, int, int]

# Unbound, an address or buffer handle, a handle with a byte offset, or bytes to copy.
Source = int | tuple[int, int] | bytes | None

class NativeKernel(Protocol):
    @property
    def address(self) -> int: ...
    @property
    def threadgroup_bytes(self) -> int: ...
    @property
    def is_quick(self) -> bool: ...

# Takes better code for what was translated, later and from any thread.
Improve = Callable[[NativeKernel], None]
Translate = Callable[
    [str, list[FunctionConstant], Literal["any", "rows", "full"], Improve], NativeKernel
]

Scalar = bool | int | float

class FunctionConstant:
    def __init__(self, index: int, type_name: str, value: Scalar | Sequence[Scalar]) -> None: ...
    @property
    def index(self) -> int: ...
    @property
    def type_name(self) -> str: ...
    @property
    def value(self) -> Scalar | tuple[Scalar, ...]: ...

class Geometry:
    @staticmethod
    def of_threads(threads: Extent, group_size: Extent) -> Geometry: ...
    @staticmethod
    def of_threadgroups(groups: Extent, group_size: Extent) -> Geometry: ...
    @property
    def grid(self) -> list[int]: ...
    @property
    def group_size(self) -> list[int]: ...
    @property
    def groups(self) -> list[int]: ...

class Pipeline:
    @property
    def max_total_threads(self) -> int: ...
    def dispatch(
        self,
        sources: tuple[Source, ...],
        geometry: Geometry,
        threadgroup_memory: tuple[tuple[int, int], ...] = (),
    ) -> None: ...

class QuickParameter:
    def __init__(
        self,
        *,
        index: int,
        dtypes: frozenset[Any],
        misalignment: int,
        number: str,
        tensors: bool,
    ) -> None: ...

class Launch: ...

class Signature:
    def __init__(
        self,
        parameters: Sequence[QuickParameter],
        tensor_types: tuple[type, ...],
        resolve: Callable[[int, Any, Any, Any], Source],
    ) -> None: ...
    def dispatch(
        self,
        pipeline: Pipeline,
        arguments: tuple[object, ...],
        device: str,
        casts: object,
        geometry: Geometry,
        threadgroup_memory: tuple[tuple[int, int], ...],
    ) -> None: ...
    def launch(
        self,
        pipeline: Pipeline,
        arguments: tuple[object, ...],
        device: str,
        casts: object,
        geometry: Geometry,
        threadgroup_memory: tuple[tuple[int, int], ...],
    ) -> Launch: ...

class Library:
    def pipeline(self, kernel: str, constants: Sequence[FunctionConstant] = ()) -> Pipeline: ...

class Buffer:
    @property
    def handle(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Device:
    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    def wrap(self, address: int, bytes: int) -> Buffer: ...
    def allocate(self, bytes: int) -> Buffer: ...
    def load(self, metallib: bytes, translate: Translate) -> Library: ...
    def run(self, launches: Sequence[Launch], waits: Sequence[bool]) -> None: ...
    def time(self, work: Callable[[], object]) -> tuple[float, float]: ...
    def synchronize(self) -> None: ...

def software_device(threads: int) -> Device: ...
def has_apple_device() -> bool: ...
def apple_device(torch_library: str) -> Device: ...

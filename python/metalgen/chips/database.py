"""The chips that metalgen knows, from chips.json: every figure with its source, unknown ones None.

Nothing is filled in: a figure that no source gives is None here too. What a prediction has to
assume instead it says itself, in `Estimate.notes`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from metalgen.errors import UnsupportedError

_FILE = Path(__file__).with_name("chips.json")

Value = TypeVar("Value")


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Frozen):
    """Who says so: Apple, someone who measured, or someone who repeats others."""

    kind: Literal["apple", "measured", "second hand"]
    title: str


class Figure(_Frozen, Generic[Value]):
    """A value and the key of its source."""

    value: Value
    source: str


def _pair(given: Any) -> Any:
    """A figure as the file writes it: [value, source]."""
    return {"value": given[0], "source": given[1]} if isinstance(given, list) else given


Number = Annotated[Figure[float], BeforeValidator(_pair)]
Whole = Annotated[Figure[int], BeforeValidator(_pair)]
Cores = Annotated[Figure[tuple[int, ...]], BeforeValidator(_pair)]
Truth = Annotated[Figure[bool], BeforeValidator(_pair)]


class Family(_Frozen):
    """A GPU family of Metal's; rates are FLOPs of one core in one cycle, a multiply-add being 2."""

    name: str
    of: str
    threadgroup_bytes: Whole | None
    threads: Whole | None
    simdgroup_matrix: Truth
    bfloat: Truth
    tensor_ops: Truth
    fp32_per_cycle: Number
    fp16_per_cycle: Number
    tensor_fp16_per_cycle: Number | None
    typical_clock_mhz: float  # of the family's chips with known clocks, for those without


class _Model(_Frozen):
    """A chip as the file has it, with all the core counts it is sold with."""

    name: str
    family: str
    cores: Cores
    clock_mhz: Number | None
    bandwidth: Number | None
    bandwidth_of: dict[int, Number | None] = {}  # of some counts of cores another
    fp32_per_cycle: Number | None = None
    slc_mib: Number | None
    neural_cores: Whole | None
    neural_tops: Number | None
    neural_fp16_tops: Number | None = None
    watts: Number | None
    pj_per_flop: Number | None = None
    pj_per_byte: Number | None = None


class Rates(_Frozen):
    """What a core does in a cycle, and how long memory takes to answer."""

    about: str
    fp32: Number
    fp16: Number
    integer: Number
    integer_multiply: Number
    integer_64: Number
    shift: Number
    convert: Number
    compare: Number
    special: Number
    precise: Number
    shuffle: Number
    reduce: Number
    matrix: Number
    arithmetic_latency_cycles: Number
    threadgroup_bytes_per_cycle: Number
    l2_bytes_per_cycle: Number
    l1_nanoseconds: Number
    l2_nanoseconds: Number
    slc_nanoseconds: Number
    dram_nanoseconds: Number
    neural_call_nanoseconds: Number  # of the Neural Engine, whatever it is to do


class _File(_Frozen):
    about: str
    sources: dict[str, Source]
    rates: Rates
    families: tuple[Family, ...]
    chips: tuple[_Model, ...]


class Chip(_Frozen):
    """One chip with one count of GPU cores; figures that no source gives are None."""

    name: str  # "M3 Max"
    family: Family
    cores: Whole
    clock_mhz: Number | None
    bandwidth: Number | None  # GB/s
    fp32_per_cycle: Number
    slc_mib: Number | None
    neural_cores: Whole | None
    neural_tops: Number | None  # as published; newer ones count operations of 8 bits
    neural_fp16_tops: Number | None  # as measured in half precision
    watts: Number | None  # of the GPU under load
    pj_per_flop: Number | None
    pj_per_byte: Number | None  # through the GPU's own memories

    @property
    def title(self) -> str:
        """Name and cores: "M3 Max (40 cores)"."""
        return f"{self.name} ({self.cores.value} cores)"

    @property
    def has_known_power(self) -> bool:
        """Whether energy can be predicted."""
        return self.watts is not None or self.pj_per_flop is not None

    @property
    def fp32_tflops(self) -> float | None:
        """Peak; None where the clock is unknown."""
        return self._tflops(self.fp32_per_cycle.value)

    @property
    def fp16_tflops(self) -> float | None:
        """Peak without the tensor units; None where the clock is unknown."""
        return self._tflops(self.family.fp16_per_cycle.value)

    @property
    def tensor_tflops(self) -> float | None:
        """Peak of the neural accelerators in half precision; None without them or a clock."""
        rate = self.family.tensor_fp16_per_cycle
        return None if rate is None else self._tflops(rate.value)

    def _tflops(self, per_cycle: float) -> float | None:
        if self.clock_mhz is None:
            return None
        return self.cores.value * per_cycle * self.clock_mhz.value / 1e6


@functools.cache
def _file() -> _File:
    return _File.model_validate_json(_FILE.read_bytes())


def sources() -> dict[str, Source]:
    """Every source by its key."""
    return dict(_file().sources)


def rates() -> Rates:
    """Cycles per instruction and bytes per cycle of a core."""
    return _file().rates


@functools.cache
def all_chips() -> tuple[Chip, ...]:
    """Every chip and core count, in the file's order."""
    families = {family.name: family for family in _file().families}
    return tuple(
        _variant(model, families[model.family], cores)
        for model in _file().chips
        for cores in model.cores.value
    )


def _variant(model: _Model, family: Family, cores: int) -> Chip:
    bandwidth = model.bandwidth_of.get(cores, model.bandwidth)
    return Chip(
        name=model.name,
        family=family,
        cores=Figure(value=cores, source=model.cores.source),
        clock_mhz=model.clock_mhz,
        bandwidth=bandwidth,
        fp32_per_cycle=model.fp32_per_cycle or family.fp32_per_cycle,
        slc_mib=model.slc_mib,
        neural_cores=model.neural_cores,
        neural_tops=model.neural_tops,
        neural_fp16_tops=model.neural_fp16_tops,
        watts=model.watts,
        pj_per_flop=model.pj_per_flop,
        pj_per_byte=model.pj_per_byte,
    )


def find_chip(name: str) -> Chip:
    """A chip by name: "M3 Max", "m3max", or with its GPU cores, "M3 Max 30", "m3-max-30".

    Without a count it is the one with the most cores. Raises UnsupportedError with the known names.
    """
    key = _key(name)
    for chip in reversed(all_chips()):
        if key in (_key(chip.name), _key(f"{chip.name}{chip.cores.value}")):
            return chip
    known = ", ".join(dict.fromkeys(chip.name for chip in all_chips()))
    raise UnsupportedError(
        f"not supported: no chip '{name}'; known are {known}; 'M3 Max 30' says how many cores"
    )


def recognise(device: str, cores: int | None = None) -> Chip | None:
    """The chip that an MTLDevice's name means ("Apple M2 Pro"); None where it is not known.

    A count of cores that no source has is taken as it is, for a chip that is known.
    """
    found = re.match(r"Apple ([AM]\d+(?: (?:Pro|Max|Ultra))?)(?: GPU)?$", device.strip())
    if found is None:
        return None
    variants = [chip for chip in all_chips() if chip.name == found[1]]
    if not variants:
        return None
    exact = [chip for chip in variants if chip.cores.value == cores]
    if exact or cores is None:
        return _largest(exact or variants)
    counted: Whole = Figure(value=cores, source="device")
    return _largest(variants).model_copy(update={"cores": counted})


def _largest(chips: Iterable[Chip]) -> Chip:
    return max(chips, key=lambda chip: chip.cores.value)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("apple"))

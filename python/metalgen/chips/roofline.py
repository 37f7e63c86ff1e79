"""How long a chip would take for given work: the slowest of its units, and at least one wait.

A model to rank variants where there is no chip to measure on. It is built on published figures,
has not been held against a real Apple GPU, and says in `notes` what it had to assume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metalgen.chips.database import Chip, Rates, rates

Bound = Literal["compute", "memory", "cache", "threadgroup memory", "latency"]

_SCHEDULERS = 4  # of a core; each issues for one SIMD-group at a time
_RESIDENT_THREADS = 2048  # of a core at once: 768 to 3072, as registers allow (metal-benchmarks)
_CORE_THREADGROUP_BYTES = 65536  # what a core's threadgroups share
_SLC_MIB = 8.0  # the smallest known, for chips whose cache is unknown


@dataclass(frozen=True, slots=True)
class Work:
    """What one dispatch does.

    `instructions` are those of whole SIMD-groups, by the names of `Rates`. `line_bytes` counts
    whole cache lines for every access of a SIMD-group to device memory, `fresh_bytes` those of them
    that its threadgroup has not just used, `footprint` every byte once; `threadgroup_bytes` counts
    once what lanes share.
    """

    name: str
    threadgroups: int
    threads_per_threadgroup: int
    threadgroup_memory: int  # bytes of one threadgroup
    instructions: dict[str, float]
    flops: float
    line_bytes: float
    fresh_bytes: float
    footprint: float
    threadgroup_bytes: float
    serial_instructions: float  # of one SIMD-group, one after the other
    serial_loads: float  # times that one SIMD-group waits for device memory
    barriers: float = 0.0
    unknowns: tuple[str, ...] = ()  # what was guessed, such as the trips of a loop


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted, not measured. `joules` is None where nothing is known of the chip's power."""

    chip: str
    seconds: float
    joules: float | None
    bound_by: Bound
    bytes: float  # of device memory
    flops: float
    parts: tuple[tuple[str, float], ...] = ()  # seconds of each unit
    notes: tuple[str, ...] = ()


def predict(work: Work | Sequence[Work], chip: Chip) -> Estimate:
    """What `chip` would take for the dispatches, one after the other."""
    given = [work] if isinstance(work, Work) else list(work)
    machine = _Machine.of(chip)
    every = [_dispatch(each, machine) for each in given]
    bound = max(every, key=lambda e: e.seconds, default=None)
    names = dict.fromkeys(name for each in every for name, _ in each.parts)
    known = [each.joules for each in every if each.joules is not None]
    return Estimate(
        chip=chip.title,
        seconds=sum(each.seconds for each in every),
        joules=sum(known) if chip.has_known_power else None,
        bound_by="latency" if bound is None else bound.bound_by,
        bytes=sum(each.bytes for each in every),
        flops=sum(each.flops for each in every),
        parts=tuple((name, sum(dict(each.parts)[name] for each in every)) for name in names),
        notes=tuple(dict.fromkeys((*machine.notes, *(n for e in every for n in e.notes)))),
    )


@dataclass(frozen=True, slots=True)
class _Machine:
    """A chip with its gaps filled, and what they were filled with."""

    chip: Chip
    rates: Rates
    hertz: float
    bandwidth: float  # bytes a second
    slc: float  # bytes
    notes: tuple[str, ...]

    @classmethod
    def of(cls, chip: Chip) -> _Machine:
        notes = []
        clock, bandwidth, slc = chip.clock_mhz, chip.bandwidth, chip.slc_mib
        mhz = chip.family.typical_clock_mhz if clock is None else clock.value
        if clock is None:
            notes.append(f"the clock is unknown, {mhz:.0f} MHz assumed")
        # About 8.5 GB/s a core in every chip whose bandwidth is known and that is not a Max.
        rate = 8.5 * chip.cores.value if bandwidth is None else bandwidth.value
        if bandwidth is None:
            notes.append(f"the memory's bandwidth is unknown, {rate:.0f} GB/s assumed")
        mib = _SLC_MIB if slc is None else slc.value
        if slc is None:
            notes.append(f"the system cache's size is unknown, {mib:.0f} MiB assumed")
        return cls(chip, rates(), mhz * 1e6, rate * 1e9, mib * 2**20, tuple(notes))

    def cycles(self, kind: str) -> float:
        """Of a scheduler, for one instruction of a SIMD-group."""
        cycles: float = getattr(self.rates, kind).value
        if kind in ("fp32", "matrix"):
            return cycles * 256 / self.chip.fp32_per_cycle.value
        return cycles * 256 / self.chip.family.fp16_per_cycle.value if kind == "fp16" else cycles


def _dispatch(work: Work, machine: _Machine) -> Estimate:
    cores = machine.chip.cores.value
    # Cores without a threadgroup stand idle; the last round may keep few of them busy.
    busy = min(1.0, work.threadgroups / cores) if work.threadgroups else 1.0
    per_second = cores * busy * machine.hertz
    issue = sum(machine.cycles(kind) * n for kind, n in work.instructions.items())
    dram = _dram_bytes(work, machine)
    moved = machine.rates
    parts: dict[Bound, float] = {
        "compute": issue / (_SCHEDULERS * per_second),
        "memory": dram / machine.bandwidth,
        "cache": max(
            work.line_bytes / (moved.threadgroup_bytes_per_cycle.value * per_second),
            work.fresh_bytes / (moved.l2_bytes_per_cycle.value * per_second),
        ),
        "threadgroup memory": work.threadgroup_bytes
        / (moved.threadgroup_bytes_per_cycle.value * per_second),
        "latency": _latency(work, machine),
    }
    bound = max(parts, key=lambda part: parts[part])
    return Estimate(
        chip=machine.chip.title,
        seconds=parts[bound],
        joules=_joules(work, machine.chip, dram, parts[bound]),
        bound_by=bound,
        bytes=dram,
        flops=work.flops,
        parts=tuple(parts.items()),
        notes=tuple(f"{work.name}: {unknown}" for unknown in work.unknowns),
    )


def _dram_bytes(work: Work, machine: _Machine) -> float:
    """What passes the system cache: every byte once, and what it cannot hold until needed again."""
    if work.footprint <= 0:
        return 0.0
    missed = 1 - min(1.0, machine.slc / work.footprint)
    return work.footprint + max(0.0, work.fresh_bytes - work.footprint) * missed


def _latency(work: Work, machine: _Machine) -> float:
    """Rounds of threadgroups, each as long as one SIMD-group takes alone."""
    waits = machine.rates
    far = waits.slc_nanoseconds if work.footprint <= machine.slc else waits.dram_nanoseconds
    share = min(1.0, work.fresh_bytes / work.line_bytes) if work.line_bytes else 0.0
    load = share * far.value + (1 - share) * waits.l1_nanoseconds.value
    one = (
        work.serial_instructions * waits.arithmetic_latency_cycles.value / machine.hertz
        + work.serial_loads * load * 1e-9
    )
    resident = max(1, _RESIDENT_THREADS // max(1, work.threads_per_threadgroup))
    if work.threadgroup_memory:
        resident = min(resident, max(1, _CORE_THREADGROUP_BYTES // work.threadgroup_memory))
    return one * math.ceil(work.threadgroups / (machine.chip.cores.value * resident))


def _joules(work: Work, chip: Chip, dram: float, seconds: float) -> float | None:
    """By operations where their energy was measured, else by the power under load."""
    if chip.pj_per_flop is not None and chip.pj_per_byte is not None:
        moved = work.line_bytes + work.threadgroup_bytes + dram
        return 1e-12 * (chip.pj_per_flop.value * work.flops + chip.pj_per_byte.value * moved)
    return None if chip.watts is None else chip.watts.value * seconds

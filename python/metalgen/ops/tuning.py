"""The autotuner: which variant is fastest here for a shape, or would be on another chip."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from metalgen.air import Metallib
from metalgen.chips import Chip, predict
from metalgen.device import settle, synchronize
from metalgen.errors import LaunchError
from metalgen.kept_times import Time
from metalgen.kernel_table import Variant, family
from metalgen.ops.arguments import DTYPES
from metalgen.ops.library import Call, library, recorded
from metalgen.ops.samples import Sample, find_mismatch
from metalgen.ops.sized_samples import sample_of
from metalgen.ops.winners import device_name, forced, keep
from metalgen.profile.estimate import dispatch_figures
from metalgen.profile.launches import Buffer, Launch

_LEAST_MEASURED = 2e-3  # seconds of one round, which may call more than once


@dataclass(frozen=True, slots=True)
class Timing:
    """What a variant takes; `mismatch` says why one that is wrong here was left out."""

    variant: str
    us: float | None
    is_measured: bool
    mismatch: str | None = None


def tune(
    family_name: str,
    sizes: Sequence[int],
    dtype: torch.dtype = torch.float32,
    device_type: str = "cpu",
    rounds: int = 9,
) -> tuple[Timing, ...]:
    """Verify and time every variant on this machine, the fastest first; the winner is kept.

    Operations use it from now on for shapes of the same bucket. Raises LaunchError for wrong sizes,
    and where no variant is right.
    """
    sample = sample_of(family_name, sizes)
    fitting = family(family_name).fitting(sizes)
    wrong = {v.name: _mismatch(family_name, v, sample, dtype, device_type) for v in fitting}
    right = [v for v in fitting if wrong[v.name] is None]
    if not right:
        raise LaunchError(f"{family_name}: no variant is right here: {wrong[fitting[0].name]}")
    times = _times(family_name, right, sample, dtype, device_type, rounds)
    measured = sorted(times.items(), key=lambda pair: pair[1])
    kept = {name: Time(us) for name, us in measured}
    keep(device_name(device_type), family_name, DTYPES[dtype], sizes, kept)
    failed = [Timing(name, None, True, reason) for name, reason in wrong.items() if reason]
    return (*(Timing(name, us, True) for name, us in measured), *failed)


def rank(
    family_name: str, sizes: Sequence[int], dtype: torch.dtype, chip: Chip
) -> tuple[Timing, ...]:
    """Every variant with the time that the cost model predicts for a chip, the fastest first.

    Nothing is run. The times are kept for machines with that chip, until one of them measures.
    """
    sample = sample_of(family_name, sizes)
    arguments = sample.make(dtype)
    metallib = library().metallib
    found = []
    for variant in family(family_name).fitting(sizes):
        with forced(family_name, variant.name), recorded() as calls:
            sample.run(arguments)
        work = [dispatch_figures(metallib, _launch(call, metallib)).work() for call in calls]
        found.append(Timing(variant.name, predict(work, chip).seconds * 1e6, False))
    found.sort(key=lambda timing: timing.us or 0.0)
    kept = {t.variant: Time(t.us or 0.0, is_measured=False) for t in found}
    keep(f"Apple {chip.name}", family_name, DTYPES[dtype], sizes, kept)  # as Metal names it
    return tuple(found)


def _mismatch(
    family_name: str, variant: Variant, sample: Sample, dtype: torch.dtype, device_type: str
) -> str | None:
    with forced(family_name, variant.name):
        return find_mismatch(sample, dtype, device_type=device_type)


def _times(
    family_name: str,
    variants: Sequence[Variant],
    sample: Sample,
    dtype: torch.dtype,
    device_type: str,
    rounds: int,
) -> dict[str, float]:
    """Median microseconds of each, measured in turns so that a slow moment strikes all alike."""
    arguments = tuple(argument.to(device_type) for argument in sample.make(dtype))
    calls = {v.name: 1 for v in variants}
    seconds: dict[str, list[float]] = {v.name: [] for v in variants}
    settle()  # all have run, when they were compared
    for number in range(-1, rounds):  # the first says how many calls a round needs
        for variant in variants:
            with forced(family_name, variant.name):
                one = _seconds(sample, arguments, device_type, calls[variant.name])
            if number < 0:
                calls[variant.name] = max(1, round(_LEAST_MEASURED / one))
            else:
                seconds[variant.name].append(one)
    return {name: statistics.median(all_) * 1e6 for name, all_ in seconds.items()}


def _seconds(sample: Sample, arguments: tuple[Any, ...], device_type: str, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        sample.run(arguments)
    synchronize(device_type)
    return (time.perf_counter() - start) / calls


def _launch(call: Call, metallib: Metallib) -> Launch:
    """A recorded dispatch in the form that the cost model reads."""
    from metalgen.library.launch_geometry import launch_geometry

    keywords = call.keywords
    geometry = launch_geometry(
        keywords.get("threads"), keywords.get("threadgroups"), keywords["group_size"], 1024
    )
    info = metallib.kernel(call.kernel.info.name)
    buffers = sorted(info.buffers, key=lambda argument: argument.index or 0)
    bound = {}
    for argument, given in zip(buffers, call.arguments, strict=True):
        value = None if isinstance(given, torch.Tensor) or given is None else _packed(given)
        size = given.nbytes if isinstance(given, torch.Tensor) else len(value or b"")
        bound[argument.index or 0] = Buffer(argument.name, argument.name, size, value)
    return Launch(
        kernel=info.name,
        grid=_extent(geometry.grid),
        group_size=_extent(geometry.group_size),
        groups=_extent(geometry.groups),
        buffers=bound,
        threadgroup_memory=0,
        constants=keywords.get("constants") or {},
    )


def _packed(value: bytes | float) -> bytes:
    import struct

    if isinstance(value, bytes):
        return value
    return struct.pack("<f" if isinstance(value, float) else "<I", value)


def _extent(sizes: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = sizes
    return x, y, z

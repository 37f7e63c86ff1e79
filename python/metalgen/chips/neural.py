"""How long a chip's Neural Engine would take for given work: a bound, not a forecast."""

from __future__ import annotations

from metalgen.chips.database import Chip, rates
from metalgen.chips.roofline import Bound, Estimate
from metalgen.errors import UnsupportedError


def predict_neural_engine(flops: float, bytes_moved: float, chip: Chip) -> Estimate:
    """A call at the engine's peak rate and the memory's bandwidth, and what any call takes.

    Where a chip's rate in half precision was not measured it is the published one. Products reach
    a third of it in what was measured, convolutions most. Raises UnsupportedError for a chip of
    which neither is known.
    """
    rate = chip.neural_fp16_tops or chip.neural_tops
    if rate is None:
        raise UnsupportedError(
            f"not supported: the rate of the Neural Engine of {chip.name} is unknown"
        )
    waits = rates().neural_call_nanoseconds.value * 1e-9
    parts: dict[Bound, float] = {"latency": waits, "compute": flops / (rate.value * 1e12)}
    notes = ["the Neural Engine's peak rate is taken, and a call's time measured on an M4"]
    if chip.neural_fp16_tops is None:
        notes.append("its rate is the published one, which may count operations of 8 bits")
    if chip.bandwidth is not None:
        parts["memory"] = bytes_moved / (chip.bandwidth.value * 1e9)
    busy = max(parts.get("memory", 0.0), parts["compute"])
    return Estimate(
        chip=chip.title,
        seconds=waits + busy,
        joules=None,  # no source gives the engine's power for most chips
        bound_by=max(parts, key=lambda part: parts[part]),
        bytes=bytes_moved,
        flops=flops,
        parts=tuple(parts.items()),
        notes=tuple(notes),
    )

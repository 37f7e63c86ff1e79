"""The energy that a Mac's chip uses, by its own counters, read by zeus-apple-silicon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# None where a chip does not count it. What keeps the processor busy costs as what the GPU does, and
# regions may run on the Neural Engine.
_PARTS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "ane_mj", "dram_mj")


@dataclass(frozen=True)
class AppleMeter:
    """Processor, GPU, Neural Engine and memory; `monitor` is an AppleEnergyMonitor."""

    monitor: Any
    name: str = "zeus-apple-silicon"
    window_s: float = 0.2

    def begin(self) -> None:
        """Start a window."""
        self.monitor.begin_window("metalgen")

    def is_at_step(self) -> bool:
        """Always: its steps are short."""
        return True

    def end(self) -> float:
        """What the chip took."""
        found = self.monitor.end_window("metalgen")
        return sum(getattr(found, part, None) or 0 for part in _PARTS) / 1000


def apple_meter() -> AppleMeter | None:
    """The meter of this Mac; None without zeus-apple-silicon."""
    try:
        from zeus_apple_silicon import AppleEnergyMonitor
    except ImportError:
        return None
    return AppleMeter(AppleEnergyMonitor())

"""The energy that NVIDIA GPUs have used since their driver was loaded, by NVML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# An H200's counter steps every 100 ms: a window from step to step errs by a chunk of work.
WINDOW_S = 1.0


@dataclass(frozen=True)
class NvmlCounter:
    """One GPU's counter; `nvml` is the module pynvml, initialised, `handle` the GPU's."""

    name: str
    nvml: Any
    handle: Any
    window_s: float = WINDOW_S
    is_coarse: bool = True

    def read(self) -> float:
        """Joules so far, memory and all else on the board included."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000


def nvml_counters() -> list[NvmlCounter]:
    """Of every GPU that counts its energy (Volta and later); none without the driver or pynvml."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return []
    found = []
    for index in range(count):
        try:
            counter = _counter(pynvml, index)
            counter.read()
        except pynvml.NVMLError:  # older, or another process's
            continue
        found.append(counter)
    return found


def _counter(nvml: Any, index: int) -> NvmlCounter:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    title = nvml.nvmlDeviceGetName(handle)
    return NvmlCounter(title.decode() if isinstance(title, bytes) else title, nvml, handle)

"""The energy that processors and their memory have used, by RAPL as Linux shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/sys/class/powercap")
# Counters move every millisecond.
WINDOW_S = 0.2
# Cores and graphics are in the package; "psys" is the package and all else.
_COUNTED = ("package", "dram")


@dataclass
class RaplCounter:
    """One domain, "package-0" or "dram"; read at least once in each of its rounds."""

    name: str
    folder: Path
    window_s: float = WINDOW_S
    is_coarse: bool = False
    _last: int | None = None
    _rounds: int = 0

    def read(self) -> float:
        """Joules since some time."""
        now = _number(self.folder / "energy_uj")
        if self._last is not None and now < self._last:
            self._rounds += 1
        self._last = now
        return (self._rounds * _number(self.folder / "max_energy_range_uj") + now) / 1e6


def rapl_counters(folder: Path = FOLDER) -> list[RaplCounter]:
    """Of every processor and its memory; none where the kernel has none, or lets only root read."""
    found = []
    for zone in sorted(folder.glob("intel-rapl:*")):  # AMD's are called so too
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith(_COUNTED):
                counter = RaplCounter(_title(zone, name), zone)
                counter.read()
                found.append(counter)
        except (OSError, ValueError):
            continue
    return found


def _title(zone: Path, name: str) -> str:
    """Memory belongs to a processor: "dram of 0"."""
    parts = zone.name.split(":")
    return f"{name} of {parts[1]}" if len(parts) > 2 else name


def _number(file: Path) -> int:
    return int(file.read_text())

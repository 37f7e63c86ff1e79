"""How long things took on a device, kept on disk: this process and later ones need not measure.

A file holds {device: {subject: {size class: {name: time}}}}, for one version of whatever was
measured. What was predicted never takes the place of what was measured.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metalgen.cache import cache_directory
from metalgen.files import write_whole

# Of one device; those that were kept longest ago leave first.
LIMIT = 4096

Subjects = dict[str, dict[str, dict[str, "Time"]]]
Entry = tuple[str, str, str, dict[str, "Time"]]


@dataclass(frozen=True, slots=True)
class Time:
    """Microseconds, measured on the device or predicted for it."""

    us: float
    is_measured: bool = True


def opened(name: str, version: str) -> KeptTimes:
    """The times in the file of that name, one object for all of this process."""
    return _opened(kept_path(name), version)


def close_all() -> None:
    """Read files anew when they are next asked for."""
    _opened.cache_clear()


@functools.cache
def _opened(path: Path, version: str) -> KeptTimes:
    return KeptTimes(path, version)


def bucket(size: int) -> int:
    """A size rounded up to a power of two: those that share their times; 0 is alone."""
    return 1 << (size - 1).bit_length() if size > 0 else 0


def kept_path(name: str) -> Path:
    """Where a file of times lies: in $METALGEN_TIMES_DIR, else in the cache directory.

    Compiled code may be shared by many machines; times belong to one.
    """
    chosen = os.environ.get("METALGEN_TIMES_DIR")
    return (Path(chosen) if chosen else cache_directory()) / f"{name}.json"


class KeptTimes:
    """The times in one file; safe to use from several threads and processes.

    A file that is damaged is passed over with a warning, one of another version in silence.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.path = path
        self.version = version
        self._lock = threading.RLock()
        self._new: dict[str, Subjects] = {}
        self._devices = self._read()

    def times(self, device: str, subject: str, size_class: str) -> Mapping[str, Time]:
        """What is kept for a class, by name; empty where there is nothing."""
        with self._lock:
            return dict(self._devices.get(device, {}).get(subject, {}).get(size_class, {}))

    def all(self) -> list[Entry]:
        """(device, subject, size class, times) of everything that is kept."""
        with self._lock:
            return list(_entries(self._devices))

    def keep(self, device: str, subject: str, size_class: str, times: Mapping[str, Time]) -> None:
        """Know these times from now on; `save` writes them for others."""
        with self._lock:
            for devices in (self._devices, self._new):
                _merge(devices, device, subject, size_class, times)

    def save(self) -> None:
        """Write what is new to the file, beside what others wrote meanwhile.

        Where that cannot be done, warn and go on: it will be measured again.
        """
        with self._lock:
            if not self._new:
                return
            devices = self._read()
            for device, subject, size_class, times in _entries(self._new):
                _merge(devices, device, subject, size_class, times)
            self._devices, self._new = devices, {}
            self._write(devices)

    def forget(self, device: str | None = None) -> int:
        """Remove what is kept, of one device or of all; how many subjects that were."""
        with self._lock:
            gone = [device] if device is not None else list(self._devices)
            count = sum(len(self._devices.pop(name, {})) for name in gone)
            self._new = {}
            if self.path.exists():
                self._write(self._devices)
            return count

    def _read(self) -> dict[str, Subjects]:
        try:
            kept = json.loads(self.path.read_bytes())
            if kept["version"] != self.version:
                return {}
            return _parsed(kept["devices"])
        except OSError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            message = f"{self.path} is damaged and passed over; it is written anew"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
            return {}

    def _write(self, devices: dict[str, Subjects]) -> None:
        plain = {device: _plain(subjects) for device, subjects in devices.items()}
        text = json.dumps({"version": self.version, "devices": plain}, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, text.encode())
        except OSError as error:
            message = f"measured times are not kept: cannot write {self.path} ({error.strerror})"
            warnings.warn(message, RuntimeWarning, stacklevel=3)


def _entries(devices: Mapping[str, Subjects]) -> Iterator[Entry]:
    for device, subjects in devices.items():
        for subject, classes in subjects.items():
            for size_class, times in classes.items():
                yield device, subject, size_class, times


def _merge(
    devices: dict[str, Subjects],
    device: str,
    subject: str,
    size_class: str,
    times: Mapping[str, Time],
) -> None:
    subjects = devices.setdefault(device, {})
    classes = subjects.pop(subject, {})
    subjects[subject] = classes  # last: the newest
    known = classes.setdefault(size_class, {})
    for name, time in times.items():
        if time.is_measured or not (name in known and known[name].is_measured):
            known[name] = time
    while len(subjects) > LIMIT:
        del subjects[next(iter(subjects))]


def _parsed(devices: Mapping[str, Any]) -> dict[str, Subjects]:
    return {
        device: {
            subject: {
                size_class: {
                    name: Time(float(us), how == "measured") for name, (us, how) in times.items()
                }
                for size_class, times in classes.items()
            }
            for subject, classes in subjects.items()
        }
        for device, subjects in devices.items()
    }


def _plain(subjects: Subjects) -> dict[str, Any]:
    return {
        subject: {
            size_class: {
                name: [round(time.us, 2), "measured" if time.is_measured else "predicted"]
                for name, time in times.items()
            }
            for size_class, times in classes.items()
        }
        for subject, classes in subjects.items()
    }

"""Which variant runs: what won here for problems of this size, else the table's default.

Winners lie in tuned.json in the cache directory, by device, family, dtype and bucket of
shape. Those of other kernels than today's are passed over.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metalgen import resources
from metalgen.cache import cache_directory
from metalgen.device import open_device
from metalgen.files import write_whole
from metalgen.kernel_table import Variant, family
from metalgen.ops.arguments import DTYPES

_FILE = "tuned.json"
_FORCED: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("forced", default=())


@dataclass(frozen=True, slots=True)
class Winner:
    """The fastest variant for a shape, and whether that was measured or predicted."""

    variant: str
    us: float
    is_measured: bool


def choose(family_name: str, tensor: Tensor, sizes: Sequence[int]) -> Variant:
    """The variant for a problem of these sizes, of the tensor's dtype and on its device."""
    return _choose(
        family_name, tensor.device.type, DTYPES[tensor.dtype], tuple(sizes), _FORCED.get()
    )


@functools.lru_cache(maxsize=4096)
def _choose(
    family_name: str,
    device_type: str,
    dtype: str,
    sizes: tuple[int, ...],
    forced: tuple[tuple[str, str], ...],
) -> Variant:
    table = family(family_name)
    name = dict(forced).get(family_name)
    if name is not None:
        return table.variant(name)
    entry = winners(device_name(device_type)).get(family_name, {}).get(dtype, {}).get(bucket(sizes))
    if entry is not None:
        kept = next((v for v in table.fitting(sizes) if v.name == entry["variant"]), None)
        if kept is not None:
            return kept
    return table.default_for(device_type, sizes)


def bucket(sizes: Sequence[int]) -> str:
    """Sizes rounded up to powers of two, such as "64x1024": problems that share a winner."""
    return "x".join(str(1 << (size - 1).bit_length() if size > 0 else 0) for size in sizes)


def device_name(device_type: str) -> str:
    """The device that winners are kept for."""
    return open_device("mps" if device_type == "mps" else "cpu").name


def winners(device: str) -> Mapping[str, Any]:
    """What is kept for a device: {family: {dtype: {bucket: {"variant": ..., "us": ...}}}}."""
    found: dict[str, Any] = _kept().get(device, {})
    return found


def keep(device: str, family_name: str, dtype: str, sizes: Sequence[int], winner: Winner) -> None:
    """Keep a winner; operations use it from now on, here and in processes to come.

    What was predicted never takes the place of what was measured.
    """
    kept = json.loads(json.dumps(_kept()))
    places = kept.setdefault(device, {}).setdefault(family_name, {}).setdefault(dtype, {})
    if not winner.is_measured and places.get(bucket(sizes), {}).get("measured", False):
        return
    places[bucket(sizes)] = {
        "variant": winner.variant,
        "us": round(winner.us, 2),
        "shape": list(sizes),
        "measured": winner.is_measured,
    }
    path = cache_directory() / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"kernels": _fingerprint(), "devices": kept}, indent=2)
    write_whole(path, text.encode())
    forget()


def forget() -> None:
    """Read what is kept anew when it is next asked for."""
    _kept.cache_clear()
    _choose.cache_clear()


@contextlib.contextmanager
def forced(family_name: str, variant: str) -> Iterator[None]:
    """Run one variant of a family inside a `with`, whatever is kept; raises LaunchError."""
    entry = (family_name, family(family_name).variant(variant).name)
    token = _FORCED.set((*_FORCED.get(), entry))
    try:
        yield
    finally:
        _FORCED.reset(token)


@functools.cache
def _kept() -> dict[str, Any]:
    path = cache_directory() / _FILE
    try:
        kept = json.loads(path.read_bytes())
        fits, devices = kept["kernels"] == _fingerprint(), dict(kept["devices"])
    except OSError:
        return {}
    except (ValueError, KeyError, TypeError):
        warnings.warn(f"{path} is damaged and passed over; remove it", RuntimeWarning, stacklevel=2)
        return {}
    return devices if fits else {}


@functools.cache
def _fingerprint() -> str:
    return hashlib.sha256(resources.metallib().read_bytes()).hexdigest()[:16]

"""Which variant runs: what won here for problems of this size, else the table's default.

Times lie in tuned.json in the cache directory, by device, family, dtype and bucket of shape.
Those of other kernels than today's are passed over.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar

from torch import Tensor

from metalgen import kept_times, resources
from metalgen.device import measured_on
from metalgen.kept_times import KeptTimes, Time
from metalgen.kernel_table import Variant, family
from metalgen.ops.arguments import DTYPES

_FORCED: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("forced", default=())


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
    times = kept(device_name(device_type), family_name, dtype, sizes)
    fitting = [variant for variant in table.fitting(sizes) if variant.name in times]
    # What was measured wins over what was predicted.
    best = min(
        fitting, key=lambda v: (not times[v.name].is_measured, times[v.name].us), default=None
    )
    return table.default_for(device_type, sizes) if best is None else best


def bucket(sizes: Sequence[int]) -> str:
    """Sizes rounded up to powers of two, such as "64x1024": problems that share a winner."""
    return "x".join(str(kept_times.bucket(size)) for size in sizes)


def device_name(device_type: str) -> str:
    """The device that winners are kept for."""
    return measured_on("mps" if device_type == "mps" else "cpu")


def kept(device: str, family_name: str, dtype: str, sizes: Sequence[int]) -> Mapping[str, Time]:
    """The times kept for problems of this bucket, by variant."""
    return tuned().times(device, f"{family_name} {dtype}", bucket(sizes))


def keep(
    device: str, family_name: str, dtype: str, sizes: Sequence[int], times: Mapping[str, Time]
) -> None:
    """Keep variants' times; operations use the fastest from now on, here and in processes to come.

    What was predicted never takes the place of what was measured.
    """
    known = tuned()
    known.keep(device, f"{family_name} {dtype}", bucket(sizes), times)
    known.save()
    _choose.cache_clear()


def forget() -> None:
    """Read what is kept anew when it is next asked for."""
    kept_times.close_all()
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


def tuned() -> KeptTimes:
    """All times of the kernel library's variants."""
    return kept_times.opened("tuned", _fingerprint())


@functools.cache
def _fingerprint() -> str:
    return hashlib.sha256(resources.metallib().read_bytes()).hexdigest()[:16]

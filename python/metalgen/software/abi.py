"""The one argument of native entry points, as src/software/threadgroup.h declares it."""

from __future__ import annotations

import ctypes

BUFFERS = 31  # [[buffer(i)]] and [[threadgroup(i)]] indices
SIMDGROUP_WIDTH = 32

_POINTERS = ctypes.POINTER(ctypes.c_void_p)
_UINT3 = ctypes.c_uint32 * 3
ALLOCATE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)
ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Threadgroup(ctypes.Structure):
    """One threadgroup to run; docs/architecture.md says what each field means."""

    _fields_ = (
        ("buffers", _POINTERS),
        ("threadgroup_buffers", _POINTERS),
        ("threadgroup_memory", ctypes.c_void_p),
        ("allocate", ALLOCATE),
        ("arena", ctypes.c_void_p),
        ("position", _UINT3),
        ("size", _UINT3),
        ("full_size", _UINT3),
        ("grid", _UINT3),
        ("groups", _UINT3),
    )


def offset(field: str) -> int:
    """Bytes from the start of a Threadgroup to `field`."""
    descriptor = getattr(Threadgroup, field)
    return int(descriptor.offset)

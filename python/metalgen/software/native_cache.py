"""Object code on disk, by everything that it depends on: the kernel, this translator, the host."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from dataclasses import astuple
from pathlib import Path

import llvmlite.binding as llvm

from metalgen.cache import Cache, cache_directory, tree_hash
from metalgen.software import target
from metalgen.software.function_constants import Constants
from metalgen.software.ir.passes import ThreadgroupMemory

_HEADER = struct.Struct("<QI")  # the bytes and alignment of threadgroup memory
_SOURCES = (".py", ".cpp", ".h", ".zip")


def key(bitcode: bytes, kernel: str, constants: Constants, *choices: str) -> str:
    """What identifies the object code; `choices` are the translator's other arguments."""
    values = sorted((str(name), type(name).__name__, repr(v)) for name, v in constants.items())
    host = astuple(target.host())
    digest = hashlib.sha256(json.dumps([host, _translator(), kernel, values, choices]).encode())
    digest.update(bitcode)
    return digest.hexdigest()


def load(name: str) -> tuple[bytes, ThreadgroupMemory] | None:
    """What `save` stored under the key `name`, if it is still there."""
    content = Cache(cache_directory()).get(name)
    if content is None:
        return None
    return content[_HEADER.size :], ThreadgroupMemory(*_HEADER.unpack_from(content))


def save(name: str, code: bytes, memory: ThreadgroupMemory) -> None:
    header = _HEADER.pack(memory.bytes, memory.alignment)
    Cache(cache_directory()).put(name, header + code)


@functools.cache
def _translator() -> str:
    """A digest of this package's sources and of LLVM's version."""
    version = str(llvm.llvm_version_info)
    return f"{version} {tree_hash(Path(__file__).parent, suffixes=_SOURCES)}"

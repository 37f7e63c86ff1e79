"""What a kernel's parameters stand for, read from the `!air.kernel` metadata of its module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from metalgen.errors import MetallibError, UnsupportedError

_NODE = re.compile(r"^(![\w.]+) = (?:distinct )?!\{(.*)\}$", re.MULTILINE)
_ARGUMENT = re.compile(r'^i32 (\d+), (?:!"air\.function_constant", !\d+, )?!"air\.(\w+)"')
_LOCATION = re.compile(r'!"air\.location_index", i32 (\d+)')
_BUFFERS = ("buffer", "indirect_buffer")  # the second holds pointers to further ones
_THREADGROUP_SPACE = '!"air.address_space", i32 3'


@dataclass(frozen=True, slots=True)
class Parameter:
    """One LLVM parameter: a buffer or threadgroup pointer by index, or a built-in by name.

    `static` is the memory of the kernel's own threadgroup variables.
    """

    kind: Literal["buffer", "threadgroup", "builtin", "static"]
    index: int = 0
    builtin: str = ""


def metadata_nodes(text: str) -> dict[str, str]:
    """Every metadata node of a module's text: `!7` or `!air.kernel` → what stands in its braces."""
    return dict(_NODE.findall(text))


def read_signature(nodes: dict[str, str], kernel: str) -> tuple[Parameter, ...]:
    """The parameters of `kernel` in order.

    Raises MetallibError where the module has no such kernel, UnsupportedError for textures and
    other arguments that the software device has no notion of.
    """
    arguments = _arguments_of(nodes, kernel)
    return tuple(_parameter(nodes[node], position) for position, node in enumerate(arguments))


def _arguments_of(nodes: dict[str, str], kernel: str) -> list[str]:
    found = []
    for node in _references(nodes.get("!air.kernel", "")):
        function, _, rest = nodes.get(node, "").partition(", ")
        name = function.removeprefix("ptr @").strip('"')
        if name == kernel:
            return _references(nodes.get(_references(rest)[1], ""))
        found.append(name)
    raise MetallibError(
        f"no kernel {kernel!r} in this AIR module, found: {', '.join(found) or 'none'}"
    )


def _references(text: str) -> list[str]:
    return re.findall(r"!\d+", text)


def _parameter(node: str, position: int) -> Parameter:
    match = _ARGUMENT.match(node)
    if match is None or int(match[1]) != position:
        raise UnsupportedError(f"not supported: kernel argument {position} described as {node!r}")
    if match[2] not in _BUFFERS:
        return Parameter("builtin", builtin=match[2])
    location = _LOCATION.search(node)
    if location is None:
        raise UnsupportedError(f"not supported: buffer argument {position} without a location")
    in_threadgroup = _THREADGROUP_SPACE in node
    return Parameter("threadgroup" if in_threadgroup else "buffer", index=int(location[1]))

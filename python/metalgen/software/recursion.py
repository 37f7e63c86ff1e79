"""Functions that call themselves: Metal forbids them, but PyTorch's special functions have some.

They cannot be inlined, so they stay functions of one thread, called for one lane at a time.
"""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Function
from metalgen.software.ir.types import Float, Int
from metalgen.software.meetings import is_meeting
from metalgen.software.prepare import Prepared


def require_plain_recursion(prepared: Prepared) -> None:
    """Raise UnsupportedError where a recursive function is more than a function of numbers."""
    for function in prepared.module.functions.values():
        if function is not prepared.function and not _is_plain(function):
            raise UnsupportedError(
                f"not supported: the recursive function {function.name!r}, which takes or returns "
                "more than scalars or meets other threads"
            )


def _is_plain(function: Function) -> bool:
    types = (function.return_type, *(parameter.type for parameter in function.parameters))
    meets = any(is_meeting(instruction) for instruction in function.instructions())
    return not meets and all(isinstance(type_, Int | Float) for type_ in types)

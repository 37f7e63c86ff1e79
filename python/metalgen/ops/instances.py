"""`python -m metalgen.ops.instances` writes metal/instances.h: which kernels exist, by the table.

Tile sizes bound arrays in registers and threadgroup memory, so they are template arguments; Metal's
function constants cannot be. Choices that only guard code (a bias, a transposed operand) are
function constants instead, and cost no instance.
"""

from __future__ import annotations

from metalgen import resources
from metalgen.files import write_whole
from metalgen.kernel_table import Family, families

_HEAD = """\
// Which variants of the kernels are compiled, as macros that instantiate each of a family. Written
// from parameters.json by `python -m metalgen.ops.instances`; a test fails where it is stale.
#pragma once
"""


def header() -> str:
    """The text of metal/instances.h."""
    return "\n".join(
        [_HEAD, *(_macro(family) for family in families().values() if _is_many(family))]
    )


def _is_many(family: Family) -> bool:
    return bool(family.compiled)


def _macro(family: Family) -> str:
    lines = [
        f"// {', '.join(family.compiled)}",
        f"#define for_each_{family.name}(instantiate, ...)",
    ]
    for name, arguments in family.instances().items():
        values = ", ".join(str(value) for value in arguments)
        lines.append(f'  instantiate(__VA_ARGS__, "{name}", {values})')
    return lines[0] + "\n" + " \\\n".join(lines[1:]) + "\n"


if __name__ == "__main__":
    write_whole(resources.metal_sources() / "instances.h", header().encode())

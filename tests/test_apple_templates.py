"""Every kernel of MLX's headers is among those that our compiler's build is compared by."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from apple_cases import Family
from apple_metallib import kernel_headers

HERE = Path(__file__).parent
KERNEL = re.compile(r"(?:\[\[\s*kernel\b[^\]]*\]\]|\bkernel)\s*(?:METAL_FUNC\s+)?void\s+(\w+)\s*\(")
# Where a family's instances are made in the test itself, not in a table: `"name<...>"`, `"name"`.
WRITTEN_OUT = re.compile(r"\b(\w+)[<\"]")


def families(value: object) -> Iterator[Family]:
    """The families in a module's tables."""
    if isinstance(value, Family):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from families(part)


def instantiated() -> set[str]:
    """The templates of which some test has an instance."""
    found: set[str] = set()
    for path in sorted(HERE.glob("test_apple_*.py")):
        found.update(WRITTEN_OUT.findall(path.read_text()))
        for value in vars(importlib.import_module(path.stem)).values():
            for family in families(value):
                found.update(case.ours.split("<")[0] for case in family.cases.values())
    return found


def test_every_kernel_of_mlxs_headers_is_instantiated_by_a_test():
    of_headers = set()
    for header in kernel_headers().rglob("*.h"):
        if "nax" not in header.name:  # Metal 4's tensor operations
            of_headers.update(KERNEL.findall(re.sub(r"//.*", "", header.read_text())))
    assert len(of_headers) > 100
    assert of_headers - instantiated() == set()

"""Which families of Apple's kernels are compared with PyTorch or NumPy, and which only translated.

apple_families.txt says it of every family, by hand: a family that has come or gone fails here. Of
a family that is compared some form of its kernels is, not each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from apple_metallib import apple_metallib, torch_metallib

from metalgen.air import Metallib

HERE = Path(__file__).parent
LISTED = [line.split(" ", 2) for line in (HERE / "apple_families.txt").read_text().splitlines()]
LIBRARIES = {"mlx": apple_metallib, "torch": torch_metallib}


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_family_is_said_to_be_compared_or_only_translated(library, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE.parent / "benchmarks")])
    from apple_kernels import family

    metallib = Metallib.open(LIBRARIES[library]())
    found = {family(name) for name in metallib.names} - {"Metal 4 tensor operations"}
    states = {name: state for of, state, name in LISTED if of == library}
    assert found == set(states)
    assert set(states.values()) <= {"compared", "translated"}

"""A fixed sample of all that Apple's compiler made for MLX and PyTorch translates to host code.

apple_sample.txt names up to 16 kernels of every family, of those that translate fast;
benchmarks/translate_apple_kernels.py does all 19,695.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from apple_metallib import apple_metallib, torch_metallib

from metalgen.air import Metallib
from metalgen.software import translate

SAMPLE = [
    tuple(line.split(" ", 1))
    for line in (Path(__file__).parent / "apple_sample.txt").read_text().splitlines()
]
PARTS = 12  # to be shared between workers
LIBRARIES = {"mlx": apple_metallib, "torch": torch_metallib}


def test_the_sample_is_large_and_spread():
    assert len(set(SAMPLE)) >= 300
    assert {library for library, _ in SAMPLE} == set(LIBRARIES)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("library", LIBRARIES)
def test_kernels_translate(library, part):
    metallib = Metallib.open(LIBRARIES[library]())
    names = [name for of, name in SAMPLE if of == library]
    for name in names[part::PARTS]:
        info = metallib.kernel(name)
        # No feature that a flag switches on, and one of everything that is counted.
        constants = {c.index: False if c.type_name == "bool" else 1 for c in info.constants}
        assert translate(metallib.bitcode(name), name, constants, variant="rows").address

"""Cases of which a fixed sample runs by default, the rest with --all-kernels."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def every(step: int, cases: Iterable[object]) -> list[ParameterSet]:
    """The cases for `parametrize`, all but every `step`th marked as thorough."""
    return [
        pytest.param(*_several(case), marks=[pytest.mark.thorough] if i % step else [])
        for i, case in enumerate(cases)
    ]


def _several(case: object) -> tuple[object, ...]:
    return case if isinstance(case, tuple) else (case,)

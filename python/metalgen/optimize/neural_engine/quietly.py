"""Keeps coremltools' progress bars and remarks from whoever optimises a model."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

_LOGGER = logging.getLogger("coremltools")


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing is written while coremltools is imported and converts; errors are raised as ever."""
    before = _LOGGER.disabled
    _LOGGER.disabled = True
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        _LOGGER.disabled = before

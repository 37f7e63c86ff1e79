"""When the software device asks for host code: lazily, once for each kernel, constants, variant."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import native_kernels
from metalgen import _core

Geometry = _core.Geometry


class Recorder:
    """Translates like the hand-written kernels do and notes every request."""

    def __init__(self):
        self.requests = []

    def __call__(self, kernel, constants, variant, improve):
        self.requests.append((kernel, [(c.index, c.value) for c in constants], variant))
        return native_kernels.native(kernel)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def library(recorder):
    return _core.software_device(2).load(b"", recorder)


def count(library, grid, group_size, constants=()):
    counts = np.zeros(grid[::-1], np.uint32)
    geometry = Geometry.of_threads(grid, group_size)
    library.pipeline("count_threads", constants).dispatch((counts.ctypes.data,), geometry)
    assert (counts == 1).all()


@pytest.mark.parametrize(
    ("grid", "group_size", "variants"),
    [
        ((64, 4, 1), (32, 2, 1), ["full"]),
        ((50, 1, 1), (7, 1, 1), ["rows"]),  # one row each
        ((64, 4, 1), (16, 2, 1), ["any"]),
        ((48, 4, 1), (32, 2, 1), ["any", "full"]),  # edges 16 wide
        ((48, 3, 1), (16, 2, 1), ["any", "rows"]),  # the last row of threadgroups is one high
        ((96, 1, 4), (96, 1, 2), ["full"]),
        ((100, 1, 1), (64, 1, 1), ["full", "rows"]),  # the last 36 threads
        ((80, 1, 1), (48, 1, 1), ["rows"]),  # the last 32 do not start at a multiple of 32
    ],
)
def test_only_the_variants_that_a_grid_needs_are_translated(
    library, recorder, grid, group_size, variants
):
    count(library, grid, group_size)
    assert sorted(variant for _, _, variant in recorder.requests) == variants


def test_translation_waits_for_the_first_dispatch_and_happens_once(library, recorder):
    library.pipeline("count_threads")
    assert recorder.requests == []
    for _ in range(3):
        count(library, (64, 1, 1), (32, 1, 1))
    assert recorder.requests == [("count_threads", [], "full")]


def test_each_choice_of_constants_is_translated_for_itself(library, recorder):
    values = [(True,), (False,), (7,), (-7,), (1.5,), (2**64 - 1,)]
    for (value,) in values * 2:
        constant = _core.FunctionConstant(3, "float", value)
        count(library, (32, 1, 1), (32, 1, 1), [constant])
    assert recorder.requests == [("count_threads", [(3, value)], "full") for (value,) in values]


def test_equal_constants_give_the_same_pipeline(library):
    constants = [_core.FunctionConstant(1, "int", 4)]
    assert library.pipeline("a", constants) is library.pipeline("a", constants)
    assert library.pipeline("a", constants) is not library.pipeline("a")


def test_a_failed_translation_is_reported_and_tried_again():
    outcomes = [ValueError("cannot translate"), native_kernels.native("count_threads")]

    def translate(kernel, constants, variant, improve):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    library = _core.software_device(2).load(b"", translate)
    with pytest.raises(ValueError, match="cannot translate"):
        count(library, (32, 1, 1), (32, 1, 1))
    count(library, (32, 1, 1), (32, 1, 1))


def test_threads_that_meet_at_a_first_launch_wait_for_one_translation():
    started = threading.Barrier(4, timeout=30)
    requests = []

    def translate(kernel, constants, variant, improve):
        requests.append(kernel)
        # Gives the others every chance to come in.
        threading.Event().wait(0.05)
        return native_kernels.native(kernel)

    library = _core.software_device(2).load(b"", translate)

    def launch():
        started.wait()
        count(library, (640, 1, 1), (32, 1, 1))

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert requests == ["count_threads"]

"""The software device's dispatch: every thread once, on memory that is shared and not copied."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native_kernels
from metalgen import _core
from metalgen.errors import LaunchError

Geometry = _core.Geometry
LIBRARY = native_kernels.library()

axes = st.integers(1, 23)
grids = st.tuples(axes, axes, axes)
group_sizes = st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 5))


def run(kernel, geometry, *sources, memory=()):
    LIBRARY.pipeline(kernel).dispatch(sources, geometry, memory)


def address(array):
    return array.ctypes.data


@given(grid=grids, group_size=group_sizes)
@settings(max_examples=60, deadline=None)
def test_every_thread_of_a_grid_runs_exactly_once(grid, group_size):
    x, y, z = grid
    counts = np.zeros((z, y, x), np.uint32)
    run("count_threads", Geometry.of_threads(grid, group_size), address(counts))
    assert (counts == 1).all()


@given(groups=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4)), size=group_sizes)
@settings(max_examples=40, deadline=None)
def test_whole_threadgroups_cover_whole_multiples(groups, size):
    x, y, z = (count * width for count, width in zip(groups, size, strict=True))
    counts = np.zeros((z, y, x), np.uint32)
    run("count_threads", Geometry.of_threadgroups(groups, size), address(counts))
    assert (counts == 1).all()


@given(grid=grids, group_size=group_sizes)
@settings(max_examples=60, deadline=None)
def test_each_threadgroup_is_told_its_place_and_its_size_which_shrinks_at_the_edges(
    grid, group_size
):
    groups = tuple(-(-n // g) for n, g in zip(grid, group_size, strict=True))
    seen = np.zeros((groups[2], groups[1], groups[0], 5, 3), np.uint32)
    run("record_threadgroup", Geometry.of_threads(grid, group_size), address(seen))
    for z, y, x in itertools.product(range(groups[2]), range(groups[1]), range(groups[0])):
        size = [min(g, n - at * g) for n, g, at in zip(grid, group_size, (x, y, z), strict=True)]
        expected = [[x, y, z], size, list(group_size), list(grid), list(groups)]
        assert seen[z, y, x].tolist() == expected


def test_a_million_threadgroups_run_once_each():
    counts = np.zeros(1 << 20, np.uint32)
    run("count_threads", Geometry.of_threads((1 << 20, 1, 1), (1, 1, 1)), address(counts))
    assert (counts == 1).all()


def test_an_empty_grid_runs_nothing_and_needs_no_translation():
    def refuse(kernel, constants, variant):
        raise AssertionError("translated")

    pipeline = _core.software_device(2).load(b"", refuse).pipeline("count_threads")
    pipeline.dispatch((0,), Geometry.of_threads((0, 5, 1), (32, 1, 1)))


def test_each_threadgroup_has_threadgroup_memory_and_scratch_of_its_own():
    good = np.zeros(200, np.uint32)
    geometry = Geometry.of_threadgroups((200, 1, 1), (32, 1, 1))
    run("use_all_memory", geometry, address(good), memory=((0, 496), (3, 496)))
    assert (good == 1).all()


def test_kernels_work_on_the_callers_memory_and_touch_nothing_beside_it():
    x = np.arange(64, dtype=np.float32)
    storage = np.full(96, -1, np.float32)
    y = storage[16:80]
    y[:] = 1
    scale = np.float32(2).tobytes()
    run("saxpy", Geometry.of_threads((64, 1, 1), (32, 1, 1)), address(x), address(y), scale)
    assert (storage[16:80] == 2 * x + 1).all()
    assert (storage[:16] == -1).all()
    assert (storage[80:] == -1).all()


def test_a_handle_with_an_offset_starts_that_many_bytes_in():
    storage = np.zeros(48, np.uint32)
    geometry = Geometry.of_threads((32, 1, 1), (32, 1, 1))
    run("count_threads", geometry, (address(storage), 16 * 4))
    assert storage.tolist() == [0] * 16 + [1] * 32


def test_bytes_are_copied_to_aligned_memory():
    out = np.zeros(3, np.uint64)
    payload = bytes(range(64))
    run("look_at_buffers", Geometry.of_threads((1, 1, 1), (1, 1, 1)), address(out), payload)
    expected = 14695981039346656037
    for byte in payload:
        expected = (expected ^ byte) * 1099511628211 % 2**64
    assert out.tolist() == [3, expected, 0]


def test_none_leaves_a_buffer_unbound():
    out = np.zeros(3, np.uint64)
    geometry = Geometry.of_threads((1, 1, 1), (1, 1, 1))
    run("look_at_buffers", geometry, address(out), None, address(out))
    assert out[0] == 3


def test_device_buffers_share_memory_with_the_host():
    device = _core.software_device(1)
    buffer = device.allocate(128)
    view = np.frombuffer(buffer, np.uint32)
    assert view.tolist() == [0] * 32
    geometry = Geometry.of_threads((32, 1, 1), (32, 1, 1))
    run("count_threads", geometry, buffer.handle)
    assert view.tolist() == [1] * 32
    host = (ctypes.c_uint32 * 32)()
    wrapped = device.wrap(ctypes.addressof(host), ctypes.sizeof(host))
    run("count_threads", geometry, wrapped.handle)
    assert list(host) == [1] * 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Geometry.of_threads((1, 1, 1), (0, 1, 1)), "at least one thread"),
        (lambda: Geometry.of_threadgroups((2**31, 1, 1), (2, 1, 1)), "along axis 0"),
        (lambda: Geometry.of_threads((2**32 - 1,) * 3, (1, 1, 1)), r"2\^64 threadgroups"),
    ],
)
def test_impossible_geometries_are_refused(make, message):
    with pytest.raises(LaunchError, match=message):
        make()


def test_sources_that_cannot_be_bound_are_refused():
    geometry = Geometry.of_threads((1, 1, 1), (1, 1, 1))
    with pytest.raises(LaunchError, match="buffer 1 is given a str"):
        run("count_threads", geometry, None, "text")
    with pytest.raises(LaunchError, match="index 31 is beyond 30"):
        run("count_threads", geometry, *[None] * 32)
    with pytest.raises(LaunchError, match="index 31 is beyond 30"):
        run("count_threads", geometry, memory=((31, 16),))
    with pytest.raises(OverflowError):
        run("count_threads", geometry, -1)

"""Grid sizes, threadgroup sizes and threadgroup memory of a launch, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import native_kernels
from metalgen.air import Argument, FunctionConstant, KernelInfo
from metalgen.errors import LaunchError
from metalgen.library import Kernel

OUT = Argument(
    position=0, name="out", kind="buffer", index=0, type_name="uint", type_size=4, access="write"
)


def shared(index):
    return Argument(position=index + 1, name="shared", kind="threadgroup", index=index)


def kernel(name, *arguments, translate=native_kernels.translate, **more):
    library = native_kernels._core.software_device(2).load(b"", translate)
    return Kernel(KernelInfo(name, (OUT, *arguments), **more), lambda device: library)


count = kernel("count_threads")
record = kernel("record_threadgroup")

sizes = st.lists(st.integers(1, 10), min_size=1, max_size=3)  # 1000 threads a group at most


@given(threads=sizes, group_size=sizes | st.none())
@settings(max_examples=60, deadline=None)
def test_threads_run_once_each_whatever_the_sizes(threads, group_size):
    out = torch.zeros(int(np.prod(threads)), dtype=torch.int32)
    count(out, threads=threads, group_size=group_size)
    assert (out == 1).all()


@given(groups=sizes, group_size=sizes)
@settings(max_examples=40, deadline=None)
def test_threadgroups_are_whole(groups, group_size):
    out = torch.zeros(int(np.prod(groups) * np.prod(group_size)), dtype=torch.int32)
    count(out, threadgroups=tuple(groups), group_size=tuple(group_size))
    assert (out == 1).all()


def test_sizes_may_be_numbers_of_any_integer_kind():
    out = torch.zeros(64, dtype=torch.int32)
    count(out, threads=np.int64(64), group_size=torch.Size([8]))
    count(out, threads=torch.Size([64]))
    assert (out == 2).all()


def test_the_default_group_is_the_largest_the_kernel_allows():
    out = torch.zeros(45, dtype=torch.int32)
    record(out, threads=3000)
    assert out[6:9].tolist() == [1024, 1, 1]
    record(out, threads=40)
    assert out[6:9].tolist() == [40, 1, 1]
    limited = kernel("record_threadgroup", max_total_threads=128)
    limited(torch.zeros(15 * 24, dtype=torch.int32), threads=3000)
    with pytest.raises(LaunchError, match="expected 1 to 128 threads a threadgroup, found 256"):
        limited(out, threads=256, group_size=256)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"threads": 64, "group_size": 1025}, "expected 1 to 1024 threads .* found 1025"),
        ({"threads": 64, "group_size": (32, 33)}, "found 1056"),
        ({"threads": 64, "group_size": 0}, "found 0"),
        ({"threads": -1}, "found -1"),
        ({"threads": 2**32}, f"found {2**32}"),
        ({"threads": (1, 1, 1, 1)}, "expected 1 to 3 numbers for threads, found 4"),
        ({"threads": ()}, "expected 1 to 3 numbers for threads, found 0"),
        ({"threads": 1.5}, "expected integers for threads"),
        ({"threads": "64"}, "expected integers for threads"),
        ({"threads": 64, "threadgroups": 2, "group_size": 32}, "found both"),
        ({"threadgroups": 2}, "threadgroups= needs group_size="),
        ({"threadgroups": 2**31, "group_size": 32}, "along axis 0"),
    ],
)
def test_sizes_beyond_the_limits_are_refused(sizes, message):
    with pytest.raises(LaunchError, match=message):
        count(torch.zeros(64, dtype=torch.int32), **sizes)


def test_sizes_are_needed_where_no_tensor_gives_them():
    alone = Kernel(KernelInfo("count_threads"), lambda device: native_kernels.library())
    with pytest.raises(LaunchError, match="no tensor argument says how many"):
        alone()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_threads_along_an_axis_run_nothing(axis):
    out = torch.zeros(8, dtype=torch.int32)
    threads = [2, 2, 2]
    threads[axis] = 0
    count(out, threads=threads, group_size=(2, 2, 2))
    count(out, threadgroups=threads, group_size=(2, 2, 2))
    assert (out == 0).all()


def test_threadgroup_memory_is_given_by_index():
    use = kernel("use_all_memory", shared(0), shared(3), threadgroup_bytes=1000)
    out = torch.zeros(50, dtype=torch.int32)
    use(out, threadgroups=50, group_size=32, threadgroup_memory={0: 490, 3: 496})
    assert (out == 1).all()


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (None, r"expected threadgroup_memory for indices \[0\], found \[\]"),
        ({1: 16}, r"indices \[0\], found \[1\]"),
        ({0: 16, 1: 16}, r"indices \[0\], found \[0, 1\]"),
        ({0: 32768}, "at most 32768 bytes of threadgroup memory, found 4 static"),
        ({0: -16}, "at most 32768"),
        ({0: "16"}, "expected integers"),
    ],
)
def test_threadgroup_memory_must_match_and_fit(memory, message):
    use = kernel("use_all_memory", shared(0), threadgroup_bytes=4)
    out = torch.zeros(50, dtype=torch.int32)
    with pytest.raises(LaunchError, match=message):
        use(out, threadgroups=1, group_size=32, threadgroup_memory=memory)


def test_kernels_with_too_much_static_threadgroup_memory_are_refused():
    with pytest.raises(LaunchError, match="found 32784 static"):
        kernel("count_threads", threadgroup_bytes=32784)(torch.zeros(4, dtype=torch.int32))


def test_function_constants_are_given_by_name_or_index_in_their_own_type():
    asked = []

    def translate(name, constants, variant, improve):
        asked.append([(constant.index, constant.value) for constant in constants])
        return native_kernels.native(name)

    declared = (FunctionConstant("tile", 4, "uint"), FunctionConstant("alpha", 1, "float"))
    tuned = kernel("count_threads", translate=translate, constants=declared)
    out = torch.zeros(4, dtype=torch.int32)
    ignored = {"size": 3, 77: 1.0}  # as Metal does with what a kernel has not
    for constants in ({"tile": 8, "alpha": 1}, {4: 8, 1: 1.0, **ignored}, {4: 9, "alpha": 1}):
        tuned(out, constants=constants)
    assert asked == [[(1, 1.0), (4, 8)], [(1, 1.0), (4, 9)]]


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({4: -1}, "function constant 'tile': expected 0 to 4294967295 for uint, found -1"),
        ({4: "x"}, "function constant 'tile': expected a number, found a str"),
    ],
)
def test_unfit_function_constants_are_refused(constants, message):
    tuned = kernel("count_threads", constants=(FunctionConstant("tile", 4, "uint"),))
    with pytest.raises(LaunchError, match=message):
        tuned(torch.zeros(4, dtype=torch.int32), constants=constants)

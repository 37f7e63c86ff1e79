"""What a kernel call accepts for each argument, and how it refuses the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import native_kernels
from metalgen.air import Argument, KernelInfo
from metalgen.errors import LaunchError, UnsupportedError
from metalgen.library import Kernel


def argument(index, name, type_name, *, size=4, access="read", space="device", **more):
    return Argument(
        position=index,
        name=name,
        kind="buffer",
        index=index,
        type_name=type_name,
        type_size=size,
        type_alignment=size,
        address_space=space,
        access=access,
        **more,
    )


def kernel(name, *arguments, **more):
    library = native_kernels.library()
    return Kernel(KernelInfo(name, tuple(arguments), **more), lambda device: library)


@pytest.fixture
def saxpy():
    return kernel(
        "saxpy",
        argument(0, "x", "float"),
        argument(1, "y", "float", access="read_write"),
        argument(2, "a", "float", space="constant", is_reference=True),
    )


def look(*arguments):
    """A kernel whose first buffer receives what it saw."""
    out = argument(0, "out", "ulong", size=8, access="read_write")
    return kernel("look_at_buffers", out, *arguments)


def vectors(n=100):
    return torch.randn(n), torch.randn(n)


@pytest.mark.parametrize("n", [1, 31, 32, 1000, 5003])
def test_as_many_threads_run_as_the_first_tensor_has_elements(saxpy, n):
    x, y = vectors(n)
    expected = y + 1.5 * x
    saxpy(x, y, 1.5)
    torch.testing.assert_close(y, expected)


def test_a_kernel_writes_through_a_view_into_its_base_and_nowhere_else(saxpy):
    base = torch.zeros(10, 32)
    row = base[4]
    before = base.data_ptr()
    saxpy(torch.ones(32), row, 3)
    assert base.data_ptr() == before
    assert (base[4] == 3).all()
    assert base.sum() == 96


def test_memory_allocated_by_others_is_not_copied_either(saxpy):
    array = np.ones(64, np.float32)
    saxpy(torch.ones(64), torch.from_numpy(array), 1.0)
    assert (array == 2).all()


def test_arguments_follow_buffer_indices_not_declaration():
    info = [
        argument(2, "a", "float", space="constant", is_reference=True),
        argument(1, "y", "float", access="read_write"),
        argument(0, "x", "float"),
    ]
    x, y = torch.ones(8), torch.ones(8)
    kernel("saxpy", *info)(x, y, 4)
    assert (y == 5).all()


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_number_of_arguments_names_what_was_expected(saxpy, count):
    with pytest.raises(LaunchError, match=rf"expected 3 arguments \(x, y, a\), found {count}"):
        saxpy(*[torch.ones(4)] * count)


def test_a_tensor_of_another_dtype_is_refused(saxpy):
    x, y = vectors()
    message = r"kernel 'saxpy': argument 'x' \(buffer 0, float\): expected torch.float32, found"
    with pytest.raises(LaunchError, match=f"{message} torch.float64"):
        saxpy(x.double(), y, 1)


@pytest.mark.parametrize(
    ("type_name", "good", "bad"),
    [
        ("uint", [torch.int32, torch.uint32], [torch.int64, torch.float32]),
        ("long", [torch.int64], [torch.int32]),
        ("uchar", [torch.uint8, torch.int8, torch.bool], [torch.int16]),
        ("bool", [torch.bool], [torch.uint8]),
        ("half", [torch.float16], [torch.bfloat16]),
        ("bfloat", [torch.bfloat16], [torch.float16]),
        ("float4", [torch.float32], [torch.float16]),
        ("packed_half3", [torch.float16], [torch.float32]),
        ("float2", [torch.float32, torch.complex64], [torch.complex128]),
        ("metal::float4x4", [torch.float32], [torch.int32]),
        ("my_struct", [torch.float32, torch.uint8, torch.int64], []),
    ],
)
def test_dtypes_match_metal_types_by_kind_and_width(type_name, good, bad):
    seen = look(argument(1, "x", type_name, size=1))
    out = torch.zeros(3, dtype=torch.int64)
    for dtype in good:
        seen(out, torch.zeros(64, dtype=dtype), threads=1)
    for dtype in bad:
        with pytest.raises(LaunchError, match=f"found {dtype}"):
            seen(out, torch.zeros(64, dtype=dtype), threads=1)


def test_a_tensor_that_is_not_contiguous_is_refused_with_the_remedy(saxpy):
    x = torch.randn(8, 8)
    with pytest.raises(LaunchError, match=r"strides \(1, 8\) .* pass tensor.contiguous\(\)"):
        saxpy(x.t(), torch.zeros(8, 8), 1)


def test_tensors_without_memory_are_refused(saxpy):
    x, y = vectors(4)
    with pytest.raises(LaunchError, match="expected tensors on cpu or mps, found meta"):
        saxpy(x.to("meta"), y.to("meta"), 1)
    with pytest.raises(LaunchError, match="expected a tensor on cpu, found meta"):
        saxpy(x, y.to("meta"), 1)
    with pytest.raises(LaunchError, match=r"found torch.sparse_coo"):
        saxpy(x.to_sparse(), y, 1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = torch.empty(4)
    with pytest.raises(LaunchError, match="memory of its own"):
        saxpy(fake, y, 1)
    x.untyped_storage().resize_(0)
    with pytest.raises(LaunchError, match="memory has been freed"):
        saxpy(x, y, 1)


def test_lazily_conjugated_tensors_are_refused():
    seen = look(argument(1, "x", "float2", size=8))
    with pytest.raises(LaunchError, match="lazily conjugated"):
        seen(torch.zeros(3, dtype=torch.int64), torch.zeros(64, dtype=torch.complex64).conj())


def test_a_view_that_starts_between_vectors_is_refused():
    seen = look(argument(1, "x", "float4", size=16))
    out, x = torch.zeros(3, dtype=torch.int64), torch.zeros(80)
    seen(out, x[4:], threads=1)
    with pytest.raises(LaunchError, match=r"multiple of 16 bytes; pass tensor.clone\(\)"):
        seen(out, x[1:], threads=1)


def test_empty_tensors_run_nothing_and_may_be_bound(saxpy):
    saxpy(torch.empty(0), torch.empty(0), 1)
    seen = look(argument(1, "x", "float"))
    out = torch.zeros(3, dtype=torch.int64)
    seen(out, torch.empty(0), threads=1)
    assert out[0] == 3


def test_a_tensor_may_stand_for_a_reference_if_it_is_large_enough():
    seen = look(argument(1, "x", "params", size=64, space="constant", is_reference=True))
    out = torch.zeros(3, dtype=torch.int64)
    seen(out, torch.zeros(16), threads=1)
    with pytest.raises(LaunchError, match="expected at least 64 bytes, found 60"):
        seen(out, torch.zeros(15), threads=1)
    with pytest.raises(LaunchError, match="expected 64 bytes, found 3"):
        seen(out, b"abc", threads=1)


def test_references_to_arrays_take_as_many_values():
    seen = look(
        argument(1, "x", "float", space="constant", is_reference=True, array_length=16),
    )
    out = torch.zeros(3, dtype=torch.int64)
    seen(out, list(range(16)), threads=1)
    with pytest.raises(LaunchError, match="expected 64 bytes, found 60"):
        seen(out, list(range(15)), threads=1)


def test_values_are_refused_for_memory_that_the_kernel_writes(saxpy):
    with pytest.raises(LaunchError, match=r"argument 'y' .*expected a tensor, found a float"):
        saxpy(torch.ones(4), 1.0, 1.0)


def test_none_is_for_arguments_that_function_constants_leave_out():
    out = torch.zeros(3, dtype=torch.int64)
    optional = look(argument(1, "bias", "float", condition="has_bias"))
    optional(out, None, threads=1)
    assert out[0] == 2
    unused = look(argument(1, "size", "uint", is_used=False))
    unused(out, None, threads=1)
    with pytest.raises(LaunchError, match=r"argument 'x' .*: expected a tensor or value, found"):
        look(argument(1, "x", "float"))(out, None, threads=1)


def test_alternatives_at_one_index_take_what_either_takes():
    seen = look(
        argument(1, "bool_mask", "bool", size=1, condition="is_bool"),
        argument(1, "float_mask", "float", condition="is_float"),
    )
    out = torch.zeros(3, dtype=torch.int64)
    seen(out, torch.zeros(64, dtype=torch.bool), threads=1)
    seen(out, torch.zeros(64), threads=1)
    with pytest.raises(LaunchError, match=r"expected torch.bool or torch.float32"):
        seen(out, torch.zeros(64, dtype=torch.int32), threads=1)


def test_textures_are_not_supported():
    texture = Argument(position=1, name="image", kind="texture", index=0)
    with pytest.raises(UnsupportedError, match="not supported: texture arguments"):
        kernel("count_threads", argument(0, "out", "uint"), texture)(torch.zeros(4).int())


def test_a_kernel_shows_its_signature(saxpy):
    assert repr(saxpy) == "<kernel saxpy(x: float, y: float, a: float)>"

"""Structs with pointers: compiled, described, and bound from tensors on the software device."""

from __future__ import annotations

import pytest
import torch

import metalgen
from metalgen.air import Metallib
from metalgen.compiler import compile_source
from metalgen.errors import LaunchError

ARGUMENTS = """
    struct Scale { float factor; };
    struct Inputs {
      device float* first [[id(0)]];
      uint count [[id(1)]];
      constant float* weight [[id(2)]];
      device const int* rows[2] [[id(3)]];
      Scale scale;
    };
    kernel void f(device float* out [[buffer(0)]], constant Inputs& in [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
      if (i >= in.count) return;
      out[i] = in.first[i] * in.weight[0] * in.scale.factor + (in.rows[1] ? in.rows[1][i] : 0);
      in.first[i] = 7;
    }
"""


def test_an_argument_buffer_is_a_sequence_with_tensors_for_its_pointers():
    first, out, rows = torch.arange(4.0), torch.zeros(4), torch.arange(4, dtype=torch.int32)
    kernel = metalgen.compile_shader("#include <metal_stdlib>\n" + ARGUMENTS).f
    kernel(out, [first, 4, torch.tensor([2.0]), [rows, rows * 10], [3.0]], threads=4)
    assert out.tolist() == [0, 16, 32, 48]
    assert first.tolist() == [7] * 4
    kernel(out, [first, 3, torch.tensor([2.0]), [rows, None], [3.0]], threads=4)
    assert out.tolist() == [42, 42, 42, 48]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (torch.arange(4), "member 'first': expected a tensor of float, found torch.int64"),
        (torch.zeros(4, device="meta"), "take tensors on cpu alone so far, found one on meta"),
        (torch.zeros(4, 2)[:, 0], "member 'first': expected a contiguous tensor"),
        (5, "member 'first': expected a tensor, found a int"),
    ],
)
def test_what_a_pointer_cannot_lead_to_is_refused(first, message):
    kernel = metalgen.compile_shader("#include <metal_stdlib>\n" + ARGUMENTS).f
    weight, rows = torch.ones(1), [None, None]
    with pytest.raises(LaunchError, match=message):
        kernel(torch.zeros(4), [first, 4, weight, rows, [3.0]], threads=4)


def test_its_pointers_are_described_as_resources():
    info = Metallib(compile_source("#include <metal_stdlib>\n" + ARGUMENTS)).kernel("f")
    buffer = info.arguments[1]
    assert buffer.is_argument_buffer
    resources = {f.name: f.resource for f in buffer.fields if f.resource}
    assert {n: (r.type_name, r.address_space, r.access) for n, r in resources.items()} == {
        "first": ("float", "device", "read_write"),
        "weight": ("float", "constant", "read"),
        "rows": ("int", "device", "read"),
    }


def test_tables_of_pointers_are_bound_as_tensors_of_addresses():
    first, second = torch.ones(3), torch.full((3,), 5.0)
    kernel = metalgen.compile_shader("""
        struct Row { device float* at; };
        kernel void f(device float* out [[buffer(0)]], const device Row* rows [[buffer(1)]],
                      uint2 i [[thread_position_in_grid]]) {
          out[i.y * 3 + i.x] = rows[i.y].at[i.x];
        }
    """).f
    out = torch.zeros(6)
    kernel(out, torch.tensor([first.data_ptr(), second.data_ptr()]), threads=(3, 2))
    assert out.tolist() == [1, 1, 1, 5, 5, 5]


def test_a_launch_for_later_cannot_hold_them():
    kernel = metalgen.compile_shader("#include <metal_stdlib>\n" + ARGUMENTS).f
    with pytest.raises(LaunchError, match="argument buffers cannot wait"):
        kernel.launch(torch.zeros(4), [None, 0, None, [None, None], [1.0]], threads=4)


TWO = "struct Row { device float* at; uint add; };"
EVERY_ROW = """
    for (uint n = 0; n < 2; ++n) rows[n].at[i] = rows[n].at[i] * 10 + rows[n].add;
"""


@pytest.mark.parametrize(
    "declared",
    [
        "constant Row* rows",
        "const device Row* rows",
        "device Row* rows",
        "constant Row (&rows)[2]",
        "constant metal::array<Row, 2>& rows",
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_several_argument_buffers_are_a_sequence_of_sequences(declared, named):
    kernel = metalgen.compile_shader(f"""#include <metal_stdlib>
        {TWO}
        kernel void f({declared} [[buffer(0)]], uint i [[thread_position_in_grid]]) {{{EVERY_ROW}}}
    """).f
    first, second = torch.arange(3.0), torch.arange(3.0, 6.0)
    rows = [[first, 5], [second, 6]]
    kernel([dict(zip(("at", "add"), row, strict=True)) for row in rows] if named else rows,
           threads=3)  # fmt: skip
    assert first.tolist() == [5, 15, 25]
    assert second.tolist() == [36, 46, 56]


@pytest.mark.parametrize("declared", ["device Row& row", "const device Row& row"])
def test_an_argument_buffer_may_lie_in_device_memory(declared):
    writes = "" if "const" in declared else "row.add = 0;"
    kernel = metalgen.compile_shader(f"""
        {TWO}
        kernel void f({declared} [[buffer(0)]], uint i [[thread_position_in_grid]]) {{
          row.at[i] += row.add;
          {writes}
        }}
    """).f
    values = torch.zeros(1)
    kernel([values, 5], threads=1)
    assert values.tolist() == [5]
    with pytest.raises(LaunchError, match="member 'at': expected a tensor of float"):
        kernel([torch.zeros(1).int(), 5], threads=1)


@pytest.mark.parametrize(
    ("declared", "space"),
    [
        ("constant array<device float*, 2>& rows", "device"),
        ("constant array<device const float*, 2>& rows", "device"),
        ("const device array<constant float*, 2>& rows", "constant"),
        ("device array<constant float*, 2>& rows", "constant"),
    ],
)
def test_an_array_of_pointers_is_a_sequence_of_tensors(declared, space):
    kernel = metalgen.compile_shader(f"""#include <metal_stdlib>
        using namespace metal;
        kernel void f({declared} [[buffer(0)]], device float* out [[buffer(1)]],
                      uint2 i [[thread_position_in_grid]]) {{
          out[i.y * 3 + i.x] = rows[i.y] ? rows[i.y][i.x] : -1;
        }}
    """).f
    (resource,) = (field.resource for field in kernel.info.arguments[0].fields)
    assert (resource.type_name, resource.address_space) == ("float", space)
    out = torch.zeros(6)
    kernel([torch.arange(3.0), None], out, threads=(3, 2))
    assert out.tolist() == [0, 1, 2, -1, -1, -1]
    with pytest.raises(LaunchError, match=r"expected a tensor of float, found torch\.int64"):
        kernel([torch.arange(3), None], out, threads=(3, 2))


def test_structs_in_arrays_of_a_struct_hold_pointers_too():
    kernel = metalgen.compile_shader("""
        struct Layer { constant float* weight; float bias; };
        struct Model { uint count; Layer layers[2]; };
        kernel void f(constant Model& m [[buffer(0)]], device float* x [[buffer(1)]],
                      uint i [[thread_position_in_grid]]) {
          for (uint n = 0; n < m.count; ++n)
            x[i] = x[i] * m.layers[n].weight[i] + m.layers[n].bias;
        }
    """).f
    x = torch.ones(2)
    kernel([2, [[torch.tensor([2.0, 3.0]), 1], [torch.tensor([5.0, 7.0]), 4]]], x, threads=2)
    assert x.tolist() == [19, 32]


def test_arrays_of_the_library_are_given_as_their_elements():
    kernel = metalgen.compile_shader("""
        #include <metal_stdlib>
        using namespace metal;
        struct Rows { array<device float*, 3> at; array<uint2, 2> steps; };
        kernel void f(constant Rows& rows [[buffer(0)]], constant array<int, 3>& add [[buffer(1)]],
                      uint i [[thread_position_in_grid]]) {
          if (rows.at[i]) rows.at[i][0] = rows.steps[1].y + add[i];
        }
    """).f
    first, last = torch.zeros(1), torch.zeros(1)
    kernel([[first, None, last], [1, 2, 3, 4]], [10, 20, 30], threads=3)
    assert (first.item(), last.item()) == (14, 34)
    buffer = kernel.info.arguments[0]
    assert buffer.is_argument_buffer
    (elements,) = buffer.fields[1].fields
    assert (elements.name, elements.type_name, elements.count) == ("__elems", "uint2", 2)


def test_a_member_may_exist_by_a_function_constant():
    source = """#include <metal_stdlib>
        constant bool scaled [[function_constant(0)]];
        struct Inputs {
          device float* values [[id(0)]];
          constant float* scales [[id(1), function_constant(scaled)]];
        };
        kernel void f(constant Inputs& in [[buffer(0)]], uint i [[thread_position_in_grid]]) {
          in.values[i] += scaled ? in.scales[i] : 1;
        }
    """
    kernel = metalgen.compile_shader(source).f
    values = torch.zeros(3)
    kernel([values, None], threads=3, constants={"scaled": False})
    assert values.tolist() == [1, 1, 1]
    kernel([values, torch.arange(3.0)], threads=3, constants={"scaled": True})
    assert values.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("declared", "space", "access"),
    [
        ("device float* device* rows", "device", "read_write"),
        ("device const float* const device* rows", "device", "read"),
        ("device const float* constant* rows", "constant", "read"),
        ("constant float* const device* rows", "device", "read"),
        ("device float* constant (&rows)[2]", "constant", "read"),
    ],
)
def test_a_pointer_to_pointers_is_a_sequence_of_tensors(declared, space, access):
    kernel = metalgen.compile_shader(f"""
        kernel void f({declared} [[buffer(0)]], device float* out [[buffer(1)]],
                      uint2 i [[thread_position_in_grid]]) {{
          out[i.y * 3 + i.x] = rows[i.y] ? rows[i.y][i.x] : -1;
        }}
    """).f
    assert (kernel.info.arguments[0].address_space, kernel.info.arguments[0].access) == (
        space,
        access,
    )
    out = torch.zeros(6)
    kernel([torch.arange(3.0), None], out, threads=(3, 2))
    assert out.tolist() == [0, 1, 2, -1, -1, -1]
    with pytest.raises(LaunchError, match=r"expected a tensor of float, found torch\.int64"):
        kernel([torch.arange(3), None], out, threads=(3, 2))
    with pytest.raises(LaunchError, match=r"expected torch\.int64 or torch\.uint64"):
        kernel(torch.arange(3.0), out, threads=(3, 2))


def test_a_kernel_writes_through_pointers_and_exchanges_them():
    kernel = metalgen.compile_shader("""
        kernel void f(device float* device* rows [[buffer(0)]],
                      uint i [[thread_position_in_grid]]) {
          device float* first = rows[0];
          rows[0] = rows[1];
          rows[1] = first;
          rows[0][i] = 5;
        }
    """).f
    first, second = torch.zeros(2), torch.zeros(2)
    addresses = torch.tensor([first.data_ptr(), second.data_ptr()])
    kernel(addresses, threads=1)
    assert (first.tolist(), second.tolist()) == ([0, 0], [5, 0])
    assert addresses.tolist() == [second.data_ptr(), first.data_ptr()]

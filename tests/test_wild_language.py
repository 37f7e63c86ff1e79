"""Constructs of Metal sources at large, each in a kernel that is compiled and run."""

from __future__ import annotations

import pytest
import torch

import metalgen
from metalgen.compiler import CompileOptions
from metalgen.errors import CompileError, LaunchError

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"


def library(source, standard="metal3.2"):
    return metalgen.compile_shader(PREAMBLE + source, options=CompileOptions(standard=standard))


def test_function_constants_may_have_computed_indices():
    out = torch.zeros(2)
    kernel = library("""
        #define BASE 300
        enum { FIRST = 600 };
        constexpr constant int offset = 0x4;
        constant float scale [[function_constant(BASE + 1)]];
        constant bool twice [[function_constant(FIRST | offset)]];
        kernel void f(device float* out, uint i [[thread_position_in_grid]]) {
          out[i] = twice ? 2 * scale : scale;
        }
    """).f
    kernel(out, threads=2, constants={301: 2.5, 604: True})
    assert out.tolist() == [5, 5]


def test_function_constants_have_types_by_any_name():
    out = torch.zeros(2)
    kernel = library("""
        typedef uint8_t byte;
        namespace lib { using small = short; constant small step [[function_constant(3)]]; }
        using pair = half2;
        constant pair both [[function_constant(4)]];
        constant int32_t rows [[function_constant(0)]];
        constant size_t count [[function_constant(1)]];
        constant byte flags [[function_constant(2)]];
        kernel void f(device float* out, uint i [[thread_position_in_grid]]) {
          out[i] = rows + count * 2 + flags * 10 + lib::step;
          if (is_function_constant_defined(both)) out[i] = both[i];
        }
    """).f
    kernel(out, threads=2, constants={"rows": -1, "count": 2, "flags": 200, "step": -5})
    assert out.tolist() == [1998, 1998]
    kernel(out, threads=2, constants={"rows": 0, "count": 0, "flags": 0, "step": 0, 4: [7, 0.5]})
    assert out.tolist() == [7, 0.5]


VECTORS = """
constant float4 a [[function_constant(0)]];
constant uint2 b [[function_constant(1)]];
constant half3 c [[function_constant(2)]];
constant bool2 d [[function_constant(3)]];
constant long2 e [[function_constant(4)]];
constant float3 twice = float3(c) * 2;
kernel void f(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  if (i < 4) o[i] = a[i];
  if (i < 3) o[i + 6] = c[i], o[i + 13] = twice[i];
  if (i < 2) o[i + 4] = b[i], o[i + 9] = d[i], o[i + 11] = e[i];
}
"""


def test_vectors_are_function_constants():
    out, whole = torch.zeros(16), 2**40
    values = {"a": [1, 2.5, 3, 4], "b": (5, 2**31), 2: [0.5, 7, 8], "d": [True, False]}
    library(VECTORS).f(out, constants=values | {"e": [-whole, whole]}, threads=4)
    parts = (1, 2.5, 3, 4), (5, 2**31), (0.5, 7, 8), (1, 0), (-whole, whole), (1, 14, 16)
    assert out.tolist() == [number for part in parts for number in part]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, "expected 4 numbers for float4, found 1"),
        ([1, 2, 3], "expected 4 numbers for float4, found 3"),
        ("1234", "expected a number, found a str"),
    ],
)
def test_a_vector_of_another_length_is_no_function_constant(value, message):
    with pytest.raises(LaunchError, match=f"function constant 'a': {message}"):
        library(VECTORS).f(torch.zeros(16), constants={"a": value}, threads=4)


def test_functions_declared_by_their_names_in_air_take_and_return_vectors():
    out = torch.tensor([-1.5, 2.0, 0.0, 0.0])
    library("""
        float2 magnitude(float2) __asm("air.fabs.v2f32");
        extern float larger(float a, float b) __asm("air.fmax.f32");
        namespace n {
        vec<float, 2> larger(vec<float, 2> a, const float2 b) __asm("air.fmax.v2f32");
        }
        kernel void f(device float* x) {
          const float2 m = magnitude(float2(x[0], x[1]));
          x[2] = larger(m.x, m.y);
          x[3] = n::larger(m, float2(1.75, 0)).x;
        }
    """).f(out, threads=1)
    assert out.tolist() == [-1.5, 2, 2, 1.75]


def test_literals_are_floats_in_templates_too():
    out = torch.tensor([3.0])
    library("""
        template <typename T> kernel void f(device T* x, uint i [[thread_position_in_grid]]) {
          const T value = x[i];
          static_assert(is_same_v<decltype(value / 6 + 0.5), float>);
          x[i] = fmax(0, fmin(1, value / 6 + 0.25)) + 1e0 + 0x1p1 + .5 + 1.;
        }
        template [[host_name("f")]] kernel void f<float>(device float*, uint);
    """).f(out, threads=1)
    assert out.item() == 0.75 + 4.5


def test_unrolling_by_a_macro_or_a_template_parameter_changes_nothing():
    out = torch.zeros(1)
    library("""
        #define COUNT 4
        #define MIN(a, b) ((a) < (b) ? (a) : (b))
        template <int N> void add(device float* x) {
        #pragma unroll COUNT
          for (int j = 0; j < 4; ++j) *x += 1;
        #pragma unroll(N)
          for (int j = 0; j < 4; ++j) *x += 1;
        #pragma unroll (MIN(N, COUNT))
          for (int j = 0; j < 4; ++j) *x += 1;
        #pragma clang loop unroll_count(COUNT)
          for (int j = 0; j < 4; ++j) *x += 1;
        #pragma clang loop unroll(full)
          for (int j = 0; j < 4; ++j) *x += 1;
        }
        kernel void f(device float* x) { add<3>(x); }
    """).f(out, threads=1)
    assert out.item() == 20


def test_functions_are_template_arguments_in_every_spelling():
    x, out = torch.tensor([3.0]), torch.zeros(3, dtype=torch.int32)
    kernels = library(
        """
        template <typename T> void thrice(device const float* s, device T& d) { d = 3 * s[0]; }
        void twice(device const float* s, device int& d) { d = 2 * s[0]; }
        template <typename T, void (*op)(device const float*, device T&)>
        kernel void f(device const float* s, device T* d) { op(s, d[0]); }
        template <void op(device const float*, device int&)>
        void g(device const float* s, device int* d) { op(s, d[1]); }
        template <typename F> void h(device const float* s, device int* d, F op) { op(s, d[2]); }
        template <typename T> using Step = void (*)(device const float*, device T&);
        typedef void (*IntStep)(device const float*, device int&);
        template <typename T, Step<T> op, IntStep other>
        void named(device const float* s, device T* d) { op(s, d[1]); other(s, d[2]); }
        kernel void function(device const float* s, device int* d) {
          named<int, thrice, twice>(s, d);
          g<twice>(s, d);
          h(s, d, [](device const float* s, device int& d) { thrice(s, d); d += 1; });
        }
        typedef decltype(f<int, twice>) f_t;
        template [[host_name("pointer")]] kernel f_t f<int, thrice>;
    """,
        standard="metal4.0",
    )
    kernels.pointer(x, out, threads=1)
    kernels.function(x, out, threads=1)
    assert out.tolist() == [9, 6, 10]


def test_constant_tables_are_passed_to_pointers_that_do_not_say_const():
    out = torch.zeros(2)
    library("""
        constexpr constant static float table[3] = {1, 2, 4};
        static float last(constant float* values, int n) { return values[n - 1]; }
        kernel void f(device float* out, constant float& scale,
                      uint i [[thread_position_in_grid]]) {
          constant float* values = table;
          out[i] = i ? scale * last(table, 3) : values[1];
        }
    """).f(out, 2.0, threads=2)
    assert out.tolist() == [2, 8]


def test_packed_vectors_convert_to_vectors_of_other_types():
    x = torch.tensor([-1, 2, -3, 4], dtype=torch.int8)
    out = torch.zeros(4)
    library("""
        kernel void f(device const char* x, device float4* out) {
          device const packed_char4* packed = (device const packed_char4*)x;
          out[0] = float4(packed[0]) * 0.5f;
        }
    """).f(x, out, threads=1)
    assert torch.equal(out, x * 0.5)


def test_array_parameters_of_templates_lead_to_thread_memory():
    out = torch.tensor([3.0])
    library("""
        template <typename T>
        T at(T scale, const T values[], threadgroup T shared[4], uint i) {
          return scale * values[i] + shared[i];
        }
        kernel void f(device float* x) {
          const float values[3] = {1, 2, 4};
          threadgroup float shared[4];
          shared[2] = 0.5f;
          x[0] = at(x[0], values, shared, 2u);
        }
    """).f(out, threads=1)
    assert out.item() == 12.5


def test_traits_that_sources_extend_for_their_own_types():
    out = torch.zeros(4)
    library("""
        template <typename T> struct indexed { uint i; T value; };
        template <typename T> struct metal::_numeric_limits_impl<indexed<T>> {
          static constexpr METAL_FUNC indexed<T> lowest() {
            return indexed<T>{7, numeric_limits<T>::lowest()};
          }
        };
        static_assert(__is_valid_simdgroup_type<half4>::value);
        static_assert(!__is_valid_simdgroup_type<long>::value);
        kernel void f(device float* out) {
          out[0] = numeric_limits<indexed<half>>::lowest().i;
          out[1] = numeric_limits<indexed<half>>::lowest().value;
          out[2] = vec_elements<half3>::value + vec_elements<packed_float4>::value;
          out[3] = vec_elements<uint>::value;
        }
    """).f(out, threads=1)
    assert out.tolist() == [7, -65504, 7, 1]


def test_messages_name_vectors_even_where_only_a_part_of_them_differs():
    with pytest.raises(CompileError) as caught:
        library("kernel void f(device float4* x) { x[0] = half4(1.0h); }")
    assert "half4" in str(caught.value)
    assert "<...>" not in str(caught.value)


def test_swizzles_of_swizzles_can_be_assigned_to():
    x = torch.arange(8.0).reshape(2, 4)
    library("""
        kernel void f(device float4* x, uint i [[thread_position_in_grid]]) {
          float4 v = x[i];
          v.xyz.zy = float2(10, 20);
          v.wzyx.rg.x += 100;
          x[i] = v;
          x[i].xy.x = -1;
        }
    """).f(x, threads=2)
    assert x.tolist() == [[-1, 20, 10, 103], [-1, 20, 10, 107]]


def test_constructors_for_two_memories_with_temporaries_as_operands():
    x = torch.tensor([1.0, 2, 0, 0])
    library("""
        struct complex {
          float re, im;
          complex(float real = 0, float imaginary = 0) thread : re(real), im(imaginary) {}
          complex(float r, float i) device : re(r), im(i) {}
          friend complex operator*(complex a, complex b) {
            return complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re);
          }
          complex operator+(thread const complex& o) const { return complex(re + o.re, im + o.im); }
        };
        kernel void f(device complex* x) {
          complex z = x[0];
          x[1] = z * z + complex(1);
        }
    """).f(x, threads=1)
    assert x.tolist() == [1, 2, -2, 4]


def test_structs_named_by_a_typedef_are_copied_out_of_constant_memory():
    out = torch.zeros(2, dtype=torch.int32)
    library("""
        typedef struct { int count; int pads[2]; } Params;
        static int last(Params p) { return p.pads[1]; }
        kernel void f(device int* out, constant Params& params) {
          Params own = params;
          threadgroup Params shared;
          shared = params;
          out[0] = own.count + shared.pads[0];
          out[1] = last(params);
        }
    """).f(out, torch.tensor([1, 20, 300], dtype=torch.int32), threads=1)
    assert out.tolist() == [21, 300]


def test_packed_vectors_lie_in_constant_tables():
    out = torch.zeros(2)
    library("""
        constant packed_float3 rows[2] = {packed_float3(1, 2, 3), {4, 5, 6}};
        constexpr constant packed_half2 pair = packed_half2(1.0h, 2.0h);
        constant packed_int4 filled = packed_int4(3);
        constant packed_float2 made(float2(7, 8));
        kernel void f(device float* out) {
          float3 row = rows[1];
          out[0] = row.z + pair.y + filled.w;
          out[1] = rows[0].y + made.x;
        }
    """).f(out, threads=1)
    assert out.tolist() == [11, 9]


def test_vectors_built_in_two_ways_are_a_choice_s_alternatives():
    out = torch.zeros(3)
    library("""
        kernel void f(device float* out, uint i [[thread_position_in_grid]]) {
          const float2 v = i > 0 ? float2(out[0], i) : float2(7);
          const uint3 u = i == 2 ? uint3(9) : uint3(1u, i, uint2(3).x);
          out[i] = v.y + u.y;
        }
    """).f(out, threads=3)
    assert out.tolist() == [7, 2, 11]


def test_matrices_lie_in_constant_tables():
    out = torch.zeros(4)
    library("""
        constant float2x2 elements = float2x2(1, 2, 3, 4);
        constant float2x2 columns(float2(1, 2), float2(3, 4));
        constexpr constant half4x4 identity(1.0h);
        constant float3x3 rotations[2] = {float3x3(2), float3x3(3)};
        kernel void f(device float* out) {
          constexpr float2x2 local = float2x2(5, 6, 7, 8);
          out[0] = elements[1][0] + local[1][1];
          out[1] = columns[0][1];
          out[2] = identity[3][3] + identity[3][2];
          out[3] = (rotations[1] * float3(1, 2, 3)).z;
        }
    """).f(out, threads=1)
    assert out.tolist() == [11, 2, 1, 9]


def test_array_references_know_the_memory_they_refer_to():
    out = torch.tensor([1.0, 2.0, 0.0, 0.0])
    library("""
        float sum(array_ref<device float> values) {
          float total = 0;
          for (size_t i = 0; i < values.size(); ++i) total += values[i];
          return total;
        }
        template <typename T> float last(array_ref<T> values) { return values.back(); }
        kernel void f(device float* out) {
          array<float, 3> own = {5, 6, 7};
          out[2] = sum(make_array_ref(out, 2));
          out[3] = last(make_array_ref(own)) + last(make_array_ref(out, 3).slice(1, 2));
        }
    """).f(out, threads=1)
    assert out.tolist() == [1, 2, 3, 10]


def test_functions_call_themselves_and_are_called_through_pointers():
    out = torch.tensor([1.0, -1.0])
    library("""
        int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
        float once(float x) { return x; }
        float twice(float x) { return 2 * x; }
        kernel void f(device float* out, uint i [[thread_position_in_grid]]) {
          float (*scale)(float) = out[i] > 0 ? once : twice;
          out[i] = scale(fibonacci(10));
        }
    """).f(out, threads=2)
    assert out.tolist() == [55, 110]


def test_headers_of_features_that_are_not_used_may_be_included():
    headers = ("texture", "raytracing", "graphics", "tensor", "imageblocks", "command_buffer")
    includes = "".join(f"#include <metal_{name}>\n" for name in headers)
    out = torch.zeros(1)
    library(f"{includes}kernel void f(device float* out) {{ *out = 1; }}").f(out, threads=1)
    assert out.item() == 1


def test_members_of_a_struct_that_only_a_typedef_names_are_described():
    kernel = library("""
        typedef struct { int32_t rows; uint64_t stride[2]; half2 h; } sizes;
        typedef struct {
          __extension__ union { struct { half d; half m; }; half2 dm; };
          sizes inner;
          float scale;
        } arguments;
        kernel void f(constant arguments& a, device float* out) {
          out[0] = a.scale * a.inner.rows * a.dm.x;
        }
    """).f
    (inner, scale) = kernel.info.arguments[0].fields
    assert [(field.name, field.offset) for field in inner.fields] == [
        ("rows", 0),
        ("stride", 8),
        ("h", 24),
    ]
    assert (scale.name, scale.offset, scale.type_name) == ("scale", 40, "float")


def test_templates_of_kernels_may_share_a_name_with_each_other_and_with_a_function_of_metal():
    kernels = library("""
        template <typename T, typename U>
        kernel void cross(constant T* a, device T* out) {
          U r = cross(U{a[0], a[1], a[2]}, U{a[3], a[4], a[5]});
          for (int i = 0; i < 3; ++i) out[i] = r[i];
        }
        template [[host_name("cross_float")]] kernel void cross<float, float3>(
            constant float* a [[buffer(0)]], device float* out [[buffer(1)]]);
        template <typename T>
        kernel void fall(device T* x [[buffer(0)]], constant T& rate [[buffer(1)]],
                          uint i [[thread_position_in_grid]]) { x[i] *= rate; }
        template <typename T>
        kernel void fall(device T* x [[buffer(0)]], constant T& rate [[buffer(1)]],
                          constant T& floor [[buffer(3)]],
                          uint i [[thread_position_in_grid]]) { x[i] = max(x[i] * rate, floor); }
        template [[host_name("fall_to")]] kernel void fall<float>(
            device float* x [[buffer(0)]], constant float& rate [[buffer(1)]],
            constant float& floor [[buffer(3)]], uint i [[thread_position_in_grid]]);
        template [[host_name("fall")]] kernel void fall<float>(
            device float* x [[buffer(0)]], constant float& rate [[buffer(1)]],
            uint i [[thread_position_in_grid]]);
    """)
    out, x = torch.zeros(3), torch.tensor([1.0, 4.0])
    kernels.cross_float(torch.tensor([1.0, 0, 0, 0, 1, 0]), out, threads=1)
    assert out.tolist() == [0, 0, 1]
    kernels.fall(x, 0.5)
    kernels.fall_to(x, 0.5, 0.75)
    assert x.tolist() == [0.75, 1]
    assert [argument.index for argument in kernels.fall_to.info.arguments] == [0, 1, 3, None]

"""Atomics, matrices, packing, linking and soft float of the software device's runtime."""

from __future__ import annotations

import threading

import llvmlite.binding as llvm
import numpy as np
import pytest
from runtime_harness import (
    Compiled,
    call,
    compile_text,
    from_bf16,
    host_machine,
    machine_for,
    to_bf16,
)

from metalgen.errors import UnsupportedError
from metalgen.software.runtime import declaration, link
from metalgen.software.runtime.soft_float import provide_soft_float

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("space", ["global", "local"])
@pytest.mark.parametrize(
    ("operation", "dtype", "start", "operand", "after"),
    [
        ("add.s.i32", np.int32, 5, -7, -2),
        ("sub.u.i32", np.uint32, 5, 7, 2**32 - 2),
        ("min.s.i32", np.int32, 5, -7, -7),
        ("min.u.i32", np.uint32, 5, 2**32 - 7, 5),
        ("max.s.i32", np.int32, 5, -7, 5),
        ("max.u.i32", np.uint32, 5, 2**32 - 7, 2**32 - 7),
        ("and.u.i32", np.uint32, 6, 3, 2),
        ("or.u.i32", np.uint32, 6, 3, 7),
        ("xor.s.i32", np.int32, 6, 3, 5),
        ("xchg.i32", np.int32, 6, 3, 3),
        ("add.f32", np.float32, 1.5, 2.25, 3.75),
        ("sub.f32", np.float32, 1.5, 2.25, -0.75),
        ("xchg.f32", np.float32, 1.5, 2.25, 2.25),
        ("max.u.i64", np.uint64, 5, 2**63, 2**63),
        ("add.u.i64", np.uint64, 5, 2**63, 2**63 + 5),
    ],
)
def test_an_atomic_changes_memory_and_returns_what_was_there(
    space, operation, dtype, start, operand, after
):
    memory, value = np.array([start], dtype), np.array([operand], dtype)
    returned = call(f"air.atomic.{space}.{operation}", memory, value)
    assert returned.view(dtype)[0] == start
    assert memory[0] == after


def test_atomic_loads_and_stores_move_one_value():
    memory = np.array([3.5], np.float32)
    assert call("air.atomic.global.load.f32", memory)[0] == 3.5
    call("air.atomic.global.store.f32", memory, np.array([4.5], np.float32))
    assert memory[0] == 4.5
    call("air.store.system_coherent.volatile.i32.p1i32", 7, memory)
    assert memory.view(np.int32)[0] == 7


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_compare_exchange_reports_what_it_found(dtype):
    name = f"air.atomic.global.cmpxchg.weak.{'i32' if dtype is np.int32 else 'f32'}"
    memory, expected = np.array([3], dtype), np.array([4], dtype)
    assert call(name, memory, expected, np.array([9], dtype)).view(dtype)[0] == 3
    assert memory[0] == 3
    assert expected[0] == 3
    assert call(name, memory, expected, np.array([9], dtype)).view(dtype)[0] == 3
    assert memory[0] == 9


@pytest.mark.parametrize("name", ["add.f32", "add.u.i32"])
def test_atomic_sums_of_several_threads_lose_nothing(name):
    full_name = f"air.atomic.global.{name}"
    dtype = np.float32 if name.endswith("f32") else np.int32
    type_ir = "float" if dtype is np.float32 else "i32"
    one = "1.0" if dtype is np.float32 else "1"
    compiled = compile_text(
        f"""{declaration(full_name)}
        define void @many(ptr %p, i64 %n) {{
        entry:
          br label %body
        body:
          %i = phi i64 [ 0, %entry ], [ %next, %body ]
          %old = call {type_ir} @{full_name}(ptr %p, {type_ir} {one})
          %next = add i64 %i, 1
          %more = icmp ult i64 %next, %n
          br i1 %more, label %body, label %end
        end:
          ret void
        }}""",
        host_machine(),
    )
    memory = np.zeros(1, dtype)
    threads = [
        threading.Thread(target=compiled.call, args=("many", memory, 200_000)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory[0] == 800_000


def test_a_declaration_may_carry_memory_order_and_scope():
    module, context = parsed("declare i32 @air.atomic.global.add.u.i32(ptr, i32, i32, i32, i1)")
    link(module, context)
    module.verify()
    assert not module.get_function("air.atomic.global.add.u.i32").is_declaration


def parsed(text: str) -> tuple[llvm.ModuleRef, llvm.ContextRef]:
    context = llvm.create_context()
    machine = host_machine()
    module = llvm.parse_assembly(text, context)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return module, context


def test_a_function_the_runtime_lacks_is_named():
    with pytest.raises(
        UnsupportedError, match=r"^not supported: the function 'air\.sample_texture_2d"
    ):
        link(*parsed("declare float @air.sample_texture_2d.v4f32(float)"))


def test_a_declaration_with_other_types_is_refused():
    with pytest.raises(UnsupportedError, match=r"'air\.exp\.f32' declared as 'double \(double\)'"):
        link(*parsed("declare double @air.exp.f32(double)"))


def test_only_what_is_declared_is_linked():
    module, context = parsed(declaration("v32.air.exp.f32"))
    link(module, context)
    defined = {function.name for function in module.functions if not function.is_declaration}
    assert defined == {"v32.air.exp.f32", "exp_32"}


MATRIX = "rowmajor.air.simdgroup_matrix_8x8"
ELEMENTS = {"f32": (np.float32, 24), "f16": (np.float16, 11), "bf16": (np.uint16, 8)}


def matrix(element: str) -> tuple[np.ndarray, np.ndarray]:
    """Random 64 elements as the type holds them, and their float64 values."""
    values = RNG.uniform(-1, 1, 64).astype(np.float32)
    if element == "bf16":
        return to_bf16(values), from_bf16(to_bf16(values)).astype(np.float64)
    held = values.astype(ELEMENTS[element][0])
    return held, held.astype(np.float64)


@pytest.mark.parametrize("accumulator", ELEMENTS)
@pytest.mark.parametrize("left", ELEMENTS)
@pytest.mark.parametrize("right", ELEMENTS)
def test_a_matrix_product_accumulates_in_float_and_rounds_once(left, right, accumulator):
    (a, exact_a), (b, exact_b), (c, exact_c) = matrix(left), matrix(right), matrix(accumulator)
    types = f"v64{accumulator}.v64{left}.v64{right}.v64{accumulator}"
    result = call(f"{MATRIX}_multiply_accumulate.{types}", a, b, c)
    result = from_bf16(result) if accumulator == "bf16" else result
    exact = exact_a.reshape(8, 8) @ exact_b.reshape(8, 8) + exact_c.reshape(8, 8)
    tolerance = 2.0 ** -ELEMENTS[accumulator][1] + 8 * 2.0**-23
    assert np.allclose(result.reshape(8, 8), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("transpose", [False, True])
def test_a_matrix_is_loaded_from_and_stored_to_its_place(element, transpose):
    dtype = ELEMENTS[element][0]
    memory = np.arange(20 * 24).astype(dtype).reshape(20, 24)
    origin = np.array([5, 3], np.int64)  # column, row
    loaded = call(f"{MATRIX}_load.v64{element}.p1{element}", memory, 24, origin, transpose)
    block = memory[3:11, 5:13]
    assert (loaded.reshape(8, 8) == (block.T if transpose else block)).all()
    target = np.zeros_like(memory)
    call(f"{MATRIX}_store.v64{element}.p1{element}", loaded, target, 24, origin, transpose)
    assert (target[3:11, 5:13] == block).all()
    assert target.astype(np.float64).sum() == block.astype(np.float64).sum()


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("strides", [(1, 24), (24, 1), (2, 25)])
def test_a_matrix_is_loaded_and_stored_by_strides(element, strides):
    memory = np.arange(20 * 24).astype(ELEMENTS[element][0])
    extents, origin = np.array([24, 20], np.int64), np.array([5, 3], np.int64)
    arguments = extents, np.array(strides, np.int64), origin
    loaded = call(f"{MATRIX}_load_strided.v64{element}.p1{element}", memory, *arguments)
    columns, rows = np.meshgrid(5 + np.arange(8), 3 + np.arange(8))
    places = columns * strides[0] + rows * strides[1]
    assert (loaded.reshape(8, 8) == memory[places]).all()
    target = np.zeros_like(memory)
    call(f"{MATRIX}_store_strided.v64{element}.p1{element}", loaded, target, *arguments)
    assert (target[places] == memory[places]).all()
    assert target.astype(np.float64).sum() == memory[places].astype(np.float64).sum()


def test_a_filled_matrix_holds_one_value_and_a_diagonal_one_zeros_beside_it():
    assert (call(f"{MATRIX}_init_filled.v64f32.f32", np.array([2.5], np.float32)) == 2.5).all()
    diagonal = call(f"{MATRIX}_init_diag.v64f16.f16", np.array([2.5], np.float16))
    assert (diagonal.reshape(8, 8) == np.diag(np.full(8, 2.5))).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -6.5, 1e-42, 3e38, np.inf])
def test_frexp_and_modf_return_two_parts(value):
    x = np.array([value], np.float32)
    exponent, whole = np.zeros(1, np.int32), np.zeros(1, np.float32)
    fraction = call("air.frexp.f32", x, exponent)
    expected = np.frexp(x)
    assert fraction[0] == expected[0][0]
    assert exponent[0] == (expected[1][0] if np.isfinite(value) else 0)
    rest = call("air.modf.f32", x, whole)
    assert (rest[0], whole[0]) == tuple(part[0] for part in np.modf(x))


def test_sincos_returns_the_sine_and_stores_the_cosine():
    x, cosine = np.array([1.25], np.float32), np.zeros(1, np.float32)
    sine = call("air.sincos.f32", x, cosine)
    assert np.allclose([sine[0], cosine[0]], [np.sin(1.25), np.cos(1.25)])


def test_packing_rounds_clamps_and_comes_back():
    x = np.array([-2, -0.5, 0.25, 2], np.float32)
    packed = call("air.pack.snorm4x8.v4f32", x)
    assert packed.view(np.int8).tolist() == [-127, -64, 32, 127]
    assert np.allclose(
        call("air.unpack.snorm4x8.v4f32", int(packed[0])), packed.view(np.int8) / 127
    )
    packed = call("air.pack.unorm2x16.v2f32", x[1:3])
    assert packed.view(np.uint16).tolist() == [0, 16384]
    assert call("air.unpack.snorm4x8.v4f32", 0x80)[0] == -1


def test_a_dot_product_sums_over_components():
    x = np.array([1, 2, 3, 4], np.float32)
    assert call("air.dot.v4f32", x, x)[0] == 30
    assert call("air.dot.v3f16", x[:3].astype(np.float16), x[:3].astype(np.float16))[0] == 14


SOFT_FLOAT = """
define void @convert(ptr %out, ptr %in, i64 %n) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %p = getelementptr SOURCE, ptr %in, i64 %i
  %x = load SOURCE, ptr %p
  %y = OPERATION SOURCE %x to TARGET
  %q = getelementptr TARGET, ptr %out, i64 %i
  store TARGET %y, ptr %q
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end
end:
  ret void
}
"""


def soft_conversion(operation: str, source: str, target: str) -> Compiled:
    """An instruction compiled for a processor that lacks it."""
    provide_soft_float()
    text = (
        SOFT_FLOAT.replace("SOURCE", source)
        .replace("TARGET", target)
        .replace("OPERATION", operation)
    )
    x86 = llvm.get_process_triple().startswith("x86_64")
    return compile_text(text, machine_for("x86-64") if x86 else host_machine())


def test_soft_float_widens_every_half():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    output = np.empty(2**16, np.float32)
    soft_conversion("fpext", "half", "float").call("convert", output, halves, 2**16)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(output, halves.astype(np.float32), equal_nan=True)


def beside_every_half() -> np.ndarray:
    """Every finite half, the midpoints between neighbours, and the floats just beside those."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[1:] + halves[:-1]) / 2
    values = [
        halves,
        middles,
        np.nextafter(middles, np.float32(np.inf)),
        np.nextafter(middles, np.float32(0)),
    ]
    extra = np.array([65519.996, 65520, 1e10, np.inf, np.nan, 1e-40, 1e-45], np.float32)
    positive = np.concatenate([*values, extra])
    return np.concatenate([positive, -positive])


@pytest.mark.parametrize(("source", "dtype"), [("float", np.float32), ("double", np.float64)])
def test_soft_float_rounds_to_the_nearest_half(source, dtype):
    values = beside_every_half().astype(dtype)
    output = np.empty(values.size, np.float16)
    soft_conversion("fptrunc", source, "half").call("convert", output, values, values.size)
    with np.errstate(all="ignore"):
        assert np.array_equal(output, values.astype(np.float16), equal_nan=True)


@pytest.mark.parametrize(("source", "dtype"), [("float", np.float32), ("double", np.float64)])
def test_soft_float_rounds_to_the_nearest_bf16(source, dtype):
    values = RNG.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    values[:1000] = (
        values[:1000].view(np.uint32) & np.uint32(0xFFFF0000) | np.uint32(0x8000)
    ).view(np.float32)
    output = np.empty(values.size, np.uint16)
    with np.errstate(invalid="ignore"):
        wide = values.astype(dtype)
    soft_conversion("fptrunc", source, "bfloat").call("convert", output, wide, values.size)
    number = ~np.isnan(values)
    assert (output[number] == to_bf16(values)[number]).all()
    assert np.isnan(from_bf16(output[~number])).all()

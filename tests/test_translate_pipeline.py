"""From AIR bitcode to native code: arguments, function constants, memory, and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from threadgroups import (
    LANE,
    POSITION,
    Dispatcher,
    assemble,
    builtin,
    constant,
    device,
    threadgroup,
)

from metalgen.errors import LaunchError, MetallibError, UnsupportedError
from metalgen.software import target, translate

STORE_AT = """
  %wide = zext i32 %position to i64
  %at = getelementptr i32, ptr addrspace(1) %out, i64 %wide
"""


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


@pytest.fixture(params=["any", "rows"])
def variant(request):
    return request.param


def test_a_kernel_without_meetings_runs_every_thread_of_the_grid(strands, variant):
    bitcode = assemble(
        "axpy",
        [device("out", 0), device("x", 1), constant("n", 2), POSITION],
        """
          %count = load i32, ptr addrspace(2) %n
          %inside = icmp ult i32 %position, %count
          br i1 %inside, label %do, label %end
        do:
          %wide = zext i32 %position to i64
          %from = getelementptr float, ptr addrspace(1) %x, i64 %wide
          %to = getelementptr float, ptr addrspace(1) %out, i64 %wide
          %value = load float, ptr addrspace(1) %from
          %double = fmul float %value, 2.0
          store float %double, ptr addrspace(1) %to
          br label %end
        end:
          ret void
        """,
    )
    x = np.arange(1000, dtype=np.float32)
    out = np.full(1000, -1, np.float32)
    kernel = translate(bitcode, "axpy", strands=strands, variant=variant)
    Dispatcher(kernel, {0: out, 1: x, 2: np.array([990], np.uint32)}).run((1000, 1, 1), (96, 1, 1))
    assert out.tolist() == [2 * v for v in range(990)] + [-1] * 10


BUILTINS_3D = {
    "thread_position_in_grid": lambda t, p, s, f, g: tuple(
        a * b + c for a, b, c in zip(p, f, t, strict=True)
    ),
    "thread_position_in_threadgroup": lambda t, p, s, f, g: t,
    "threadgroup_position_in_grid": lambda t, p, s, f, g: p,
    "threads_per_threadgroup": lambda t, p, s, f, g: s,
    "dispatch_threads_per_threadgroup": lambda t, p, s, f, g: f,
    "threads_per_grid": lambda t, p, s, f, g: g,
    "threadgroups_per_grid": lambda t, p, s, f, g: tuple(
        -(-a // b) for a, b in zip(g, f, strict=True)
    ),
}
BUILTINS = {
    "thread_index_in_threadgroup": lambda index, threads: index,
    "thread_index_in_simdgroup": lambda index, threads: index % 32,
    "simdgroup_index_in_threadgroup": lambda index, threads: index // 32,
    "thread_index_in_quadgroup": lambda index, threads: index % 4,
    "quadgroup_index_in_threadgroup": lambda index, threads: index // 4,
    "simdgroups_per_threadgroup": lambda index, threads: -(-threads // 32),
    "quadgroups_per_threadgroup": lambda index, threads: -(-threads // 4),
    "threads_per_simdgroup": lambda index, threads: 32,
}
GRID, GROUP = (13, 11, 3), (8, 6, 2)


def places():
    """Position in the grid, in the threadgroup, of the threadgroup, and its size, per thread."""
    for position in itertools.product(*(range(n) for n in GRID)):
        group = tuple(a // b for a, b in zip(position, GROUP, strict=True))
        local = tuple(a % b for a, b in zip(position, GROUP, strict=True))
        size = tuple(min(f, n - g * f) for f, n, g in zip(GROUP, GRID, group, strict=True))
        yield position, local, group, size


def observed(parameter, load: str, strands: str) -> np.ndarray:
    """What `load` makes of a built-in into %value, for each position in the grid."""
    bitcode = assemble(
        "kernel",
        [device("out", 0), builtin("at", "thread_position_in_grid", "<3 x i32>"), parameter],
        f"""
          %x = extractelement <3 x i32> %at, i32 0
          %y = extractelement <3 x i32> %at, i32 1
          %z = extractelement <3 x i32> %at, i32 2
          %slice = mul i32 %z, {GRID[1]}
          %row = add i32 %slice, %y
          %start = mul i32 %row, {GRID[0]}
          %place = add i32 %start, %x
          %to = getelementptr i32, ptr addrspace(1) %out, i32 %place
          {load}
          store i32 %value, ptr addrspace(1) %to
          ret void
        """,
    )
    out = np.full(GRID[::-1], 99, np.uint32)
    Dispatcher(translate(bitcode, "kernel", strands=strands), {0: out}).run(GRID, GROUP)
    return out


@pytest.mark.parametrize("name", BUILTINS_3D)
@pytest.mark.parametrize("type_", ["i32", "i16"])
def test_positions_and_sizes_are_right_in_partial_threadgroups(name, type_, strands):
    axis = 1
    load = f"%part = extractelement <3 x {type_}> %given, i32 {axis}\n"
    load += "%value = zext i16 %part to i32" if type_ == "i16" else "%value = or i32 %part, 0"
    out = observed(builtin("given", name, f"<3 x {type_}>"), load, strands)
    for (x, y, z), local, group, size in places():
        assert out[z, y, x] == BUILTINS_3D[name](local, group, size, GROUP, GRID)[axis]


@pytest.mark.parametrize("name", BUILTINS)
def test_indices_count_the_threads_of_the_actual_threadgroup(name, strands):
    out = observed(builtin("given", name), "%value = or i32 %given, 0", strands)
    for (x, y, z), local, _, size in places():
        index = local[0] + size[0] * (local[1] + size[1] * local[2])
        assert out[z, y, x] == BUILTINS[name](index, size[0] * size[1] * size[2])


CONSTANTS = """
@scale.init = internal addrspace(2) externally_initialized constant i32 undef,
    section "air.fc_initializer"
@scale = internal addrspace(2) global i32 undef
@bias.init = internal addrspace(2) externally_initialized constant float undef,
    section "air.fc_initializer"
@bias = internal addrspace(2) global float undef
@bias.given = internal addrspace(2) global i8 undef
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }]
    [{ i32, ptr, ptr } { i32 65535, ptr @init, ptr null }]
declare i1 @air.is_function_constant_defined(ptr addrspace(2))
declare i8 @air.normalize_function_constant_predicate.i8(i8)
define internal void @init() section "air.static_init" {
  %scale = load i32, ptr addrspace(2) @scale.init
  store i32 %scale, ptr addrspace(2) @scale
  %is = call i1 @air.is_function_constant_defined(ptr addrspace(2) @bias.init)
  %wide = zext i1 %is to i8
  %set = call i8 @air.normalize_function_constant_predicate.i8(i8 %wide)
  store i8 %set, ptr addrspace(2) @bias.given
  %bias = load float, ptr addrspace(2) @bias.init
  store float %bias, ptr addrspace(2) @bias
  ret void
}
!air.function_constants = !{!100, !101}
!100 = !{ptr addrspace(2) @scale.init, !"int", !"scale", i32 3, i1 true}
!101 = !{ptr addrspace(2) @bias.init, !"float", !"bias", i32 4, i1 true}
"""
SCALED = assemble(
    "scaled",
    [device("out", 0), POSITION],
    """
      %scale = load i32, ptr addrspace(2) @scale
      %given = load i8, ptr addrspace(2) @bias.given
      %is = icmp ne i8 %given, 0
      %bias = load float, ptr addrspace(2) @bias
      %added = select i1 %is, float %bias, float 0.5
      %factor = sitofp i32 %scale to float
      %sum = fadd float %factor, %added
      %to = getelementptr float, ptr addrspace(1) %out, i32 %position
      store float %sum, ptr addrspace(1) %to
      ret void
    """,
    CONSTANTS,
)


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        ({3: 7, 4: 0.25}, 7.25),
        ({"scale": -7, "bias": 1e-3}, np.float32(-7 + 1e-3)),
        ({"scale": True}, 1.5),
        ({"scale": 1, "sale": 2, 77: 1.0}, 1.5),
    ],
)
def test_function_constants_are_set_by_index_or_name(constants, expected):
    out = np.zeros(4, np.float32)
    Dispatcher(translate(SCALED, "scaled", constants), {0: out}).run((4, 1, 1), (4, 1, 1))
    assert out.tolist() == [np.float32(expected)] * 4


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({4: 1.0}, "the function constant 'scale' (index 3) is needed"),
        ({"sale": 2, 4: 1.0}, "the function constant 'scale' (index 3) is needed"),
        ({3: 0.5}, "function constant of type i32 cannot be 0.5"),
        ({3: 1 << 40}, "function constant of type i32 cannot be 1099511627776"),
        ({3: float("nan")}, "function constant of type i32 cannot be nan"),
        ({3: (1, 2)}, "function constant of type i32 cannot be (1, 2)"),
        ({3: 1, 4: 1e300}, "function constant of type float cannot be 1e+300"),
    ],
)
def test_wrong_function_constants_are_launch_errors(constants, message):
    with pytest.raises(LaunchError) as caught:
        translate(SCALED, "scaled", constants)
    assert message in str(caught.value)


def test_threadgroup_arguments_point_into_dynamic_threadgroup_memory(strands):
    bitcode = assemble(
        "kernel",
        [device("out", 0), threadgroup("scratch", 1), LANE, POSITION],
        STORE_AT
        + """
          %own = getelementptr i32, ptr addrspace(3) %scratch, i32 %lane
          store i32 %lane, ptr addrspace(3) %own
          call void @air.wg.barrier(i32 2, i32 1)
          %mirror = xor i32 %lane, 31
          %other = getelementptr i32, ptr addrspace(3) %scratch, i32 %mirror
          %read = load i32, ptr addrspace(3) %other
          store i32 %read, ptr addrspace(1) %at
          ret void
        """,
        "declare void @air.wg.barrier(i32, i32) convergent",
    )
    out = np.zeros(64, np.uint32)
    kernel = translate(bitcode, "kernel", strands=strands)
    Dispatcher(kernel, {0: out}, {1: 128}).run((64, 1, 1), (32, 1, 1))
    assert out.tolist() == list(range(31, -1, -1)) * 2


def test_static_threadgroup_memory_is_reported_and_aligned():
    bitcode = assemble(
        "kernel",
        [device("out", 0), POSITION],
        STORE_AT
        + """
          store <4 x float> zeroinitializer, ptr addrspace(3) @tile
          %read = load i32, ptr addrspace(3) getelementptr (i8, ptr addrspace(3) @tile, i64 4)
          store i32 %read, ptr addrspace(3) @flag
          store i32 %read, ptr addrspace(1) %at
          ret void
        """,
        "@flag = internal addrspace(3) global i32 undef\n"
        "@tile = internal addrspace(3) global [40 x <4 x float>] undef, align 16\n"
        "declare void @air.wg.barrier(i32, i32) convergent",
    )
    kernel = translate(bitcode, "kernel")
    assert kernel.threadgroup_bytes >= 40 * 16 + 4
    assert kernel.threadgroup_alignment % 16 == 0
    out = np.ones(4, np.uint32)
    Dispatcher(kernel, {0: out}).run((4, 1, 1), (4, 1, 1))
    assert out.tolist() == [0] * 4


def test_atomics_add_up_over_threadgroups(strands):
    name = "air.atomic.global.add.u.i32"
    bitcode = assemble(
        "kernel",
        [device("out", 0), POSITION],
        f"""
          %old = call i32 @{name}(ptr addrspace(1) %out, i32 %position, i32 0, i32 2, i1 true)
          ret void
        """,
        f"declare i32 @{name}(ptr addrspace(1), i32, i32, i32, i1)",
    )
    out = np.zeros(1, np.uint32)
    kernel = translate(bitcode, "kernel", strands=strands)
    Dispatcher(kernel, {0: out}).run((300, 1, 1), (64, 1, 1))
    assert out[0] == sum(range(300))


def test_private_arrays_belong_to_one_thread(strands):
    bitcode = assemble(
        "kernel",
        [device("out", 0), POSITION],
        STORE_AT
        + """
          %own = alloca [16 x i32]
          br label %fill
        fill:
          %i = phi i32 [ 0, %0 ], [ %next, %fill ]
          %to = getelementptr [16 x i32], ptr %own, i32 0, i32 %i
          %value = mul i32 %i, %position
          store i32 %value, ptr %to
          %next = add i32 %i, 1
          %more = icmp ult i32 %next, 16
          br i1 %more, label %fill, label %read
        read:
          %pick = and i32 %position, 15
          %from = getelementptr [16 x i32], ptr %own, i32 0, i32 %pick
          %got = load i32, ptr %from
          store i32 %got, ptr addrspace(1) %at
          ret void
        """,
    )
    out = np.zeros(100, np.uint32)
    Dispatcher(translate(bitcode, "kernel", strands=strands), {0: out}).run((100, 1, 1), (50, 1, 1))
    assert out.tolist() == [i % 16 * i for i in range(100)]


@pytest.mark.parametrize("bitcode", [b"", b"BC", b"BC\xc0\xde" + b"\0" * 64, SCALED[:-40]])
def test_damaged_bitcode_is_a_metallib_error(bitcode):
    with pytest.raises(MetallibError, match="damaged AIR bitcode"):
        translate(bitcode, "scaled")


def test_a_kernel_that_is_not_there_is_a_metallib_error():
    with pytest.raises(MetallibError, match="no kernel 'missing'"):
        translate(SCALED, "missing")


def test_a_function_that_the_runtime_lacks_is_named(strands):
    bitcode = assemble(
        "kernel",
        [device("out", 0), POSITION],
        "call void @air.unheard_of(i32 %position)\nret void",
        "declare void @air.unheard_of(i32)",
    )
    with pytest.raises(UnsupportedError, match=r"not supported: .*air\.unheard_of"):
        translate(bitcode, "kernel", strands=strands)


def test_an_argument_that_is_no_buffer_is_named():
    bitcode = assemble("kernel", [builtin("t", "texture", "ptr addrspace(1)")], "ret void")
    with pytest.raises(UnsupportedError, match="texture"):
        translate(bitcode, "kernel")


def test_kernel_names_cannot_clash_with_host_functions():
    bitcode = assemble("memcpy", [device("out", 0), POSITION], STORE_AT + "ret void")
    translate(bitcode, "memcpy")


def test_kernels_outlive_their_bitcode_and_each_other():
    kernels = [translate(SCALED, "scaled", {3: i}) for i in range(5)]
    del kernels[2]
    out = np.zeros(4, np.float32)
    for kernel, expected in zip(kernels, [0.5, 1.5, 3.5, 4.5], strict=True):
        Dispatcher(kernel, {0: out}).run((4, 1, 1), (4, 1, 1))
        assert out[0] == expected


def test_the_stages_of_a_translation_can_be_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_DUMP_IR", str(tmp_path))
    translate(SCALED, "scaled", {3: 1})
    stages = {path.name for path in tmp_path.iterdir()}
    assert stages == {
        f"scaled.{stage}"
        for stage in ("air.ll", "prepared.ll", "lowered.ll", "optimized.ll", "assembly.s")
    }


def test_translation_leaves_no_global_state_of_llvm_behind():
    target.initialize()
    before = str(llvm.parse_assembly("define void @f() { ret void }"))
    translate(SCALED, "scaled", {3: 1})
    assert str(llvm.parse_assembly("define void @f() { ret void }")) == before


def test_translated_code_is_kept_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path))

    def result(constants) -> float:
        out = np.zeros(1, np.float32)
        kernel = translate(SCALED, "scaled", constants)
        Dispatcher(kernel, {0: out}).run((1, 1, 1), (1, 1, 1))
        return out[0]

    def entries() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if path.is_file()}

    assert result({3: 4}) == 4.5
    first = entries()
    assert len(first) == 1
    assert result({3: 4}) == 4.5
    assert entries() == first
    assert result({3: 5}) == 5.5
    assert len(entries()) == 2
    for path in entries():
        path.write_bytes(path.read_bytes()[:-1])
    assert result({3: 4}) == 4.5

"""How errors in Metal source are shown: all of them, where they are, in Metal's words."""

from __future__ import annotations

import pytest

from metalgen.compiler import CompileOptions, toolchain
from metalgen.compiler.clang import compile_to_air
from metalgen.errors import CompileError, ToolchainError

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"


def errors(source, **arguments):
    with pytest.raises(CompileError) as caught:
        compile_to_air(source, name="k.metal", **arguments)
    return str(caught.value)


def test_every_error_is_shown_with_its_line_and_a_caret():
    text = errors(
        HEAD + "kernel void k(device float* x [[buffer(0)]],\n"
        "              uint i [[thread_position_in_grid]]) {\n"
        "\tx[i]  =   missing;\n"
        "  float4 v;  v.q = 1;\n"
        "}\n"
    )
    assert text == (
        "k.metal:5:12: error: use of undeclared identifier 'missing'\n"
        "\tx[i]  =   missing;\n"
        "\t          ^\n"
        "k.metal:6:16: error: no member named 'q' in 'float4'\n"
        "  float4 v;  v.q = 1;\n"
        "               ^"
    )


def test_errors_inside_a_macro_point_at_its_use():
    text = errors(
        HEAD + "#define SQUARE(x) ((x) * (y))\n"
        "kernel void k(device float* x) {\n  x[0] = 1;  x[1] = SQUARE(2);\n}\n"
    )
    assert text.startswith("k.metal:5:21: error: use of undeclared identifier 'y'\n")


def test_errors_in_an_included_file_name_that_file(tmp_path):
    (tmp_path / "inner.h").write_text("// first\nfloat f() {  return nothing; }\n")
    text = errors(HEAD + '#include "inner.h"\nkernel void k() {}', include_dirs=[tmp_path])
    assert f"{tmp_path}/inner.h:2:21: error: use of undeclared identifier 'nothing'" in text
    assert "float f() {  return nothing; }" in text


def test_errors_in_a_template_say_who_instantiated_it():
    text = errors(
        HEAD + "template <typename T> void g(T x) { x.foo(); }\n"
        "kernel void k(device float* x) { g(x[0]); }\n"
    )
    assert "k.metal:3:38: error: member reference base type 'float' is not a structure" in text
    assert (
        "k.metal:4:34: note: in instantiation of function template specialization 'g<float>'"
        in (text)
    )


def test_types_and_address_spaces_are_named_as_in_metal():
    text = errors(
        HEAD + "kernel void k(device float4* x, constant uchar2& c) {\n"
        "  threadgroup bfloat* p = x;\n  thread uint* q = c;\n  local = 3;\n}\n"
    )
    assert "'threadgroup bfloat *' with an lvalue of type 'device float4 *'" in text
    assert "no viable conversion from 'constant uchar2' to 'thread uint *'" in text
    assert "undeclared identifier 'local'" in text
    for foreign in ("__", "OpenCL", "metal::", "spir", "clcpp", "<stdin>", "address space 4"):
        assert foreign not in text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("kernel int k() { return 1; }", "2:12: error: kernel 'k' must return void"),
        (
            "kernel void k(device int* a [[buffer(1)]], device int* b [[buffer(1)]]) {}",
            "2:56: error: buffer index 1 of 'b' is already taken by 'a'",
        ),
        (
            "kernel void k(device int* a [[buffer(31)]]) {}",
            "2:31: error: 'buffer' index 31 is out of range: must be between 0 and 30",
        ),
        (
            "kernel void k(uint i [[thread_position_in_gird]]) {}",
            "2:24: error: unknown attribute 'thread_position_in_gird'",
        ),
        (
            "kernel void k(int i [[thread_position_in_grid]]) {}",
            "2:19: error: invalid type 'int' for 'i' with attribute 'thread_position_in_grid': "
            "expected uint, uint2, uint3, ushort, ushort2 or ushort3",
        ),
        (
            "kernel void k(device int* a, uint n) {}",
            "2:35: error: invalid type 'uint' for 'n': expected an attribute such as "
            "[[thread_position_in_grid]], or a pointer or reference to device, constant or "
            "threadgroup memory",
        ),
        (
            "kernel void k(uint2 i [[thread_position_in_grid]], "
            "uint j [[thread_position_in_threadgroup]]) {}",
            "2:57: error: expecting input declarations with either all scalar types or all "
            "vector types with the same number of elements",
        ),
        ("kernel void k(device double* a) {}", "2:22: error: 'double' is not supported in Metal"),
        (
            "kernel void k(texture2d<float> t [[texture(0)]]) {}",
            "2:36: error: not supported: textures",
        ),
        ("fragment float4 k() { return 1; }", "error"),
        (
            "kernel void k(device int* a) {} kernel void k(device float* a) {}",
            "2:45: error: kernel name 'k' is already taken",
        ),
        (
            "kernel void k(device int* a) { threadgroup int t = 3; a[0] = t; }",
            "2:48: error: variable 't' in threadgroup memory cannot be initialized",
        ),
        (
            'template [[host_name("x")]] [[kernel]] decltype(f<int>) f<int>;',
            "error: explicit instantiation of unknown kernel 'f'",
        ),
        (
            "float helper(float x);\nkernel void k(device float* a) { a[0] = helper(1); }",
            "3:13: error: kernel 'k' calls 'helper', which is not defined",
        ),
        (
            "float f() { return 1; }",
            "error: no kernel: expected at least one 'kernel void' function",
        ),
    ],
)
def test_what_metal_refuses_is_refused(source, expected):
    assert expected in errors("#include <metal_stdlib>\n" + source)


def test_our_own_refusals_are_shown_together_with_clangs():
    text = errors(
        HEAD + "kernel void k(device int* a [[buffer(40)]]) { a[0] = nope; }\n"
        "kernel float j() { return also_not; }\n"
    )
    assert text.count("error:") == 4


def test_a_missing_wheel_is_a_toolchain_error_with_its_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="pip install ziglang"):
        compile_to_air(HEAD + "kernel void k(device int* a) {}")


@pytest.mark.parametrize(
    "line",
    [
        '#include "/etc/hostname"',
        '#include "../secret.h"',
        "#include </etc/hostname>",
        '#  in\\\nclude "/etc/hostname"',
        '%:include "/etc/hostname"',
        "#define F </etc/hostname>\n#include F",
        '#embed "/etc/hostname"',
        '/* */ #include_next "x"',
        '#import "x"',
        '#if __has_include("/etc/hostname")\n#endif',
        '#pragma GCC dependency "/etc/hostname"',
        'void f() { asm("nop"); }',
        'extern int g() __asm__("system");',
    ],
)
def test_untrusted_sources_read_and_name_nothing_outside(line, tmp_path):
    (tmp_path.parent / "secret.h").write_text("int secret;\n")
    source = f"{HEAD}{line}\nkernel void k(device int* a) {{}}"
    text = errors(source, include_dirs=[tmp_path], options=CompileOptions(untrusted=True))
    assert "k.metal:" in text


def test_untrusted_sources_may_include_metals_headers_and_the_given_directories(tmp_path):
    (tmp_path / "inner.h").write_text("#pragma once\n#include <metal_math>\n")
    source = HEAD + '#include "inner.h"\n// #include "/etc/x"\nkernel void k(device int* a) {}'
    options = CompileOptions(untrusted=True)
    assert len(compile_to_air(source, include_dirs=[tmp_path], options=options)) == 1


def test_a_line_directive_cannot_make_a_diagnostic_quote_another_file():
    text = errors(HEAD + '#line 1 "/etc/passwd"\nkernel void k() { nope; }')
    assert "root" not in text


@pytest.mark.parametrize("parameter", ["threadgroup float* device* p", "thread float* device& p"])
def test_pointers_to_pointers_lead_to_what_a_host_can_bind(parameter):
    text = errors(f"kernel void k({parameter}) {{}}")
    assert "error: 'p' points to pointers: expected them to lead to device or constant mem" in text


def test_an_index_that_evaluates_to_too_much_is_refused():
    text = errors(
        "constant constexpr int n = 20;\nkernel void k(device int* a [[buffer(n * 2)]]) {}"
    )
    assert "k.metal:2:27: error: 'buffer' index 40 is out of range" in text


@pytest.mark.parametrize(
    ("declaration", "column"),
    [
        ("float f(float* p) { return *p; }", 14),
        ("float f(thread float* p, const uint& n) { return *p; }", 36),
        ("void f() { float a = 0; float* p = &a; }", 30),
        ("struct S { float v; float& get() { return v; } };", 26),
    ],
)
def test_pointers_and_references_must_say_which_memory_they_are_for(declaration, column):
    text = errors(f"{HEAD}{declaration}\nkernel void k(device float* x) {{}}")
    assert f"k.metal:3:{column}: error: " in text
    assert "type must have explicit address space qualifier" in text


@pytest.mark.parametrize(
    "declaration",
    [
        "const float pi = 3.14;",
        "constexpr int n = 4;",
        "int counter;",
        "namespace a { uint b = 1; }",
    ],
)
def test_program_scope_variables_must_be_constant(declaration):
    text = errors(f"{HEAD}{declaration}\nkernel void k(device float* x) {{}}")
    assert "error: program scope variable must reside in constant address space" in text


def test_a_source_that_expands_without_end_is_given_up(monkeypatch):
    compile_to_air(HEAD + "kernel void k(device int* x) {}")  # whose headers may take longer
    monkeypatch.setattr(toolchain, "TIME_LIMIT", 1.0)
    text = errors(
        "#define A(x) x x x x x x x x x x\n"
        "#define B(x) A(A(A(A(A(x)))))\n"
        "kernel void k(device int* x) { B(B(x[0]++;)) }"
    )
    assert text == "k.metal: error: compiling took longer than 1 seconds"


@pytest.mark.parametrize(
    ("parameter", "what"),
    [
        ("texture2d<float> t [[texture(0)]]", "textures ('texture2d')"),
        ("sampler s [[sampler(0)]]", "samplers ('sampler')"),
        ("float4 v [[stage_in]]", "stage_in arguments"),
    ],
)
def test_what_is_not_supported_is_named(parameter, what):
    text = errors(f"{HEAD}kernel void k(device float* x, {parameter}) {{}}")
    assert f"error: not supported: {what}" in text


def test_without_a_place_to_keep_compiled_headers_sources_still_compile(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert len(compile_to_air(HEAD + "kernel void k(device int* a) { a[0] = 1; }")) == 1


def test_damaged_compiled_headers_are_done_without(tmp_path, monkeypatch):
    source = HEAD + "kernel void k(device int* a) { a[0] = max(a[0], 1); }"
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path))
    compile_to_air(source)
    (precompiled,) = tmp_path.glob("compiled-*/*.pch")
    precompiled.write_bytes(precompiled.read_bytes()[:100_000])
    assert len(compile_to_air(source)) == 1


def test_what_is_refused_by_its_name_is_told_without_what_comes_of_it():
    source = (
        "kernel void k(texture2d<float> image, sampler how, device float* x) {"
        " x[0] = image.sample(how, undeclared).x; nothing_either(x); }"
    )
    with pytest.raises(CompileError) as caught:
        compile_to_air("#include <metal_stdlib>\nusing namespace metal;\n" + source)
    told = [line for line in str(caught.value).splitlines() if "error:" in line]
    assert told
    assert all("error: not supported: " in line for line in told)

"""Objects as kernels at large use them: member functions that hand on what they belong to."""

from __future__ import annotations

import pytest
import torch

import metalgen

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
TOUCH = """
struct S;
void touch(thread S& s);
void add(thread float* a, float more) { for (int i = 0; i < 3; ++i) a[i] += more; }
struct S {
  float v;
  float a[3];
"""
BEHIND = """
};
void touch(thread S& s) { s.v += 1; }
kernel void f(device float* o) {
  S s = {1, {2, 3, 4}};
  s.go();
  o[0] = s.v;
  o[1] = s.a[1];
}
"""
# What is done to {1, {2, 3, 4}}, and s.v and s.a[1] after it.
MEMBERS = {
    "void go() { touch(*this); }": (2, 3),
    "void own() thread { v = 5; } void go() { own(); }": (5, 3),
    "void own() thread { v = 5; } void go() { this->own(); }": (5, 3),
    "void go() { add(a, 10); }": (1, 13),
    "void go() { thread float* p = a; p[1] = 6; }": (1, 6),
    "void go() { thread float& r = a[1]; r = 7; }": (1, 7),
    "template <typename T> void set(T x) thread { v = x; } void go() { set(8); }": (8, 3),
    "thread S* me() thread { return this; } void go() { me()->v = 9; }": (9, 3),
    "void go() { thread S& s = *this; touch(s); auto p = &v; *p += 1; }": (3, 3),
}


def run(source, size=2):
    out = torch.zeros(size)
    metalgen.compile_shader(PREAMBLE + source).f(out, threads=1)
    return out.tolist()


@pytest.mark.parametrize("member", MEMBERS)
def test_what_a_member_function_hands_on_is_in_thread_memory(member):
    assert run(TOUCH + member + BEHIND) == list(MEMBERS[member])


def test_a_constructor_calls_member_functions_of_objects_in_thread_memory():
    source = """
        struct S {
          float v;
          thread float* at() thread { return &v; }
          S(float x) thread { *at() = x; }
          S(float x, float y) thread { *(this->at()) = x + y; }
        };
        kernel void f(device float* o) { o[0] = S(3).v; o[1] = S(1, 4).v; }
    """
    assert run(source) == [3, 5]


def test_a_base_calls_its_derived_class():
    source = """
        template <typename D> struct Base {
          float run(float x) { return static_cast<thread D*>(this)->twice(x); }
          float half_of(float x) const { return static_cast<const thread D*>(this)->halved(x); }
        };
        struct Derived : Base<Derived> {
          float twice(float x) { return x * 2; }
          float halved(float x) const { return x / 2; }
        };
        kernel void f(device float* o) { Derived d; o[0] = d.run(3); o[1] = d.half_of(5); }
    """
    assert run(source) == [6, 2.5]


def test_matrices_of_a_simdgroup_may_be_members():
    source = """
        template <int N> struct Sums {
          simdgroup_float8x8 m[N];
          void clear() {
            for (int i = 0; i < N; ++i) m[i] = make_filled_simdgroup_matrix<float, 8>(0.f);
          }
          void add(thread simdgroup_half8x8& a, thread simdgroup_half8x8& b) {
            for (int i = 0; i < N; ++i) simdgroup_multiply_accumulate(m[i], a, b, m[i]);
          }
          void load(const device float* x) { simdgroup_load(m[0], x, 8); }
          void store(device float* o) const { simdgroup_store(m[N - 1], o, 8); }
        };
        kernel void f(device float* o) {
          Sums<2> sums;
          sums.load(o);
          sums.clear();
          simdgroup_half8x8 a(1.0h), b = make_filled_simdgroup_matrix<half, 8>(3.0h);
          sums.add(a, b);
          sums.add(a, b);
          sums.store(o);
        }
    """
    out = torch.zeros(64)
    metalgen.compile_shader(PREAMBLE + source).f(out, threads=32, group_size=32)
    assert out.tolist() == [6.0] * 64


def test_structs_are_packed_where_a_pragma_says_so():
    source = """
        #pragma pack(push, 1)
        struct Row { uchar tag; float value; };
        #pragma pack(pop)
        struct Loose { uchar tag; float value; };
        kernel void f(device float* o, constant Row* rows [[buffer(1)]]) {
          static_assert(sizeof(Row) == 5 && sizeof(Loose) == 8);
          o[0] = rows[1].tag;
          o[1] = rows[1].value;
        }
    """
    out = torch.zeros(2)
    rows = bytes([7]) + bytes(4) + bytes([9]) + torch.tensor([1.5]).numpy().tobytes()
    metalgen.compile_shader(PREAMBLE + source).f(out, rows, threads=1)
    assert out.tolist() == [9, 1.5]


def test_an_assignment_to_the_object_is_returned_with_it():
    source = """
        struct Sum {
          float total = 0, count = 0;
          Sum operator+(const thread Sum& o) const {
            Sum r;
            r.total = total + o.total;
            r.count = count + o.count;
            return r;
          }
          thread Sum& operator+=(const thread Sum& o) {
            if (o.count > 0) return *this = *this + o;
            else return *this;
          }
        };
        kernel void f(device float* o) {
          Sum a, b, none;
          b.total = 5, b.count = 1;
          ((a += b) += b) += none;
          o[0] = a.total;
          o[1] = a.count;
        }
    """
    assert run(source) == [10, 2]


# Loops over ranges of a class of the source, which add 1 to 1, 2, 3 and sum up what they find.
LOOPS = {
    "for (thread float& v : r) v += 1; for (auto v : r) sum += v;": 9,
    "for (auto& v : r) { v += 1; sum += v; }": 9,
    "for (const thread float& v : r) { if (v > 2) break; sum += v; }": 3,
    "for (auto&& v : r) { if (v == 2) continue; sum += v; }": 4,
    "if (sum > 0) for (auto v : r) sum += v; else sum = 5;": 5,
    "for (auto v : r) for (auto& w : r) if (v == w) sum += v; else w = w;": 6,
    "for (auto v : Values{{4, 5, 6}}) sum += v;": 15,
}


# A temporary is no thread Values&, as free functions want it.
@pytest.mark.parametrize(
    ("loop", "is_free"),
    [(loop, free) for loop in LOOPS for free in (False, True) if not (free and "Values{" in loop)],
)
def test_iterators_may_lie_in_thread_memory(loop, is_free):
    members = "Iterator begin() { return {v}; } Iterator end() { return {v + 3}; }"
    free = (
        "Iterator begin(thread Values& r) { return {r.v}; }"
        "Iterator end(thread Values& r) { return {r.v + 3}; }"
    )
    source = f"""
        struct Iterator {{
          thread float* at;
          thread Iterator& operator++() {{ ++at; return *this; }}
          thread float& operator*() const {{ return *at; }}
          bool operator!=(const thread Iterator& other) const {{ return at != other.at; }}
        }};
        struct Values {{ float v[3]; {"" if is_free else members} }};
        {free if is_free else ""}
        kernel void f(device float* o) {{
          Values r = {{{{1, 2, 3}}}};
          float sum = 0;
          {loop}
          o[0] = sum;
        }}
    """
    assert run(source, 1) == [LOOPS[loop]]


def test_templates_loop_over_ranges_whose_iterators_lie_in_thread_memory():
    source = """
        template <typename T> struct Iterator {
          thread T* at;
          thread Iterator& operator++() { ++at; return *this; }
          thread T& operator*() const { return *at; }
          bool operator!=(Iterator other) const { return at != other.at; }
        };
        template <typename T, int N> struct Values {
          T v[N];
          Iterator<T> begin() { return {v}; }
          Iterator<T> end() { return {v + N}; }
        };
        template <typename R> float total(thread R& r) {
          float sum = 0;
          for (auto& v : r) sum += v;
          return sum;
        }
        kernel void f(device float* o) {
          Values<float, 4> r;
          for (thread float& v : r) v = 2;
          Values<int, 3> s;
          for (auto& v : s) v = 5;
          o[0] = total(r);
          o[1] = total(s);
        }
    """
    assert run(source) == [8, 15]


def test_classes_with_anonymous_unions_are_copied_from_constant_memory():
    source = """
        struct A { int k; union { float f; uint u; }; union { int2 q; struct { int x, y; } p; }; };
        struct B { A a; struct { int m; int n; }; };
        template <typename T> struct C { T t; union { T v; uint u; }; };
        kernel void f(device float* o, constant B* bs, constant C<float>& c) {
          A a = bs[1].a; B b = bs[0]; C<float> d = c; threadgroup A s;
          device A* kept = (device A*)o;
          struct L { thread A& a; float operator()() const { return a.f; } } get{a};
          struct M { union { uint z; float w; }; };
          M m = *(constant M*)&c;
          s = bs[0].a; b = bs[1]; d = c; kept[2] = a; kept[3] = s;
          o[0] = get(); o[1] = b.a.p.y; o[2] = b.n; o[3] = d.v; o[4] = m.w;
        }
    """
    numbers = torch.arange(1, 13, dtype=torch.int32)  # k, f, q, m, n of each
    numbers.view(torch.float32)[[1, 7]] = torch.tensor([0.5, 1.5])
    out = torch.zeros(16)
    metalgen.compile_shader(PREAMBLE + source).f(out, numbers, torch.tensor([2.0, 3.0]), threads=1)
    assert out[:5].tolist() == [1.5, 10, 12, 3, 2]
    assert out[8:].view(torch.int32).tolist() == numbers[[6, 7, 8, 9, 0, 1, 2, 3]].tolist()

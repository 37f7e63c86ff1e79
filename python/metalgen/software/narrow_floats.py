"""Conversions of half and bfloat for hosts that have neither an instruction nor a library function.

LLVM then calls compiler-rt's functions, which a Python process need not hold; the JIT would end the
process. They are written here in integer arithmetic, compiled once, and found by the JIT by name.
"""

from __future__ import annotations

import functools
import threading

import llvmlite.binding as llvm

from metalgen.software import target

# Library name → the function that stands in for it, below.
_FUNCTIONS = {
    "__truncsfbf2": "bfloat_of_float",
    "__truncdfbf2": "bfloat_of_double",
    "__truncsfhf2": "half_of_float",
    "__truncdfhf2": "half_of_double",
    "__extendhfsf2": "float_of_half",
}
_lock = threading.Lock()

_TEXT = """
define bfloat @bfloat_of_float(float %x) {
  %bits = bitcast float %x to i32
  %kept = lshr i32 %bits, 16
  %odd = and i32 %kept, 1
  %half = add i32 %odd, 32767
  %rounded = add i32 %bits, %half
  %high = lshr i32 %rounded, 16
  %quiet = or i32 %kept, 64
  %nan = fcmp uno float %x, 0.0
  %chosen = select i1 %nan, i32 %quiet, i32 %high
  %narrow = trunc i32 %chosen to i16
  %result = bitcast i16 %narrow to bfloat
  ret bfloat %result
}

; Below 2^-14 a half's steps are 2^-24: adding 0.5, whose step in float is 2^-24, rounds to them.
define half @half_of_float(float %x) {
  %bits = bitcast float %x to i32
  %sign = and i32 %bits, -2147483648
  %size = and i32 %bits, 2147483647
  %small.float = bitcast i32 %size to float
  %shifted.float = fadd float %small.float, 0.5
  %shifted = bitcast float %shifted.float to i32
  %subnormal = sub i32 %shifted, 1056964608
  %last = lshr i32 %size, 13
  %odd = and i32 %last, 1
  %moved = sub i32 %size, 939524096
  %half = add i32 %odd, 4095
  %rounded = add i32 %moved, %half
  %normal = lshr i32 %rounded, 13
  %is.small = icmp ult i32 %size, 947912704
  %finite = select i1 %is.small, i32 %subnormal, i32 %normal
  %is.large = icmp uge i32 %size, 1199570944
  %limited = select i1 %is.large, i32 31744, i32 %finite
  %is.nan = icmp ugt i32 %size, 2139095040
  %magnitude = select i1 %is.nan, i32 32256, i32 %limited
  %sign.half = lshr i32 %sign, 16
  %all = or i32 %magnitude, %sign.half
  %narrow = trunc i32 %all to i16
  %result = bitcast i16 %narrow to half
  ret half %result
}

define float @float_of_half(half %x) {
  %bits.half = bitcast half %x to i16
  %bits = zext i16 %bits.half to i32
  %sign.half = and i32 %bits, 32768
  %sign = shl i32 %sign.half, 16
  %size = and i32 %bits, 32767
  %moved = shl i32 %size, 13
  %normal = add i32 %moved, 939524096
  %count = uitofp i32 %size to float
  %subnormal.float = fmul float %count, 0x3E70000000000000
  %subnormal = bitcast float %subnormal.float to i32
  %special = or i32 %moved, 2139095040
  %is.small = icmp ult i32 %size, 1024
  %finite = select i1 %is.small, i32 %subnormal, i32 %normal
  %is.special = icmp uge i32 %size, 31744
  %magnitude = select i1 %is.special, i32 %special, i32 %finite
  %all = or i32 %magnitude, %sign
  %result = bitcast i32 %all to float
  ret float %result
}

; To the neighbour with an odd last bit where inexact, so that the next rounding is the only one.
define internal float @odd_float_of_double(double %x) alwaysinline {
  %nearest = fptrunc double %x to float
  %back = fpext float %nearest to double
  %bits = bitcast float %nearest to i32
  %size.back = call double @llvm.fabs.f64(double %back)
  %size = call double @llvm.fabs.f64(double %x)
  %above = fcmp ogt double %size.back, %size
  %less = sub i32 %bits, 1
  %toward = select i1 %above, i32 %less, i32 %bits
  %odd = or i32 %toward, 1
  %exact = fcmp ueq double %back, %x
  %chosen = select i1 %exact, i32 %bits, i32 %odd
  %result = bitcast i32 %chosen to float
  ret float %result
}
declare double @llvm.fabs.f64(double)

define bfloat @bfloat_of_double(double %x) {
  %odd = call float @odd_float_of_double(double %x)
  %result = call bfloat @bfloat_of_float(float %odd)
  ret bfloat %result
}

define half @half_of_double(double %x) {
  %odd = call float @odd_float_of_double(double %x)
  %result = call half @half_of_float(float %odd)
  ret half %result
}
"""


def provide() -> None:
    """Make every missing function known to the JIT; to be called before code is finished."""
    with _lock:
        _engine()


@functools.cache
def _engine() -> llvm.ExecutionEngine:
    """The compiled functions; cached, so that they live as long as the process."""
    machine = target.machine()
    module = target.parse(_TEXT, llvm.create_context(), machine)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    for library_name, function in _FUNCTIONS.items():
        if llvm.address_of_symbol(library_name) is None:
            llvm.add_symbol(library_name, engine.get_function_address(function))
    return engine

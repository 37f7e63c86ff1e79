"""From the name of a runtime function to its definition.

air.NAME                 one thread's form
v32.air.NAME             all 32 lanes of a SIMD-group: every type T is <32 x T>, i1 an i32 with a
                         bit for each lane; simd_ and quad_ functions take the mask of active
                         lanes as their last argument
rowmajor.air.NAME        SIMD-group matrices as <64 x T>, row by row
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

from metalgen.software.runtime.conversion import conversion
from metalgen.software.runtime.floating import floating_function
from metalgen.software.runtime.integer import integer_function
from metalgen.software.runtime.ir import (
    LANES,
    Code,
    Function,
    Type,
    Value,
    constant,
    vector_constant,
)
from metalgen.software.runtime.matrix import matrix_function
from metalgen.software.runtime.memory import (
    FENCE,
    atomic_function,
    coherent_function,
    pointer_function,
)
from metalgen.software.runtime.mixing import mixing_function
from metalgen.software.runtime.simdgroup import Shape, simdgroup_function
from metalgen.software.runtime.tally import tally_function

_WIDE = "v32."
_ROW_MAJOR = "rowmajor."
_TYPE = re.compile(r"(?:v(\d+))?(bf16|f16|f32|i1|i8|i16|i32|i64)")

_UNIFORM = "sum product min max and or xor any all ballot active_threads_mask broadcast_first"
_VARYING = """is_first prefix_inclusive_sum prefix_exclusive_sum prefix_inclusive_product
    prefix_exclusive_product broadcast shuffle shuffle_up shuffle_down shuffle_xor shuffle_rotate_up
    shuffle_rotate_down shuffle_and_fill_up shuffle_and_fill_down"""

# By name without type: whether the result is one scalar for the SIMD-group or one for each lane.
SIMDGROUP_FUNCTIONS: Mapping[str, Shape] = MappingProxyType(
    {
        **{f"air.simd_{name}": "uniform" for name in _UNIFORM.split()},
        **{f"air.simd_{name}": "varying" for name in _VARYING.split()},
        **{f"air.quad_{name}": "varying" for name in (_UNIFORM + " " + _VARYING).split()},
    }
)


def defined(name: str) -> bool:
    """Whether the runtime defines `name`."""
    return resolve(name) is not None


@functools.cache
def resolve(name: str) -> Function | None:
    """How to define `name`; None if the runtime has no such function."""
    if name.startswith(_ROW_MAJOR + "air.simdgroup_matrix_8x8_"):
        return _matrix(name.removeprefix(_ROW_MAJOR + "air.simdgroup_matrix_8x8_"))
    if name.startswith(_WIDE + "air."):
        return _wide(name.removeprefix(_WIDE + "air."))
    return _scalar(name.removeprefix("air.")) if name.startswith("air.") else None


def _type(suffix: str, lanes: int = 0) -> Type | None:
    """`lanes` replaces the suffix's own number of lanes, which must then be one."""
    match = _TYPE.fullmatch(suffix)
    if match is None or (lanes and match[1]):
        return None
    return Type(match[2], lanes or int(match[1] or 1))


def _matrix(name: str) -> Function | None:
    stem, *suffixes = name.split(".")
    types = [_type(suffix) for suffix in suffixes if not suffix.startswith("p")]
    return matrix_function(stem, tuple(type_ for type_ in types if type_ is not None))


def _wide(name: str) -> Function | None:
    function = _simdgroup(name) if name[:5] in ("simd_", "quad_") else _lanewise(name, LANES)
    return None if function is None else _with_masks(function)


def _simdgroup(name: str) -> Function | None:
    stem, sign, suffix = _stem_sign_suffix(name)
    counting = tally_function(stem)
    return counting or simdgroup_function(stem, sign, _type(suffix) if suffix else None)


def _stem_sign_suffix(name: str) -> tuple[str, str, str]:
    """The parts of NAME[.s|.u][.TYPE]; the sign is "u" where the name leaves it out."""
    stem, *rest = name.split(".")
    sign = rest[0] if len(rest) > 1 and rest[0] in ("s", "u") else ""
    return stem, sign or "u", ".".join(rest[1:] if sign else rest)


def _lanewise(name: str, lanes: int = 0) -> Function | None:
    """A function that treats every lane alone, over `lanes` lanes or as many as its suffix says."""
    if name.startswith("convert."):
        return _conversion(name.split(".")[1:], lanes)
    stem, sign, suffix = _stem_sign_suffix(name)
    if stem in (*_SIZE, _INDEX, "is_uniform"):
        return _environment(name, lanes or 1)
    type_ = _type(suffix, lanes)
    if type_ is None:
        return None
    if type_.is_float:
        return floating_function(stem, type_)
    if stem == "normalize_function_constant_predicate":
        return Function((type_,), type_, _is_not_zero)
    return integer_function(stem, sign, type_)


def _conversion(parts: list[str], lanes: int) -> Function | None:
    if len(parts) != 4 or not {parts[0], parts[2]} <= {"f", "s", "u"}:
        return None
    to, source = _type(parts[1], lanes), _type(parts[3], lanes)
    if to is None or source is None or to.lanes != source.lanes:
        return None
    if to.is_float != (parts[0] == "f") or source.is_float != (parts[2] == "f"):
        return None
    return conversion(parts[0], to, parts[2], source)


_SIZE = "get_simdgroup_size get_threads_per_simdgroup".split()
_INDEX = "get_thread_index_in_simdgroup"


def _environment(name: str, lanes: int) -> Function | None:
    """What is the same for every kernel, or for every SIMD-group."""
    stem, _, suffix = _stem_sign_suffix(name)
    if stem == "is_uniform":  # only ever feeds an assumption
        return _always(constant(1, Type("i1", lanes)))
    result = _type(suffix, lanes)
    if result is None or result.element not in ("i16", "i32"):
        return None
    if stem in _SIZE:
        return _always(constant(LANES, result))
    if stem == _INDEX and lanes == LANES:
        return _always(vector_constant(list(range(LANES)), result.element))
    return None


def _always(value: Value) -> Function:
    return Function((), value.type, lambda _code, _arguments: value)


def _is_not_zero(code: Code, arguments: list[Value]) -> Value:
    (x,) = arguments
    return code.cast("zext", code.compare("icmp ne", x, constant(0, x.type)), x.type)


def _scalar(name: str) -> Function | None:
    parts = name.split(".")
    if name == "atomic.fence":
        return FENCE
    if parts[0] == "atomic" and parts[1] in ("global", "local"):
        rest = [part for part in parts[2:] if part not in ("weak", "strong")]
        stem, sign, suffix = _stem_sign_suffix(".".join(rest))
        type_ = _type(suffix)
        return None if type_ is None else atomic_function(stem, sign, type_)
    if parts[1:2] == ["system_coherent"]:
        types = [_type(part) for part in parts[2:]]
        return next((coherent_function(parts[0], type_) for type_ in types if type_), None)
    return mixing_function(name) or _pointer(parts) or _lanewise(name)


def _pointer(parts: list[str]) -> Function | None:
    type_ = _type(parts[-1])
    scalar_float = type_ is not None and type_.is_float and type_.lanes == 1
    return pointer_function(parts[0], type_) if type_ is not None and scalar_float else None


def _with_masks(function: Function) -> Function:
    """The same function with every <32 x i1> of its signature as an i32."""
    lanes, mask = Type("i1", LANES), Type("i32")

    def emit(code: Code, arguments: list[Value]) -> Value | None:
        opened = [
            code.cast("bitcast", argument, lanes) if parameter == lanes else argument
            for argument, parameter in zip(arguments, function.parameters, strict=True)
        ]
        result = function.emit(code, opened)
        return code.cast("bitcast", result, mask) if result and result.type == lanes else result

    parameters = tuple(
        mask if parameter == lanes else parameter for parameter in function.parameters
    )
    result = mask if function.result == lanes else function.result
    return Function(parameters, result, emit, function.pure)

"""Runs functions of the software device's runtime on NumPy arrays, compiled for a processor."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

from metalgen.software.runtime import declaration, link
from metalgen.software.runtime.ir import LANES, Type
from metalgen.software.runtime.names import resolve

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

# bf16 has no NumPy type: its arrays are bit patterns.
DTYPES = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": np.uint16,
    "i1": np.uint8,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
}


def host_machine() -> llvm.TargetMachine:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        jit=True,
    )


def machine_for(cpu: str) -> llvm.TargetMachine:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features="", opt=2, jit=True
    )


@dataclass(frozen=True)
class Compiled:
    """A module's code, alive as long as this is."""

    engine: llvm.ExecutionEngine
    assembly: str

    def call(self, name: str, *arguments: int | np.ndarray) -> None:
        address = self.engine.get_function_address(name)
        converted = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(converted))(address)(*converted)


def compile_text(text: str, machine: llvm.TargetMachine) -> Compiled:
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    link(module, context)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    assembly = str(module)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return Compiled(engine, assembly)


def _memory(type_: Type) -> str:
    """How an array holds the type: i1 as a byte a lane."""
    return Type("i8", type_.lanes).ir if type_.element == "i1" else type_.ir


def _loop(name: str, parameters: tuple[Type, ...], result: Type, lanes: int) -> str:
    """A function that applies `name` to arrays: void (result, parameters..., count)."""
    lines = []
    for i, type_ in enumerate(parameters):
        lines.append(f"  %p{i} = getelementptr {_memory(type_)}, ptr %in{i}, i64 %i")
        lines.append(f"  %x{i} = load {_memory(type_)}, ptr %p{i}, align 1")
        if type_.element == "i1":
            lines.append(f"  %b{i} = trunc {_memory(type_)} %x{i} to {type_.ir}")
            if lanes > 1:
                lines.append(f"  %m{i} = bitcast {type_.ir} %b{i} to i32")
    values = [
        f"i32 %m{i}"
        if t.element == "i1" and lanes > 1
        else f"{t.ir} %{'b' if t.element == 'i1' else 'x'}{i}"
        for i, t in enumerate(parameters)
    ]
    boolean = result.element == "i1"
    returned = "i32" if boolean and lanes > 1 else result.ir
    lines.append(f'  %r = call {returned} @"{name}"({", ".join(values)})')
    if boolean:
        if lanes > 1:
            lines.append(f"  %rb = bitcast i32 %r to {result.ir}")
        source = "%rb" if lanes > 1 else "%r"
        lines.append(f"  %rx = zext {result.ir} {source} to {_memory(result)}")
    lines.append(f"  %q = getelementptr {_memory(result)}, ptr %out, i64 %i")
    lines.append(f"  store {_memory(result)} {'%rx' if boolean else '%r'}, ptr %q, align 1")
    inputs = "".join(f", ptr %in{i}" for i in range(len(parameters)))
    body = "\n".join(lines)
    return f"""{declaration(name)}
define void @loop(ptr %out{inputs}, i64 %n) {{
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
{body}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end
end:
  ret void
}}
"""


@functools.cache
def _compiled_loop(
    name: str, lanes: int, cpu: str | None
) -> tuple[Compiled, tuple[Type, ...], Type]:
    scalar = resolve(name)
    assert scalar is not None, f"the runtime does not define {name}"
    assert scalar.result is not None
    parameters = tuple(Type(t.element, lanes) for t in scalar.parameters)
    result = Type(scalar.result.element, lanes)
    full_name = name if lanes == 1 else f"v32.{name}"
    machine = host_machine() if cpu is None else machine_for(cpu)
    return compile_text(_loop(full_name, parameters, result, lanes), machine), parameters, result


def apply(name: str, *arrays: np.ndarray, wide: bool = True, cpu: str | None = None) -> np.ndarray:
    """Calls the scalar function `name` for each element, or its 32-wide form."""
    lanes = LANES if wide else 1
    compiled, parameters, result = _compiled_loop(name, lanes, cpu)
    count = arrays[0].size
    padded = -(-count // LANES) * LANES
    inputs = []
    for array, type_ in zip(arrays, parameters, strict=True):
        dtype = DTYPES[type_.element]
        assert array.dtype.itemsize == np.dtype(dtype).itemsize, (name, array.dtype, type_)
        inputs.append(np.resize(np.ascontiguousarray(array), padded))
    output = np.empty(padded, DTYPES[result.element])
    compiled.call("loop", output, *inputs, padded // lanes)
    return output[:count]


def to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 to bf16 bit patterns, to nearest even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def from_bf16(patterns: np.ndarray) -> np.ndarray:
    return (patterns.astype(np.uint32) << 16).view(np.float32)


def ulp_error(
    actual: np.ndarray, exact: np.ndarray, fraction_bits: int = 23, smallest: float = 2.0**-149
) -> np.ndarray:
    """|actual - exact| in units of the last place; 0 for the same infinity, or NaN twice."""
    actual, exact = actual.astype(np.float64), exact.astype(np.float64)
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.abs(exact)))
        unit = np.maximum(2.0 ** (exponent - fraction_bits), smallest)
        unit = np.where(exact == 0, smallest, unit)
        error = np.abs(actual - exact) / unit
    same = (actual == exact) | (np.isnan(actual) & np.isnan(exact))
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))


@functools.cache
def _compiled_call(name: str, cpu: str | None) -> tuple[Compiled, tuple[Type, ...], Type | None]:
    """A function that calls `name` once: void (result, parameters...), all by address."""
    function = resolve(name)
    assert function is not None, f"the runtime does not define {name}"
    lines, values = [], []
    for i, type_ in enumerate(function.parameters):
        if type_.element == "ptr":
            values.append(f"ptr %in{i}")
            continue
        memory = "i8" if type_ == Type("i1") else type_.ir
        lines.append(f"  %x{i} = load {memory}, ptr %in{i}, align 1")
        if type_ == Type("i1"):
            lines.append(f"  %b{i} = trunc i8 %x{i} to i1")
        values.append(f"{type_.ir} %{'b' if type_ == Type('i1') else 'x'}{i}")
    result = function.result
    call = f'call {"void" if result is None else result.ir} @"{name}"({", ".join(values)})'
    lines.append(f"  {call}" if result is None else f"  %r = {call}")
    if result == Type("i1"):
        lines += ["  %rx = zext i1 %r to i8", "  store i8 %rx, ptr %out"]
    elif result is not None:
        lines.append(f"  store {result.ir} %r, ptr %out, align 1")
    inputs = "".join(f", ptr %in{i}" for i in range(len(function.parameters)))
    body = "\n".join(lines)
    text = f"{declaration(name)}\ndefine void @once(ptr %out{inputs}) {{\n{body}\n  ret void\n}}\n"
    machine = host_machine() if cpu is None else machine_for(cpu)
    return compile_text(text, machine), function.parameters, result


def call(name: str, *arguments: np.ndarray | int | bool, cpu: str | None = None) -> np.ndarray:
    """Calls `name` once, vectors and memory given as arrays; the result as an array of lanes."""
    compiled, parameters, result = _compiled_call(name, cpu)
    arrays = [
        argument
        if isinstance(argument, np.ndarray)
        else np.array([argument % 2**32 if type_.element == "i32" else argument]).astype(
            np.uint32 if type_.element == "i32" else DTYPES[type_.element]
        )
        for argument, type_ in zip(arguments, parameters, strict=True)
    ]
    for array, type_ in zip(arrays, parameters, strict=True):
        assert type_.element == "ptr" or array.size == type_.lanes, (name, type_, array)
    output = np.zeros(
        1 if result is None else result.lanes, DTYPES[result.element if result else "i32"]
    )
    compiled.call("once", output, *arrays)
    return output

"""Gives the `air.*` functions that a module declares their definitions."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

from metalgen.errors import UnsupportedError
from metalgen.software.runtime.archive import bitcode_defining
from metalgen.software.runtime.ir import Code, Type, Value
from metalgen.software.runtime.names import resolve
from metalgen.software.runtime.soft_float import provide_soft_float

_PREFIXES = ("air.", "v32.air.", "rowmajor.air.")


def link(module: llvm.ModuleRef, context: llvm.ContextRef, *, inlined: bool = True) -> None:
    """Defines every function of the runtime that `module`, of address space 0 throughout, declares.

    The definitions are linkonce_odr and, if they are to be `inlined`, mostly alwaysinline. What
    LLVM may call of its own accord to convert 16-bit floats is made known to MCJIT. Raises
    UnsupportedError for an `air.` function that the runtime lacks, or that is declared with other
    types than the runtime's.
    """
    provide_soft_float()
    declared = {
        function.name: str(function.global_value_type)
        for function in module.functions
        if function.is_declaration and function.name.startswith(_PREFIXES)
    }
    if not declared:
        return
    texts, callees = [], dict[str, str]()
    for name, signature in declared.items():
        text, called = _definition(name, signature)
        texts.append(text)
        callees |= called
    assembly = "\n".join([*texts, *callees.values()])
    _link_in(module, llvm.parse_assembly(assembly, context))
    # Afterwards, since of linkonce functions only those are linked that are missing.
    for bitcode in bitcode_defining(set(callees), inlined=inlined) if callees else []:
        _link_in(module, llvm.parse_bitcode(bitcode, context))


def _link_in(module: llvm.ModuleRef, definitions: llvm.ModuleRef) -> None:
    definitions.triple = module.triple
    definitions.data_layout = module.data_layout
    module.link_in(definitions)


@functools.cache
def _definition(name: str, signature: str) -> tuple[str, dict[str, str]]:
    """The text of the function and the declarations of what it calls of the C++ part."""
    function = resolve(name)
    if function is None:
        raise UnsupportedError(f"not supported: the function {name!r} on the software device")
    parameters = _parameters(signature)
    used = [type_.ir for type_ in function.parameters]
    result = "void" if function.result is None else function.result.ir
    # A declaration may end in more parameters, such as an atomic's memory order, but not between a
    # SIMD-group function's operands and its mask.
    if parameters[: len(used)] != used or not signature.startswith(f"{result} ("):
        expected = f"{result} ({', '.join(used)})"
        raise UnsupportedError(
            f"not supported: {name!r} declared as {signature!r}, not {expected!r}"
        )
    code = Code()
    arguments = [Value(f"%a{i}", type_) for i, type_ in enumerate(function.parameters)]
    value = function.emit(code, arguments)
    code.do("ret void" if value is None else f"ret {value.type.ir} {value.text}")
    listed = ", ".join(f"{type_} %a{i}" for i, type_ in enumerate(parameters))
    memory = " memory(none)" if function.pure else ""
    head = (
        f'define linkonce_odr {result} @"{name}"({listed}) alwaysinline nounwind willreturn{memory}'
    )
    return "\n".join([f"{head} {{", *code.lines, "}"]), code.callees


def _parameters(signature: str) -> list[str]:
    """The parameter types of a function type's text."""
    listed = signature[signature.index("(") + 1 : -1]
    return [part.strip() for part in listed.split(",")] if listed else []


def declaration(name: str) -> str:
    """A declaration of `name`, which the runtime defines, with the parameters its body uses."""
    function = resolve(name)
    if function is None:
        raise UnsupportedError(f"not supported: the function {name!r} on the software device")
    result = Type("void").ir if function.result is None else function.result.ir
    return f'declare {result} @"{name}"({", ".join(type_.ir for type_ in function.parameters)})'

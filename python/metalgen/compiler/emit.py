"""From the module that clang compiled to one AIR module per kernel, in the form Apple's have."""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from metalgen.air import Function, FunctionConstant, KernelInfo
from metalgen.air.metadata_text import metadata_text, quoted, symbol
from metalgen.compiler.bindings import Parameter, evaluated
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.constants import CONSTANT_SYMBOL
from metalgen.compiler.global_parameters import GlobalParameters, read_globals
from metalgen.compiler.initializers import (
    DescribedConstant,
    computed_at_run_time,
    constant_globals,
    described_constants,
    keep_initializers,
)
from metalgen.compiler.irtext import Entity, ModuleText, read_module_text
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.rewrite import Translation
from metalgen.compiler.signatures import Signature, arguments, check_types, read_signature
from metalgen.compiler.spaces import declare_memory_calls, is_memory_call, specialize
from metalgen.compiler.storage import replace_storage
from metalgen.compiler.tidy import tidy
from metalgen.compiler.wrappers import KERNEL_SYMBOL, Entry
from metalgen.errors import ToolchainError

DATA_LAYOUT = (
    "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-f32:32:32-f64:64:64-v16:16:16-"
    "v24:32:32-v32:32:32-v48:64:64-v64:64:64-v96:128:128-v128:128:128-v192:256:256-v256:256:256-"
    "v512:512:512-v1024:1024:1024-n8:16:32"
)

_LINKAGE = re.compile(r"^define (?:(?:linkonce_odr|weak_odr|linkonce|weak|internal|hidden) )*")
_COMDAT = re.compile(r" comdat(?:\(\$[^)]*\))?\b|, comdat\b")
_PROGRAM_SCOPE = re.compile(r"^@\S+ = (?:local_unnamed_addr )?addrspace\(2\) (?!externally)")
# Other intrinsics on generic pointers keep the suffix of what they were.
_OLD_SUFFIX = re.compile(r"(@llvm\.[\w.]*?)\.p4\b")
_KERNEL_ARGUMENT_METADATA = re.compile(r" !kernel_arg_\w+ ![0-9]+")
_MANGLED = re.compile(r"^_Z(?:N?K?L?)(\d+)(\w+)")
_KNOWN_FUNCTIONS = ("@air.", "@llvm.", '@"air.', '@"llvm.')


def emit_functions(
    ir: str, translation: Translation, options: CompileOptions, complaints: Complaints
) -> list[Function]:
    """One function of a metallib per kernel; nothing usable if there are complaints afterwards."""
    module = read_module_text(_plain(ir))
    constants = described_constants(module, translation.constants, complaints)
    variables = read_globals(module, translation.globals, translation.field_names, complaints)
    functions: list[Function] = []
    for entry in translation.entries:
        signature = read_signature(module, entry.key, translation.field_names)
        parameters = evaluated(entry.kernel.parameters, signature.indices, complaints)
        check_types(parameters, signature, complaints)
        if complaints.found:
            continue  # such types have no form in AIR
        text = _module_text(
            module, entry, parameters, signature, constants, variables, options, complaints
        )
        if not complaints.found:
            bitcode = _assemble(text, entry.host_name)
            versions = (options.air_version, options.language_version)
            functions.append(Function(entry.host_name, bitcode, *versions))
    return functions


def _plain(ir: str) -> str:
    """Without what AIR has no use for."""
    for word in (" dso_local ", " spir_func ", " spir_kernel "):
        ir = ir.replace(word, " ")
    return _KERNEL_ARGUMENT_METADATA.sub("", _COMDAT.sub("", ir) if "comdat" in ir else ir)


def _module_text(
    module: ModuleText,
    entry: Entry,
    parameters: tuple[Parameter, ...],
    signature: Signature,
    constants: tuple[DescribedConstant, ...],
    variables: GlobalParameters,
    options: CompileOptions,
    complaints: Complaints,
) -> str:
    """The AIR module of one kernel, as LLVM assembly."""
    kernel = f"@{KERNEL_SYMBOL}{entry.number}"
    used_parameters = _used_parameters(module.entities[kernel])
    entities = keep_initializers(module, module.closure([kernel]))
    entities, added = variables.handed_down(entities, kernel, parameters, entry.start, complaints)
    used_parameters |= {len(parameters) + at for at in range(len(added))}
    parameters = (*parameters, *(each.parameter for each in added))
    types = (*signature.types, *(each.type for each in added))
    _check_undefined(entry, entities, complaints)
    for name in computed_at_run_time(entities):
        message = f"initializer of '{_readable(name)}' must be a constant expression"
        complaints.add(entry.start, message)
    entities = replace_storage(entities)
    conditions = {p.binding.condition for p in parameters if p.binding.condition}
    fixed, used = constant_globals(entities, constants, conditions)
    body = _body(fixed, kernel)
    body = body.replace(f"{kernel}(", f"{symbol(entry.host_name)}(")
    info = KernelInfo(
        entry.host_name,
        arguments(parameters, types, used_parameters),
        constants=tuple(
            FunctionConstant(constant.name, constant.index, constant.type_name)
            for constant, _ in used
        ),
        max_total_threads=signature.max_threads or None,
    )
    metadata = metadata_text(
        info,
        symbols={constant.name: global_name for constant, global_name in used if global_name},
        first=module.next_metadata(),
        air_version=options.air_version,
        language_version=options.language_version,
        fast_math=options.math != "safe",
    )
    return "\n".join(
        [
            f"source_filename = {quoted(entry.host_name)}",
            f'target datalayout = "{DATA_LAYOUT}"',
            f'target triple = "{options.triple}"',
            *module.types,
            body,
            *module.attributes,
            *module.metadata_for(body),
            metadata,
        ]
    )


def _body(entities: list[Entity], kernel: str) -> str:
    """The text of all entities, with no generic pointers in it."""
    texts = [
        _OLD_SUFFIX.sub(r"\1.p0", specialize(_definition(entity, kernel)))
        for entity in entities
        if not is_memory_call(entity.name)
    ]
    return "\n".join([*texts, *declare_memory_calls(texts)])


def _definition(entity: Entity, kernel: str) -> str:
    text = entity.text
    if entity.is_definition:
        linkage = "define " if entity.name == kernel else "define internal "
        text = _LINKAGE.sub(linkage, text)
    elif _PROGRAM_SCOPE.search(text):
        text = text.replace(" = ", " = internal ", 1)
    return text


def _check_undefined(entry: Entry, entities: list[Entity], complaints: Complaints) -> None:
    """Complain about functions and variables that are declared and used, but not defined."""
    for entity in entities:
        is_function = entity.is_declaration and not entity.name.startswith(_KNOWN_FUNCTIONS)
        is_variable = " = external " in entity.text and CONSTANT_SYMBOL not in entity.name
        if (is_function or is_variable) and "threadgroup_storage" not in entity.name:
            verb = "calls" if is_function else "uses"
            complaints.add(
                entry.start,
                f"kernel '{entry.host_name}' {verb} '{_readable(entity.name)}', "
                "which is not defined",
            )


def _readable(symbol: str) -> str:
    """The last part of a mangled name."""
    rest = symbol.removeprefix("@")
    name = rest
    while mangled := _MANGLED.match(rest):
        name = mangled[2][: int(mangled[1])]
        rest = f"_ZN{mangled[2][int(mangled[1]) :]}"
    return name


def _used_parameters(function: Entity) -> set[int]:
    """Positions of the parameters that the body mentions; clang leaves them without names."""
    _, _, body = function.text.partition("{\n")
    return {int(number) for number in re.findall(r"%(\d+)\b", body)}


def _assemble(text: str, name: str) -> bytes:
    """Bitcode of the LLVM assembly `text`, tidied up by LLVM."""
    context = llvm.create_context()
    try:
        module = llvm.parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise ToolchainError(f"LLVM refused the module of kernel '{name}': {error}") from error
    tidy(module)
    return bytes(module.as_bitcode())

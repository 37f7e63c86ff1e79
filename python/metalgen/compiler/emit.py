"""From the module that clang compiled to one AIR module per kernel, in the form Apple's have."""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from metalgen.air import Argument, Function
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.constants import Constant
from metalgen.compiler.initializers import constant_globals, constant_nodes, keep_initializers
from metalgen.compiler.irtext import Entity, ModuleText, read_module_text
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.signatures import Signature, arguments, check_types, read_signature
from metalgen.compiler.storage import replace_storage
from metalgen.compiler.tidy import tidy
from metalgen.compiler.wrappers import KERNEL_SYMBOL, Entry
from metalgen.errors import ToolchainError

TRIPLE = "air64-apple-macosx14.0.0"
DATA_LAYOUT = (
    "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-f32:32:32-f64:64:64-v16:16:16-"
    "v24:32:32-v32:32:32-v48:64:64-v64:64:64-v96:128:128-v128:128:128-v192:256:256-v256:256:256-"
    "v512:512:512-v1024:1024:1024-n8:16:32"
)
AIR_VERSION = (2, 7)
LANGUAGE_VERSION = (3, 2)

_LINKAGE = re.compile(r"^define (?:(?:linkonce_odr|weak_odr|linkonce|weak|internal|hidden) )*")
_NOISE = re.compile(r" (?:dso_local|spir_func|spir_kernel|comdat(?:\(\$[^)]*\))?)\b|, comdat\b")
_KERNEL_ARGUMENT_METADATA = re.compile(r" !kernel_arg_\w+ ![0-9]+")
_MANGLED = re.compile(r"^@_Z(?:N?K?)(\d+)(\w+)")
_SPACE_NUMBERS = {"device": 1, "constant": 2, "threadgroup": 3}


def emit_functions(
    ir: str,
    entries: tuple[Entry, ...],
    constants: tuple[Constant, ...],
    options: CompileOptions,
    complaints: Complaints,
) -> list[Function]:
    """One function of a metallib per entry; nothing usable if there are complaints afterwards."""
    module = read_module_text(_plain(ir))
    _check_constants(constants, module, complaints)
    functions: list[Function] = []
    for entry in entries:
        signature = read_signature(module, entry)
        check_types(entry, signature, complaints)
        text = _module_text(module, entry, signature, constants, options, complaints)
        if not complaints.found:
            bitcode = _assemble(text, entry.host_name)
            functions.append(Function(entry.host_name, bitcode, AIR_VERSION, LANGUAGE_VERSION))
    return functions


def _plain(ir: str) -> str:
    """Without what AIR has no use for; a generic pointer is one to thread memory in AIR."""
    ir = _NOISE.sub("", ir)
    ir = _KERNEL_ARGUMENT_METADATA.sub("", ir)
    return ir


def _check_constants(
    constants: tuple[Constant, ...], module: ModuleText, complaints: Complaints
) -> None:
    indices: dict[int, Constant] = {}
    for constant in constants:
        other = indices.setdefault(constant.index, constant)
        if other is not constant:
            complaints.add(
                constant.start,
                f"function constant index {constant.index} of '{constant.name}' is already taken "
                f"by '{other.name}'",
            )


def _module_text(
    module: ModuleText,
    entry: Entry,
    signature: Signature,
    constants: tuple[Constant, ...],
    options: CompileOptions,
    complaints: Complaints,
) -> str:
    """The AIR module of one kernel, as LLVM assembly."""
    symbol = f"@{KERNEL_SYMBOL}{entry.number}"
    entities = keep_initializers(module, module.closure([symbol]))
    _check_undefined(entry, entities, complaints)
    entities = replace_storage(entities)
    conditions = {p.binding.condition for p in entry.kernel.parameters if p.binding.condition}
    fixed, used_constants = constant_globals(entities, constants, conditions)
    body = "\n".join(_definition(entity, symbol) for entity in fixed)
    host = f'@"{entry.host_name}"'
    body = body.replace(symbol + "(", host + "(")
    nodes = _Nodes(module)
    listed = arguments(entry, signature, _used_parameters(module.entities[symbol]))
    metadata = _metadata(nodes, host, listed, signature.max_threads, options)
    metadata += constant_nodes(nodes.add, used_constants)
    return "\n".join(
        [
            f'source_filename = "{entry.host_name}"',
            f'target datalayout = "{DATA_LAYOUT}"',
            f'target triple = "{TRIPLE}"',
            *module.types,
            body,
            *module.attributes,
            *module.metadata_for(body),
            *nodes.lines,
            *metadata,
        ]
    )


def _definition(entity: Entity, kernel: str) -> str:
    text = entity.text
    if entity.is_definition:
        linkage = "define " if entity.name == kernel else "define internal "
        text = _LINKAGE.sub(linkage, text)
    return text


def _check_undefined(entry: Entry, entities: list[Entity], complaints: Complaints) -> None:
    for entity in entities:
        known = entity.name.startswith(("@air.", "@llvm.", '@"air.', '@"llvm.'))
        if entity.is_declaration and not known and "threadgroup_storage" not in entity.name:
            mangled = _MANGLED.match(entity.name)
            name = mangled[2][: int(mangled[1])] if mangled else entity.name[1:]
            complaints.add(
                entry.start, f"kernel '{entry.host_name}' calls '{name}', which is not defined"
            )


def _used_parameters(function: Entity) -> set[int]:
    """Positions of the parameters that the body mentions; clang leaves them without names."""
    _, _, body = function.text.partition("{\n")
    return {int(number) for number in re.findall(r"%(\d+)\b", body)}


class _Nodes:
    """Numbered metadata nodes, behind those the module has already."""

    def __init__(self, module: ModuleText) -> None:
        self.next = 1 + max((int(name[1:]) for name in module.metadata), default=-1)
        self.lines: list[str] = []

    def add(self, content: str) -> str:
        """A new node; its name."""
        name = f"!{self.next}"
        self.next += 1
        self.lines.append(f"{name} = !{{{content}}}")
        return name


def _metadata(
    nodes: _Nodes,
    host: str,
    listed: tuple[Argument, ...],
    max_threads: int,
    options: CompileOptions,
) -> list[str]:
    """The named metadata of a kernel's module; its nodes go into `nodes`."""
    flags = [
        nodes.add('i32 1, !"wchar_size", i32 4'),
        *(
            nodes.add(f'i32 7, !"air.max_{what}", i32 {limit}')
            for what, limit in (
                ("device_buffers", 31),
                ("constant_buffers", 31),
                ("threadgroup_buffers", 31),
                ("textures", 128),
                ("read_write_textures", 8),
                ("samplers", 16),
            )
        ),
    ]
    arguments_node = nodes.add(", ".join(nodes.add(_argument(argument)) for argument in listed))
    kernel = f"ptr {host}, {nodes.add('')}, {arguments_node}"
    if max_threads:
        kernel += f', {nodes.add(f"""!"air.max_work_group_size", i32 {max_threads}""")}'
    mode = "enable" if options.math == "fast" else "disable"
    compiled = [
        nodes.add(f'!"{option}"')
        for option in (
            "air.compile.denorms_disable",
            f"air.compile.fast_math_{mode}",
            "air.compile.framebuffer_fetch_enable",
        )
    ]
    return [
        f"!llvm.module.flags = !{{{', '.join(flags)}}}",
        f"!llvm.ident = !{{{nodes.add(_quoted('metalgen'))}}}",
        f"!air.version = !{{{nodes.add('i32 {}, i32 {}, i32 0'.format(*AIR_VERSION))}}}",
        "!air.language_version = "
        f"!{{{nodes.add('!{}, i32 {}, i32 {}, i32 0'.format(_quoted('Metal')[1:], *LANGUAGE_VERSION))}}}",
        f"!air.compile_options = !{{{', '.join(compiled)}}}",
        f"!air.kernel = !{{{nodes.add(kernel)}}}",
    ]


def _quoted(text: str) -> str:
    return f'!"{text}"'


def _argument(argument: Argument) -> str:
    """One argument's operands, in Apple's order."""
    parts = [f"i32 {argument.position}"]
    if argument.kind == "builtin":
        parts.append(f'!"air.{argument.builtin}"')
    else:
        if argument.condition:
            parts += [
                '!"air.function_constant"',
                f'!{{ptr null, !"bool", !"{argument.condition}"}}',
            ]
        parts.append('!"air.buffer"')
        if argument.is_reference:
            parts += ['!"air.buffer_size"', f"i32 {argument.type_size}"]
        parts += ['!"air.location_index"', f"i32 {argument.index}", "i32 1"]
        parts.append(f'!"air.{argument.access}"')
        parts += ['!"air.address_space"', f"i32 {_SPACE_NUMBERS[argument.address_space or '']}"]
        parts += ['!"air.arg_type_size"', f"i32 {argument.type_size}"]
        parts += ['!"air.arg_type_align_size"', f"i32 {argument.type_alignment}"]
    parts += ['!"air.arg_type_name"', f'!"{argument.type_name}"']
    parts += ['!"air.arg_name"', f'!"{argument.name}"']
    if not argument.is_used:
        parts.append('!"air.arg_unused"')
    return ", ".join(parts)


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

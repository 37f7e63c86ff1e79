"""AIR bitcode → one flat function: constants set, everything inlined, lightly cleaned up."""

from __future__ import annotations

import re
from dataclasses import dataclass

import llvmlite.binding as llvm

from metalgen.errors import MetallibError, UnsupportedError
from metalgen.software import runtime, target
from metalgen.software.async_copies import define_async_copies
from metalgen.software.dump import Dump
from metalgen.software.fast_maths import settle_fast_maths
from metalgen.software.function_constants import Constants, set_function_constants
from metalgen.software.ir import parse_module
from metalgen.software.ir.model import Function, Module
from metalgen.software.ir.passes import ThreadgroupMemory, place_threadgroup_variables
from metalgen.software.matrices import keep_to_owned_bits
from metalgen.software.private_bounds import contain_private_accesses
from metalgen.software.signature import Parameter, metadata_nodes, read_signature

# What only Apple's back end reads, and what would keep LLVM from inlining and optimising.
_UNREAD = re.compile(
    r"(?:!(?:air\.[\w.]+|llvm\.(?:module\.flags|ident))|@llvm\.(?:compiler\.)?used) = "
)
_BLOCKING_ATTRIBUTES = re.compile(
    r' (?:noinline|optnone|minsize|optsize|"(?:no-builtins|frame-pointer|min-legal-vector-width|'
    r'stack-protector-buffer-size|no-trapping-math)"(?:="[^"]*")?)(?= )'
)
_DEFINE = re.compile(
    r"^define (?:weak_odr |linkonce_odr |weak |linkonce |internal |private |hidden |protected |"
    r"dso_local |local_unnamed_addr |unnamed_addr )*"
)
_THREADGROUP_VARIABLE = re.compile(
    r"^(@\S+ = ).*?(addrspace\(3\) global .*) (?:undef|poison|zeroinitializer)(, align \d+)?$"
)
_NO_INITIALIZERS = re.compile(r"\n@llvm\.global_ctors = appending global \[0 x .*(?=\n)")
# From macOS 26 on matrices come from memory by extents, strides and origin, under the old name.
_STRIDED_MATRIX = re.compile(
    r"(@air\.simdgroup_matrix_8x8_(?:load|store))(\.[\w.]+\([^\n]*?"
    r"<2 x i64>[^\n(]*?, <2 x i64>[^\n(]*?, <2 x i64>)"
)
# What MetalPerformancePrimitives' templates call: products of cooperative tensors.
_TENSOR_OPERATION = re.compile(r"@__tensorops_impl_")
# Apple's GPUs load and store vectors wherever a scalar may lie, and kernels count on it: PyTorch's
# move rows of any length as float4. On some hosts an access that claims 16 bytes faults.
_IS_WIDE = re.compile(r"align (?:16|32|64|128)\b")
_WIDE_ALIGNMENT = re.compile(
    r"^((?: *%\S+ = load|  store) .*ptr addrspace\(\d+\) .*, align )(?:16|32|64|128)\b|"
    r"(ptr addrspace\(\d+\) (?:\w+ )*align )(?:16|32|64|128)\b"
)
# Calls that threads make together must keep their place in the control flow.
_MEETING_DECLARATION = re.compile(r"^(declare .*@air\.(?:wg\.|simd|quad)[^#]*?)( #\d+)?$")


@dataclass(slots=True)
class Prepared:
    """A kernel ready to be lowered.

    `module` holds nothing but `function`, declarations and functions that call themselves.
    """

    module: Module
    function: Function
    signature: tuple[Parameter, ...]
    memory: ThreadgroupMemory  # of the threadgroup variables, the last parameter


def prepare(bitcode: bytes, kernel: str, constants: Constants, dump: Dump) -> Prepared:
    """Specialise `kernel` and inline everything into it.

    Raises MetallibError for bitcode that LLVM cannot read or that lacks the kernel, LaunchError
    for wrong function constants, UnsupportedError for what the software device cannot run.
    """
    text = _disassembled(bitcode)
    dump.write("air", text)
    text = define_async_copies(_STRIDED_MATRIX.sub(r"\1_strided\2", text))
    signature = read_signature(metadata_nodes(text), kernel)
    text = _simplified(set_function_constants(text, constants), kernel)
    dump.write("prepared", text)
    if _TENSOR_OPERATION.search(text):
        raise UnsupportedError("not supported: Metal 4's tensor operations on the software device")
    module = parse_module(keep_to_owned_bits(text))
    function = module.functions[kernel]
    if len(function.parameters) != len(signature):
        raise MetallibError(
            f"kernel {kernel!r} has {len(function.parameters)} parameters, "
            f"but its metadata describes {len(signature)}"
        )
    contain_private_accesses(module, function)
    settle_fast_maths(module, function)
    memory = place_threadgroup_variables(module, function)
    if not runtime.host_has_bf16():
        for each in module.functions.values():
            runtime.spell_out_bf16(module, each)
    return Prepared(module, function, (*signature, Parameter("static")), memory)


def _disassembled(bitcode: bytes) -> str:
    """The text of the module; LLVM may end the process where the file's checksum was ignored."""
    target.initialize()
    try:
        module = llvm.parse_bitcode(bitcode, llvm.create_context())
        module.verify()
        return str(module)
    except (RuntimeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise MetallibError(f"damaged AIR bitcode: {reason}") from error


def _simplified(text: str, kernel: str) -> str:
    """The text of the module with everything inlined into `kernel`."""
    machine = target.machine()
    module = target.parse(_inlinable(text, kernel), llvm.create_context(), machine)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    # Evaluates the static initialisers, which compute with the function constants.
    passes.add_global_opt_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_sccp_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_aggressive_dce_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, builder)
    # Recursive functions, which alone are left, are called in the one convention that all know.
    text = _NO_INITIALIZERS.sub("", str(module)).replace(" fastcc ", " ")
    if "@llvm.global_ctors" in text:
        raise UnsupportedError("not supported: a static initialiser that is not a constant")
    return text


def _inlinable(text: str, kernel: str) -> str:
    lines = (_inlinable_line(line, kernel) for line in text.splitlines() if not _UNREAD.match(line))
    return "\n".join(lines) + "\n"


def _inlinable_line(line: str, kernel: str) -> str:
    """One of the module's lines; in Python, since each expression over all of a text takes long."""
    if "align " in line and _IS_WIDE.search(line):
        line = _WIDE_ALIGNMENT.sub(lambda m: f"{m[1] or m[2]}8", line)
    if line.startswith("attributes "):
        return _BLOCKING_ATTRIBUTES.sub("", line)
    if line.startswith("@"):
        # Other threads write them: no pass may reason about what one thread stores there.
        return _THREADGROUP_VARIABLE.sub(r"\1external \2\3", line)
    if line.startswith("declare "):
        return _MEETING_DECLARATION.sub(r"\1 convergent\2", line)
    return _with_linkage(line, kernel) if line.startswith("define ") else line


def _with_linkage(head: str, kernel: str) -> str:
    """Every function internal and inlined, except the kernel."""
    name = re.search(r'@("[^"]*"|[-\w$.]+)\(', head)
    if name is not None and name[1].strip('"') == kernel:
        return _DEFINE.sub("define ", head)
    if name is not None and 'section "air.static_init"' not in head:
        head = _DEFINE.sub("define internal ", head)
        return re.sub(r"( #\d+| section|) \{$", r" alwaysinline\1 {", head)
    return head

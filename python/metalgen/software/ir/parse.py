"""Reads the textual LLVM IR that LLVM prints into a Module."""

from __future__ import annotations

import re

from metalgen.errors import UnsupportedError
from metalgen.software.ir.instructions import element_type, parse_instruction
from metalgen.software.ir.model import (
    Block,
    Function,
    GlobalVariable,
    Instruction,
    Module,
    Parameter,
    unquoted,
)
from metalgen.software.ir.operands import parse_attributes, parse_type
from metalgen.software.ir.tokens import Tokens
from metalgen.software.ir.types import Struct, Type

_NUMBERED = re.compile(r"%(\d+)\b")
_LABEL = re.compile(r'^("[^"]*"|[-\w$.]+):')


def parse_module(text: str) -> Module:
    """The module that `text`, as printed by LLVM, describes.

    Numbered values and types (`%7`) are renamed (`%.7`), so that instructions may be added and removed.
    Raises UnsupportedError for constructs that no AIR module has (inline assembly, exceptions ...).
    """
    module = Module({}, {}, {}, {}, [], [])
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("define "):
            body = []
            for inner in lines:
                if inner.startswith("}"):
                    break
                body.append(_renumbered(inner))
            function = _parse_function(_renumbered(line), body)
            _resolve_extracted(function, module.structs)
            module.functions[function.name] = function
        else:
            _parse_top_level(line, module)
    return module


def _resolve_extracted(function: Function, structs: dict[str, Struct]) -> None:
    for instruction in function.instructions():
        if instruction.opcode == "extractvalue":
            instruction.type = element_type(instruction.type, instruction.indices, structs)


def _renumbered(line: str) -> str:
    return _NUMBERED.sub(r"%.\1", line)


def _parse_top_level(line: str, module: Module) -> None:
    if line.startswith("@"):
        variable = _parse_global(_renumbered(line))
        module.globals[variable.name] = variable
    elif line.startswith("declare "):
        line = _renumbered(line)
        match = re.search(r'@("[^"]*"|[-\w$.]+)', line)
        assert match is not None
        module.declarations[unquoted(match[0])] = line
    elif line.startswith("%"):
        line = _renumbered(line)
        module.header.append(line)
        name, _, definition = line.partition(" = type ")
        type_ = parse_type(Tokens(definition)) if definition != "opaque" else Struct(())
        if isinstance(type_, Struct):
            module.structs[name] = type_
    elif line.startswith(("attributes ", "!")):
        module.footer.append(line)
    elif line.strip() and not line.startswith(";"):
        module.header.append(line)


def _parse_global(line: str) -> GlobalVariable:
    tokens = Tokens(line)
    name = unquoted(tokens.next())
    space = re.search(r"addrspace\((\d+)\)", line)
    while tokens.peek() not in ("global", "constant", ""):
        tokens.next()
    if tokens.next() == "":
        raise UnsupportedError(f"not supported: LLVM IR {line.strip()!r}")
    return GlobalVariable(name, parse_type(tokens), int(space[1]) if space else 0, line)


def _parse_function(head: str, body: list[str]) -> Function:
    tokens = Tokens(head)
    tokens.expect("define")
    prefix: list[str] = []
    while not _starts_return_type(tokens):
        prefix.append(tokens.next())
        if tokens.peek() == "(":
            prefix.append(tokens.balanced())
    return_type = parse_type(tokens)
    name = unquoted(tokens.next())
    parameters = _parse_parameters(tokens)
    suffix = tokens.rest().removesuffix("{").strip()
    unnamed = sum(parameter.name.startswith("%.") for parameter in parameters)
    blocks = _parse_blocks(body, f"%.{unnamed}")
    return Function(name, return_type, parameters, blocks, " ".join(prefix), suffix)


_TYPE_START = re.compile(r"i\d+$|half$|bfloat$|float$|double$|ptr$|void$|[<\[{%]")


def _starts_return_type(tokens: Tokens) -> bool:
    return _TYPE_START.match(tokens.peek()) is not None


def _parse_parameters(tokens: Tokens) -> list[Parameter]:
    tokens.expect("(")
    parameters: list[Parameter] = []
    while not tokens.accept(")"):
        type_: Type = parse_type(tokens)
        attributes = parse_attributes(tokens)
        name = tokens.next() if tokens.peek().startswith("%") else f"%.{len(parameters)}"
        parameters.append(Parameter(type_, name, attributes))
        tokens.accept(",")
    return parameters


def _parse_blocks(lines: list[str], entry: str) -> list[Block]:
    blocks: list[Block] = []
    rows = iter(lines)
    for line in rows:
        stripped = line.strip()
        if not stripped or stripped.startswith((";", "#dbg_")):
            continue
        label = _LABEL.match(line)
        if label:
            name = label[1]
            blocks.append(Block(f"%.{name}" if name.isdigit() else f"%{name}", []))
            continue
        if not blocks:
            blocks.append(Block(entry, []))
        if stripped.startswith("switch ") and not stripped.endswith("]"):
            for more in rows:
                stripped += " " + more.strip()
                if more.strip().startswith("]"):
                    break
        blocks[-1].instructions.append(_instruction(stripped))
    return blocks


def _instruction(line: str) -> Instruction:
    return parse_instruction(Tokens(line))

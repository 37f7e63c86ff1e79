"""Reads the textual LLVM IR that LLVM prints into a Module."""

from __future__ import annotations

import re

from metalgen.errors import UnsupportedError
from metalgen.software.ir.forms import Forms
from metalgen.software.ir.instructions import element_type
from metalgen.software.ir.model import (
    Block,
    Function,
    GlobalVariable,
    Module,
    Parameter,
    unquoted,
)
from metalgen.software.ir.operands import parse_attributes, parse_type
from metalgen.software.ir.tokens import Tokens
from metalgen.software.ir.types import Struct, Type

_NUMBERED = re.compile(r"%(?=\d+\b)")
_NUMBERED_LABEL = re.compile(r"^(?=\d+:)", re.MULTILINE)
_LABEL = re.compile(r'^("[^"]*"|[-\w$.]+):')


def parse_module(text: str) -> Module:
    """The module that `text`, as printed by LLVM, describes.

    Numbered values and types (`%7`) are renamed (`%.7`), so that instructions may be added and
    removed. Raises UnsupportedError for constructs that no AIR module has (inline assembly,
    exceptions ...).
    """
    prefix = _unused_prefix(text)
    text = _NUMBERED.sub(f"%{prefix}", _NUMBERED_LABEL.sub(prefix, text))
    module = Module({}, {}, {}, {}, [], [])
    forms = Forms()
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("define "):
            body = []
            for inner in lines:
                if inner.startswith("}"):
                    break
                body.append(inner)
            function = _parse_function(line, body, prefix, forms)
            _resolve_extracted(function, module.structs)
            module.functions[function.name] = function
        else:
            _parse_top_level(line, module)
    return module


def _resolve_extracted(function: Function, structs: dict[str, Struct]) -> None:
    for instruction in function.instructions():
        if instruction.opcode == "extractvalue":
            instruction.type = element_type(instruction.type, instruction.indices, structs)


def _unused_prefix(text: str) -> str:
    """Dots enough that no name of the module is so many dots and a number."""
    prefix = "."
    while re.search(rf"%{re.escape(prefix)}\d", text):
        prefix += "."
    return prefix


def _parse_top_level(line: str, module: Module) -> None:
    if line.startswith("@"):
        variable = _parse_global(line)
        module.globals[variable.name] = variable
    elif line.startswith("declare "):
        match = re.search(r'@("[^"]*"|[-\w$.]+)', line)
        assert match is not None
        module.declarations[unquoted(match[0])] = line
    elif line.startswith("%"):
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


def _parse_function(head: str, body: list[str], prefix_of_numbers: str, forms: Forms) -> Function:
    tokens = Tokens(head)
    tokens.expect("define")
    prefix: list[str] = []
    while not _starts_return_type(tokens):
        prefix.append(tokens.next())
        if tokens.peek() == "(":
            prefix.append(tokens.balanced())
    return_type = parse_type(tokens)
    name = unquoted(tokens.next())
    parameters = _parse_parameters(tokens, prefix_of_numbers)
    suffix = tokens.rest().removesuffix("{").strip()
    unnamed = sum(p.name.startswith(f"%{prefix_of_numbers}") for p in parameters)
    blocks = _parse_blocks(body, f"%{prefix_of_numbers}{unnamed}", forms)
    return Function(name, return_type, parameters, blocks, " ".join(prefix), suffix)


_TYPE_START = re.compile(r"i\d+$|half$|bfloat$|float$|double$|ptr$|void$|[<\[{%]")


def _starts_return_type(tokens: Tokens) -> bool:
    return _TYPE_START.match(tokens.peek()) is not None


def _parse_parameters(tokens: Tokens, prefix: str) -> list[Parameter]:
    tokens.expect("(")
    parameters: list[Parameter] = []
    while not tokens.accept(")"):
        type_: Type = parse_type(tokens)
        attributes = parse_attributes(tokens)
        name = tokens.next() if tokens.peek().startswith("%") else f"%{prefix}{len(parameters)}"
        parameters.append(Parameter(type_, name, attributes))
        tokens.accept(",")
    return parameters


def _parse_blocks(lines: list[str], entry: str, forms: Forms) -> list[Block]:
    blocks: list[Block] = []
    rows = iter(lines)
    for line in rows:
        stripped = line.strip()
        if not stripped or stripped.startswith((";", "#dbg_")):
            continue
        label = _LABEL.match(line)
        if label:
            blocks.append(Block(f"%{label[1]}", []))
            continue
        if not blocks:
            blocks.append(Block(entry, []))
        if stripped.startswith("switch ") and not stripped.endswith("]"):
            for more in rows:
                stripped += " " + more.strip()
                if more.strip().startswith("]"):
                    break
        blocks[-1].instructions.append(forms.parse(stripped))
    return blocks

"""Gathers and scatters that the host has no instruction for, without a branch for each lane.

LLVM would test every lane's mask and jump, which for 32 lanes makes code that is slow to run and
very slow to compile. Here lanes that are off access a spare place on the stack instead, in a
function that is called rather than inlined: a kernel may gather hundreds of times.
"""

from __future__ import annotations

import re

from metalgen.software import target

_INTRINSIC = re.compile(
    r"@llvm\.masked\.(?P<operation>gather|scatter)\."
    r"v(?P<lanes>\d+)(?P<element>f16|bf16|f32|f64|p0|i\d+)\.v\d+p0(?=\()"
)
_TYPES = {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double", "p0": "ptr"}


def without_lane_branches(text: str) -> str:
    """The module `text` with such gathers and scatters replaced by functions defined in it."""
    definitions: dict[str, str] = {}

    def replaced(match: re.Match[str]) -> str:
        operation, element, lanes = match["operation"], match["element"], int(match["lanes"])
        if _has_instruction(operation, element):
            return match[0]
        name = f"@metalgen.{operation}.v{lanes}{element}"
        define = _gather if operation == "gather" else _scatter
        definitions[name] = define(name, lanes, _TYPES.get(element, element))
        return name

    lines = text.splitlines()
    declared = [line for line in lines if line.startswith("declare ") and _INTRINSIC.search(line)]
    kept = [line for line in lines if line not in declared]
    text = _INTRINSIC.sub(replaced, "\n".join(kept))
    still = [line for line in declared if _INTRINSIC.sub(replaced, line) == line]
    return "\n".join([text, *still, *definitions.values(), ""])


def _has_instruction(operation: str, element: str) -> bool:
    if re.sub(r"\D", "", element) in ("8", "16", "1"):
        return False
    return target.host().has("avx512f" if operation == "scatter" else "avx2")


def _places(lanes: int) -> list[str]:
    """Where each lane goes: `%to.N`."""
    pointers = f"<{lanes} x ptr>"
    return [
        "  %spare = alloca i64",
        f"  %spare.first = insertelement {pointers} poison, ptr %spare, i32 0",
        f"  %spare.all = shufflevector {pointers} %spare.first, {pointers} poison, "
        f"<{lanes} x i32> zeroinitializer",
        f"  %to = select <{lanes} x i1> %mask, {pointers} %at, {pointers} %spare.all",
        *(f"  %to.{i} = extractelement {pointers} %to, i32 {i}" for i in range(lanes)),
    ]


def _gather(name: str, lanes: int, element: str) -> str:
    vector = f"<{lanes} x {element}>"
    parameters = f"<{lanes} x ptr> %at, <{lanes} x i1> %mask, {vector} %otherwise"
    lines = [
        f"define internal {vector} {name}({parameters}) noinline nounwind {{",
        *_places(lanes),
    ]
    before = "poison"
    for i in range(lanes):
        lines += [
            f"  %lane.{i} = load {element}, ptr %to.{i}, align 1",
            f"  %part.{i} = insertelement {vector} {before}, {element} %lane.{i}, i32 {i}",
        ]
        before = f"%part.{i}"
    chosen = f"select <{lanes} x i1> %mask, {vector} {before}, {vector} %otherwise"
    return "\n".join([*lines, f"  %all = {chosen}", f"  ret {vector} %all", "}"])


def _scatter(name: str, lanes: int, element: str) -> str:
    vector = f"<{lanes} x {element}>"
    lines = [
        f"define internal void {name}({vector} %value, <{lanes} x ptr> %at, <{lanes} x i1> %mask)"
        " noinline nounwind {",
        *_places(lanes),
    ]
    for i in range(lanes):
        lines += [
            f"  %lane.{i} = extractelement {vector} %value, i32 {i}",
            f"  store {element} %lane.{i}, ptr %to.{i}, align 1",
        ]
    return "\n".join([*lines, "  ret void", "}"])

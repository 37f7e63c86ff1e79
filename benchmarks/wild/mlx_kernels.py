"""Kernels that Python packages hand to `mx.fast.metal_kernel`, as MLX completes and compiles them.

Nothing of a package is imported. Of each file that names `metal_kernel` the functions and the
plain assignments are run, one by one, with stand-ins for whatever they import; what they call
`metal_kernel` with is recorded. Types and template arguments, which MLX takes from the arrays of
a call, are read from the file's own calls where they are constant, else assumed by `Typing`.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wild.project import Package, Source

MLX_METAL = Package("pypi-macos", "mlx-metal", "0.32.4")  # the header that MLX puts before kernels
_PRELUDE = '#include "mlx/backend/metal/kernels/utils.h"\n'
_VECTORS = (
    "dispatch_threads_per_threadgroup thread_position_in_grid thread_position_in_threadgroup "
    "threadgroup_position_in_grid threadgroups_per_grid threads_per_grid threads_per_threadgroup"
).split()
_NUMBERS = (
    "dispatch_quadgroups_per_threadgroup dispatch_simdgroups_per_threadgroup "
    "quadgroup_index_in_threadgroup quadgroups_per_threadgroup simdgroup_index_in_threadgroup "
    "simdgroups_per_threadgroup thread_execution_width thread_index_in_quadgroup "
    "thread_index_in_simdgroup thread_index_in_threadgroup threads_per_simdgroup"
).split()
_FLAG = re.compile(r"^(?:has_|is_|use_|do_|HAS_|IS_|USE_|DO_)|(?:_flag|causal|CAUSAL)$")
_TYPE = re.compile(r"dtype|_type$|mx\.(?:float|bfloat|u?int|bool)")


@dataclass(frozen=True, slots=True)
class CustomKernel:
    """What `metal_kernel` was called with, and the template parameters that it needs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str
    header: str
    is_atomic: bool
    parameters: tuple[tuple[str, str], ...]  # name → typename, int or bool


_INDICES = re.compile(
    r"(^|_)(idx|index|indices|inds|ids?|len|lens|lengths?|offsets?|pos|positions?|selected|topk|"
    r"experts?|starts?|ends?|slots?|perm|table|count|counts|parents?|rows?|blocks?)(_|$)"
)
_WORDS = re.compile(
    r"packed|codes|signs$|_mse$|(^|_)w(_?q)?$|words|bits|(^|_)(up|gate|down|q|qkv)_w$"
)
_NUMBER = re.compile(
    r"^[A-Z][A-Z_\d]{0,9}$|eps$|scale$|softcap|alpha|theta|(^|_)(len|size|num|n|stride|total|dim)(_|$)"
)
_USUAL = {"typename": "half", "bool": "true", "int": "64"}


@dataclass(frozen=True, slots=True)
class Typing:
    """What a call's arrays are, where names do not tell: types and values by name."""

    arrays: Mapping[str, str] = field(default_factory=dict)
    scalars: Mapping[str, str] = field(default_factory=dict)  # arrays without dimensions
    parameters: Mapping[str, str] = field(default_factory=dict)

    def array(self, name: str) -> str:
        """The type of an input's or output's elements."""
        guess = "bool" if "mask" in name else "int" if _INDICES.search(name) else ""
        guess = guess or ("uint32_t" if _WORDS.search(name) else "half")
        return self.arrays.get(name, guess)

    def scalar(self, name: str, text: str) -> str | None:
        """The type of an input that is one number to the code `text`; None for arrays."""
        if name in self.arrays or name in self.scalars:
            return self.scalars.get(name)
        word = rf"\b{name}\b"
        if re.search(rf"{word}\s*\[|\*\)\s*{word}|&{word}|{word[:-2]}_shape\b", text):
            return None
        is_moved = re.search(rf"{word}\s*\+|[+=(]\s*{word}", text)
        if is_moved and not _NUMBER.search(name):
            return None
        return "int" if name[0].isupper() or _INDICES.search(name) else "float"

    def parameter(self, name: str, kind: str) -> str:
        """What a template is instantiated with."""
        return self.parameters.get(name, _USUAL[kind])


def custom_kernels(package: Path, root: Path, typings: Mapping[str, Typing]) -> Iterator[Source]:
    """The translation units of all kernels below `package`; `typings` by kernel name's pattern."""
    include = root / "mlx-metal/mlx/include"
    seen: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(errors="replace")
        if "metal_kernel(" not in text:
            continue
        for kernel in _recorded(text):
            typing = next((t for p, t in typings.items() if re.search(p, kernel.name)), Typing())
            source = completed(kernel, typing)
            if source not in seen:
                seen.add(source)
                name = f"{path.relative_to(package).with_suffix('')}/{kernel.name}"
                yield Source(name, source, (include,))


def completed(kernel: CustomKernel, typing: Typing) -> str:
    """The whole source, signature included, as MLX's host generates it."""
    called = f"custom_kernel_{kernel.name}"
    parameters = [*_buffers(kernel, typing), *_positions(kernel.source)]
    template = ", ".join(f"{kind} {name}" for name, kind in kernel.parameters)
    values = ", ".join(typing.parameter(name, kind) for name, kind in kernel.parameters)
    joined = ",\n  ".join(parameters)
    text = f"[[kernel]] void {called}(\n  {joined}) {{\n{kernel.source}\n}}\n"
    if not template:
        return f"{_PRELUDE}{kernel.header}{text}"
    instance = f"decltype({called}<{values}>) {called}<{values}>"
    return (
        f"{_PRELUDE}{kernel.header}template <{template}>\n{text}"
        f'template [[host_name("{called}")]] [[kernel]] {instance};\n'
    )


def _buffers(kernel: CustomKernel, typing: Typing) -> Iterator[str]:
    declared: list[str] = []
    for name in kernel.inputs:
        scalar = typing.scalar(name, kernel.header + kernel.source)
        if scalar:
            declared.append(f"const constant {scalar}& {name}")
            continue
        declared.append(f"const device {typing.array(name)}* {name}")
        for suffix, type_ in (("_shape", "int*"), ("_strides", "int64_t*"), ("_ndim", "int&")):
            if name + suffix in kernel.source:
                declared.append(f"const constant {type_} {name}{suffix}")
    for name in kernel.outputs:
        type_ = typing.array(name)
        declared.append(f"device {f'atomic<{type_}>' if kernel.is_atomic else type_}* {name}")
    yield from (f"{text} [[buffer({at})]]" for at, text in enumerate(declared))


def _positions(source: str) -> Iterator[str]:
    for names, type_ in ((_VECTORS, "uint3"), (_NUMBERS, "uint")):
        yield from (f"{type_} {name} [[{name}]]" for name in names if name in source)


class _StandIn:
    """Whatever a package imports: any attribute, call or item of it is another."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn()

    def __call__(self, *args: object, **kwargs: object) -> Any:
        # As a decorator it changes nothing.
        function = args[0] if len(args) == 1 and not kwargs else None
        return function if callable(function) and not isinstance(function, _StandIn) else self

    def __getitem__(self, key: object) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __eq__(self, other: object) -> bool:
        return True  # this device is the one that is asked for

    def __hash__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __mro_entries__(self, bases: object) -> tuple[type, ...]:
        return ()


def _recorded(text: str) -> list[CustomKernel]:
    tree = ast.parse(text)
    known = _template_parameters(tree)
    found: list[CustomKernel] = []
    names = _Names(found, known)
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.If)):
            _run(statement, names)
    for function in [n for n in tree.body if isinstance(n, ast.FunctionDef)]:
        if "metal_kernel(" in ast.unparse(function):
            _call(function, names)
    return list({(k.name, k.source, k.header): k for k in found}.values())


class _Names(dict[str, Any]):
    """A module's names: what is not defined is a stand-in, `metal_kernel` of any is recorded."""

    def __init__(self, found: list[CustomKernel], known: Mapping[str, str]) -> None:
        super().__init__()
        self._found, self._known = found, known
        recorder = _StandIn()
        recorder.__dict__["fast"] = _StandIn()
        recorder.fast.__dict__["metal_kernel"] = self._record
        self["mx"] = recorder
        self["__builtins__"] = __builtins__

    def __missing__(self, name: str) -> Any:
        if name in dir(__builtins__) or (isinstance(__builtins__, dict) and name in __builtins__):
            raise KeyError(name)
        return _StandIn()

    def _record(self, *args: Any, **given: Any) -> Any:
        order = ("name", "input_names", "output_names", "source", "header")
        given |= dict(zip(order, args, strict=False))
        source, header = given.get("source"), given.get("header", "")
        if isinstance(source, str) and isinstance(header, str):
            words = set(re.findall(r"\w+", source + header))
            used = [(name, kind) for name, kind in self._known.items() if name in words]
            used = [each for each in used if not _is_declared(each[0], source)]
            taken = {*given["input_names"], *given["output_names"]}
            self._found.append(
                CustomKernel(
                    re.sub(r"\W", "_", str(given["name"])),
                    tuple(given["input_names"]),
                    tuple(given["output_names"]),
                    source,
                    header,
                    bool(given.get("atomic_outputs")),
                    tuple((name, kind) for name, kind in used if name not in taken),
                )
            )
        return _StandIn()


def _is_declared(name: str, source: str) -> bool:
    return re.search(rf"\b(?:int|uint|auto) {name}\s*=", source) is not None


def _template_parameters(tree: ast.Module) -> dict[str, str]:
    """The names of the file's `template=[("D", d), ...]`, and what kind each is."""
    kinds: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            name, value = node.elts
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                kinds.setdefault(name.value, _kind(name.value, ast.unparse(value)))
    return {name: kind for name, kind in kinds.items() if name.isidentifier()}


def _kind(name: str, value: str) -> str:
    if _TYPE.search(value) or name in ("T", "InT", "OutT", "StT"):
        return "typename"
    is_flag = _FLAG.search(name) or value in ("True", "False") or " is " in value
    return "bool" if is_flag or value.startswith(("bool(", "not ")) else "int"


def _run(statement: ast.stmt, names: _Names) -> None:
    """What cannot be run without the package is left out."""
    if isinstance(statement, ast.FunctionDef):
        statement.decorator_list = []
    with contextlib.suppress(Exception):
        exec(compile(ast.Module([statement], []), "<package>", "exec"), names)


def _call(function: ast.FunctionDef, names: _Names) -> None:
    """Call a maker of kernels with what its parameters are by default, flags in both ways."""
    wanted = function.args.args[: len(function.args.args) - len(function.args.defaults)]
    made = names[function.name]
    for flag in (False, True):
        with contextlib.suppress(Exception):
            made(*[_argument(parameter, flag) for parameter in wanted])


def _argument(parameter: ast.arg, flag: bool) -> object:
    said = ast.unparse(parameter.annotation) if parameter.annotation else ""
    if said == "bool" or _FLAG.search(parameter.arg):
        return flag
    if _TYPE.search(said) or "dtype" in parameter.arg or "type" in said.lower():
        return _StandIn()
    return "half" if said == "str" else 4 if "bits" in parameter.arg else 64

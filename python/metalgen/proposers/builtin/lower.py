"""Turns a captured graph into lazily evaluated tensors, one ATen operator at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin import (  # noqa: F401 (these fill the registry)
    attention,
    contractions,
    gathers,
    normalizations,
    pooling,
    reductions,
    views,
)
from metalgen.proposers.builtin.capture import Capture
from metalgen.proposers.builtin.expressions import (
    STORAGE_TYPES,
    Expr,
    IndexValue,
    apply,
    as_int,
    compute_type,
    convert,
)
from metalgen.proposers.builtin.graph import literal, pointwise
from metalgen.proposers.builtin.indexing import Index
from metalgen.proposers.builtin.pointwise import RULES, Rule, widest
from metalgen.proposers.builtin.registry import LOWERINGS, Call, Result, lowers
from metalgen.proposers.builtin.tensors import Tensor

# Checks that export leaves in the graph; the harness checks shapes itself.
_ASSERTIONS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range")
_ROUNDS = {torch.float16: "round_half", torch.bfloat16: "round_bfloat"}


def supported_operators() -> list[str]:
    """Names of every ATen operator that has a lowering."""
    return sorted(name for name in {*RULES, *LOWERINGS} if "::" not in name)


def lower(capture: Capture) -> list[Tensor]:
    """The graph's outputs as tensors; UnsupportedError names all operators without a lowering."""
    _check_supported(capture)
    values: dict[Node, Any] = {}
    for node in capture.graph.nodes:
        if node.op == "placeholder":
            values[node] = capture.tensors[node.name]
        elif node.op == "call_function":
            values[node] = _lower_node(node, capture, values)
        elif node.op == "get_attr":
            raise UnsupportedError(f"not supported: control flow or submodule '{node.target}'")
    return [_tensor(values[node], node) for node in capture.outputs]


def _tensor(value: Any, node: Node) -> Tensor:
    if not isinstance(value, Tensor):
        raise UnsupportedError(f"not supported: output '{node.name}' is not a tensor")
    return value


def _check_supported(capture: Capture) -> None:
    unknown: dict[str, str] = {}
    for node in capture.graph.nodes:
        if node.op != "call_function" or not _gives_tensors(node):
            continue
        name = operator_name(node)
        if name not in RULES and name not in LOWERINGS and node.target is not operator.getitem:
            unknown[str(node.target)] = node.name
        for value in _tensors(node):
            if value.dtype not in STORAGE_TYPES:
                dtype = str(value.dtype).removeprefix("torch.")
                raise UnsupportedError(
                    f"not supported: {node.target} gives {dtype}, not a Metal type"
                )
    if unknown:
        raise UnsupportedError(
            f"not supported: {', '.join(sorted(unknown))}; the built-in templates cover pointwise"
            f" operators, views, reductions, normalisations, matrix products, convolutions,"
            f" pooling and gathers"
        )


def _tensors(node: Node) -> list[torch.Tensor]:
    value = node.meta.get("val")
    parts = value if isinstance(value, list | tuple) else [value]
    return [part for part in parts if isinstance(part, torch.Tensor)]


def _gives_tensors(node: Node) -> bool:
    return bool(_tensors(node))


def operator_name(node: Node) -> str:
    """`add` for aten.add.Tensor, `library::name` for other libraries' operators."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return str(node.target).removeprefix("aten.").split(".")[0]


def _lower_node(node: Node, capture: Capture, values: dict[Node, Any]) -> Any:
    if node.target is operator.getitem:
        return values[node.args[0]][node.args[1]]  # type: ignore[index]
    if not _gives_tensors(node):
        return _size_or_number(node, capture)

    def known(argument: Any) -> Any:
        if isinstance(argument, Node):
            return values[argument]
        if isinstance(argument, list | tuple):
            return [known(item) for item in argument]
        return argument

    args = [known(argument) for argument in node.args]
    kwargs = {name: known(argument) for name, argument in node.kwargs.items()}
    try:
        return _as_declared(_lower_call(Call(node, capture, args, kwargs)), node)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Operators take their arguments in many forms; one that was not foreseen is no crash.
        raise UnsupportedError(
            f"not supported: {node.target} with these arguments ({node.args}, {node.kwargs})"
        ) from error


def _as_declared(result: Result, node: Node) -> Result:
    """Results in the dtypes that the graph declares; lowerings compute in float between."""
    declared = node.meta["val"]
    if isinstance(result, Tensor):
        return _as_dtype(result, declared.dtype)
    return tuple(
        None if part is None else _as_dtype(part, value.dtype)
        for part, value in zip(result, declared, strict=True)
    )


def _as_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.dtype == dtype:
        return tensor
    type_ = compute_type(dtype)
    return pointwise(
        tensor.name, tensor.shape, dtype, [tensor], lambda value: convert(value, type_)
    )


def _lower_call(call: Call) -> Result:
    name = operator_name(call.node)
    # An operator may have a pointwise rule (max of two tensors) and a lowering (max over a dim).
    if name in LOWERINGS and not (name in RULES and _all_tensors(call.args)):
        return LOWERINGS[name](call)
    return _lower_pointwise(call, RULES[name])


def _all_tensors(args: Sequence[Any]) -> bool:
    return len(args) == 2 and all(isinstance(argument, Tensor) for argument in args)


def _size_or_number(node: Node, capture: Capture) -> Any:
    value = node.meta.get("val")
    if isinstance(value, bool):
        return value
    if isinstance(value, int | torch.SymInt):
        return capture.index_of(value)
    if isinstance(value, float | torch.SymFloat):
        return capture.scalar_of(value)
    if any(name in str(node.target) for name in _ASSERTIONS) or not node.users:
        return None
    raise UnsupportedError(f"not supported: {node.target} (a value that is not known at launch)")


def _operand(value: Any) -> Expr | None:
    """A number argument as an expression; None for what is no number."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Index):
        constant = value.constant
        return literal(constant) if constant is not None else IndexValue("long", value)
    return literal(value) if isinstance(value, bool | int | float) else None


def _lower_pointwise(call: Call, rule: Rule) -> Result:
    tensors = [value for value in call.args if isinstance(value, Tensor)]
    function = _bound(call, rule)
    return pointwise(
        call.name, call.shape, call.dtype, tensors, function, label=operator_name(call.node)
    )


def _bound(call: Call, rule: Rule) -> Callable[..., Expr]:
    """The rule as a function of the tensor operands' elements alone."""
    options = dict(call.kwargs)
    if "value" in options:
        options["value_"] = options.pop("value")
    options = {name: _option(value) for name, value in options.items() if name != "dtype"}
    result = compute_type(call.dtype)

    def function(*elements: Expr) -> Expr:
        left = list(elements)
        values: list[Expr | None] = []
        for argument in call.args:
            values.append(left.pop(0) if isinstance(argument, Tensor) else _operand(argument))
        converted = _converted(values, rule, result)
        value = rule.function(*converted, **options)
        return convert(value, result)

    return function


def _option(value: Any) -> Any:
    return value.constant if isinstance(value, Index) else value


def _converted(values: list[Expr | None], rule: Rule, result: str) -> list[Expr | None]:
    if rule.domain == "own":
        return values
    present = tuple(value for value in values if value is not None)
    if rule.domain == "promoted":
        small = [as_int(value) for value in present]
        if all(value is not None for value in small) and len(small) == len(values):
            return [*small]
    wanted = {"result": result, "promoted": widest(present)}.get(rule.domain, rule.domain)
    return [None if value is None else convert(value, wanted) for value in values]


@lowers("_to_copy", "to", "convert_element_type", "_to_dtype")
def lower_conversion(call: Call) -> Result:
    source: Tensor = call.args[0]
    if source.dtype == call.dtype:
        return source
    type_ = compute_type(call.dtype)

    def function(value: Expr) -> Expr:
        converted = convert(value, type_)
        if call.dtype in _ROUNDS and source.dtype == torch.float32:
            return apply(_ROUNDS[call.dtype], converted)
        return converted

    return pointwise(call.name, call.shape, call.dtype, [source], function, label="to")

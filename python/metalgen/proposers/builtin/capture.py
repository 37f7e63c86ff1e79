"""From a module to a graph of core ATen operators, sizes kept as expressions over the inputs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import sympy
import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree
from torch.utils._sympy import functions as symbolic

from metalgen.errors import UnsupportedError
from metalgen.problem import LoadedProblem
from metalgen.proposers.builtin.exportable import decompositions, exportable
from metalgen.proposers.builtin.expressions import (
    STORAGE_TYPES,
    Expr,
    IndexValue,
    apply,
    convert,
    number,
)
from metalgen.proposers.builtin.indexing import Index, Size, product
from metalgen.proposers.builtin.naming import identifier
from metalgen.proposers.builtin.tensors import Idx, Stored, Table, Tensor

MAX_TABLE = 4096

# Which dimensions of an input may vary, most general first. Later ones serve modules that compute
# with their inputs' sizes in ways that cannot be kept symbolic.
DYNAMIC: tuple[Callable[[int], Sequence[int]], ...] = (
    lambda rank: range(rank),
    lambda rank: range(min(rank, 1)),
    lambda rank: (),
)

_TO_INT = (symbolic.FloorToInt, symbolic.TruncToInt, symbolic.CeilToInt)
_WHOLE = (*_TO_INT, symbolic.FloorDiv, symbolic.CleanDiv, symbolic.Mod, symbolic.PythonMod)


class SizeError(Exception):
    """A size that cannot be written as a launch plan's expression; less general capture may do."""


@dataclass
class Capture:
    """An exported graph with its placeholders resolved."""

    graph: Graph
    tensors: dict[str, Tensor | float | int | bool | None]
    outputs: list[Node]
    sizes: dict[str, Size]
    mutated: list[str] = field(default_factory=list)

    def index_of(self, value: int | torch.SymInt | sympy.Expr) -> Index:
        """A size of the graph as an index."""
        if isinstance(value, int):
            return Index.of(value)
        return self._polynomial(value.node.expr if isinstance(value, torch.SymInt) else value)

    def shape_of(self, node: Node) -> Idx:
        """The shape of the tensor that `node` gives."""
        return tuple(self.index_of(size) for size in node.meta["val"].shape)

    def scalar_of(self, value: float | torch.SymFloat | torch.SymInt | sympy.Expr) -> Expr:
        """A number that may depend on sizes, as a float expression."""
        if isinstance(value, bool | int | float):
            return number(float(value))
        if isinstance(value, torch.SymFloat | torch.SymInt):
            return self._scalar(value.node.expr)
        return self._scalar(value)

    def _polynomial(self, value: sympy.Expr) -> Index:
        if value.is_Integer:
            return Index.of(int(value))
        if value.is_Symbol:
            if value.name not in self.sizes:
                raise SizeError(f"size {value.name} is no input's size")
            return Index.of(self.sizes[value.name])
        if isinstance(value, _TO_INT) and isinstance(value.args[0], symbolic.IntTrueDiv):
            above, below = (self._polynomial(part) for part in value.args[0].args)
            # Sizes are positive, so that cutting off is rounding down.
            rounded_up = isinstance(value, symbolic.CeilToInt)
            return (above + below - 1 if rounded_up else above) // below
        parts = [self._polynomial(part) for part in value.args]
        if value.is_Add:
            return sum(parts[1:], parts[0])
        if value.is_Mul:
            return product(parts)
        if value.is_Pow and value.args[1].is_Integer and int(value.args[1]) > 0:
            return product(parts[:1] * int(value.args[1]))
        if isinstance(value, symbolic.FloorDiv | symbolic.CleanDiv):
            return parts[0] // parts[1]
        if isinstance(value, symbolic.Mod | symbolic.PythonMod):
            return parts[0] % parts[1]
        raise SizeError(f"size {value} is not a sum of products and quotients of sizes")

    def _scalar(self, value: sympy.Expr) -> Expr:
        if value.is_Number:
            return number(float(value))
        if value.is_Symbol or isinstance(value, _WHOLE):
            return convert(IndexValue("int", self._polynomial(value)), "float")
        parts = [self._scalar(part) for part in value.args]
        forms: tuple[tuple[bool, str], ...] = (
            (value.is_Add, "add"),
            (value.is_Mul, "mul"),
            (isinstance(value, symbolic.FloatTrueDiv | symbolic.IntTrueDiv), "div"),
            (value.is_Pow or isinstance(value, symbolic.FloatPow), "pow"),
        )
        for matches, form in forms:
            if matches:
                total = parts[0]
                for part in parts[1:]:
                    total = apply(form, total, part)
                return total
        if isinstance(value, symbolic.ToFloat):
            return parts[0]
        raise SizeError(f"number {value} depends on sizes in a way that has no kernel form")


def captures(problem: LoadedProblem) -> Iterator[Callable[[], Capture]]:
    """Ways to capture the problem's module, the one that holds for most shapes first."""
    for dimensions in DYNAMIC:
        yield partial(capture, problem, dimensions)


def capture(problem: LoadedProblem, dimensions: Callable[[int], Sequence[int]]) -> Capture:
    """Export the module with the given dimensions of its inputs dynamic."""
    program = _export(problem, dimensions)
    arguments = list(problem.named_inputs().items())
    result = Capture(program.graph, {}, [], {})
    known = problem.named_parameters()
    placeholders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    taken = iter(arguments)
    for spec in program.graph_signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            _add_input(result, node, next(taken, None) if _is_named(spec.arg) else None)
        elif spec.target is not None and _known_name(spec.target, known) is not None:
            name = _known_name(spec.target, known) or spec.target
            shape = result.shape_of(node)
            result.tensors[node.name] = Stored(
                name, shape, node.meta["val"].dtype, plan_name=name, is_parameter=True
            )
        else:
            result.tensors[node.name] = _table(node.name, program.constants.get(spec.target or ""))
    _add_outputs(result, program)
    return result


def _export(problem: LoadedProblem, dimensions: Callable[[int], Sequence[int]]) -> ExportedProgram:
    def dynamic(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return {i: Dim.AUTO for i in dimensions(value.dim()) if value.shape[i] > 1}
        return None

    shapes = pytree.tree_map(dynamic, tuple(problem.inputs))
    with _quietly(), torch.no_grad():
        try:
            program = torch.export.export(
                exportable(problem.module), tuple(problem.inputs), dynamic_shapes=shapes
            )
            core: ExportedProgram = program.run_decompositions(decompositions())
            return core
        except Exception as error:
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnsupportedError(
                f"not supported: torch.export cannot capture this module ({text[:200]})"
            ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Export warns and logs whole graphs when it fails; its error says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _is_named(argument: object) -> bool:
    """Whether the problem names this argument: tensors and numbers are named, None is not."""
    value = getattr(argument, "value", 0)
    return isinstance(value, bool | int | float)


def _add_input(result: Capture, node: Node, named: tuple[str, object] | None) -> None:
    if named is None or not isinstance(named[1], torch.Tensor):
        value = named[1] if named is not None else None
        result.tensors[node.name] = value if isinstance(value, bool | int | float) else None
        return
    name = named[0]
    for i, size in enumerate(node.meta["val"].shape):
        if not isinstance(size, torch.SymInt):
            continue
        symbol = size.node.expr
        if symbol.is_Symbol and symbol.name not in result.sizes:
            result.sizes[symbol.name] = Size(
                f"{identifier(name)}_size{i}", f"{name}.shape[{i}]", size.node.hint, 2
            )
    shape = result.shape_of(node)
    result.tensors[node.name] = Stored(
        name, shape, node.meta["val"].dtype, plan_name=name, is_parameter=False
    )


def _known_name(target: str, known: dict[str, torch.Tensor]) -> str | None:
    return next((name for name in (target, f"self.{target}") if name in known), None)


def _table(name: str, value: object) -> Tensor:
    if not isinstance(value, torch.Tensor) or value.dtype not in STORAGE_TYPES:
        raise UnsupportedError(f"not supported: constant '{name}' of the module's code")
    if value.numel() > MAX_TABLE:
        raise UnsupportedError(
            f"not supported: constant '{name}' has {value.numel()} elements; register it as a"
            f" buffer of the module (at most {MAX_TABLE} are written into a kernel)"
        )
    shape = tuple(Index.of(size) for size in value.shape)
    return Table(name, shape, value.dtype, values=tuple(value.reshape(-1).tolist()))


def _add_outputs(result: Capture, program: ExportedProgram) -> None:
    (output,) = program.graph.find_nodes(op="output")
    specs = program.graph_signature.output_specs
    for spec, value in zip(specs, output.args[0], strict=True):
        if spec.kind is OutputKind.USER_OUTPUT:
            if not isinstance(value, Node):
                raise UnsupportedError("not supported: an output that is not a tensor")
            result.outputs.append(value)
        elif spec.kind is OutputKind.USER_INPUT_MUTATION:
            raise UnsupportedError(f"not supported: forward writes to its input '{spec.target}'")
        else:
            result.mutated.append(spec.target or "a buffer")

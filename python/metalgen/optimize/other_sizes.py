"""Is a kernel right for parameters of other sizes? Judged in the sandbox, on such a problem.

A pattern whose parameters have open sizes claims more than the candidate was judged for. Its graph
is written as a problem file, with tensors of other sizes that hold elements of the problem's own,
and the candidate is judged there as it was on the problem.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sympy
from torch import Tensor

from metalgen.errors import ProblemError, UnsupportedError
from metalgen.generation.candidate import Candidate
from metalgen.generation.evaluator import Evaluator
from metalgen.packs import Pattern
from metalgen.packs.pattern import GETITEM, Call
from metalgen.packs.sizes import Size, evaluated, names_in
from metalgen.problem import LoadedProblem
from metalgen.templating import environment

Sizes = Mapping[str, int]
_FEWEST = 2  # assignments of other sizes on which a kernel must be right
_JOINED = {"add": " + ", "mul": " * ", "floordiv": " // ", "mod": " % "}


def open_names(pattern: Pattern) -> frozenset[str]:
    """The sizes of parameters that the pattern leaves open."""
    shapes = (operand.shape for operand in pattern.operands if operand.kind == "parameter")
    return frozenset(name for shape in shapes for size in shape for name in names_in(size))


def other_sizes_it_is_right_for(
    evaluator: Evaluator, candidate: Candidate, problem: LoadedProblem, pattern: Pattern
) -> list[str]:
    """Descriptions of the sizes it was judged right for; empty where that proves too little.

    Sizes for which the module itself has no result, such as channels that do not divide into
    groups, prove nothing. Raises UnsupportedError where the graph cannot be written as a problem.
    """
    right: list[str] = []
    for sizes in _assignments(problem, pattern):
        text = problem_of(problem, pattern, sizes)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "other_sizes.py"
            path.write_text(text)
            try:
                rejected = evaluator.rejection(evaluator.open(path), candidate)
            except ProblemError:
                continue
        if rejected is not None:
            return []
        named = ", ".join(f"{name} = {sizes[name]}" for name in sorted(open_names(pattern)))
        right.append(f"parameters of other sizes ({named})")
    return right if len(right) >= _FEWEST else []


def _assignments(problem: LoadedProblem, pattern: Pattern) -> Iterator[Sizes]:
    """Every open size of the parameters another: doubled, without a factor in common, tripled."""
    own = _own_sizes(problem, pattern)
    free = open_names(pattern)
    for factor, more in ((2, 0), (1, 1), (3, 0)):
        yield {name: size * factor + more if name in free else size for name, size in own.items()}


def _own_sizes(problem: LoadedProblem, pattern: Pattern) -> dict[str, int]:
    named = {**problem.named_inputs(), **problem.named_parameters()}
    found: dict[str, int] = {}
    for operand in pattern.operands:
        value = named[operand.name]
        assert isinstance(value, Tensor)
        for size, actual in zip(operand.shape, value.shape, strict=True):
            if isinstance(size, str):
                found[size] = actual
    return found


def problem_of(problem: LoadedProblem, pattern: Pattern, sizes: Sizes) -> str:
    """The text of a problem file that computes the pattern for such sizes."""
    inputs = list(problem.named_inputs())
    if len(inputs) != len(problem.inputs) or not all(map(str.isidentifier, inputs)):
        raise UnsupportedError("not supported: inputs that are no plain tensors")
    shapes = {operand.name: _shape(operand.shape, sizes) for operand in pattern.operands}
    parameters = {
        operand.name.removeprefix("self."): shapes[operand.name]
        for operand in pattern.operands
        if operand.kind == "parameter"
    }
    return (
        environment("packs")
        .get_template("other_sizes.py.j2")
        .render(
            source=problem.path.read_text(),
            inputs=inputs,
            shapes=[shapes.get(name) for name in inputs],
            parameters=parameters,
            body=list(_body(pattern)),
        )
    )


def _shape(shape: list[Size], sizes: Sizes) -> list[int]:
    known = {name: sympy.Integer(size) for name, size in sizes.items()}
    return [int(evaluated(size, known)) for size in shape]


def _body(pattern: Pattern) -> Iterator[str]:
    """The statements of `forward`."""
    known: set[str] = set()
    for number, operand in enumerate(pattern.operands):
        path = operand.name.removeprefix("self.")
        is_input = operand.kind == "input"
        yield f"v{number} = {path if is_input else f'self.get_buffer({path!r})'}"
        for axis, size in enumerate(operand.shape):
            if isinstance(size, str) and size not in known:
                known.add(size)
                yield f"{size} = v{number}.shape[{axis}]"
    for number, call in enumerate(pattern.calls, len(pattern.operands)):
        yield f"v{number} = {_call(call)}"
    yield "return " + ", ".join(f"v{number}" for number in pattern.results)


def _call(call: Call) -> str:
    args = [_argument(value) for value in call.args]
    if call.operator == GETITEM:
        return f"{args[0]}[{args[1]}]"
    if call.operator.split(".")[0] not in ("aten", "prims"):
        raise UnsupportedError(f"not supported: operator {call.operator} with open sizes")
    named = [f"{key}={_argument(value)}" for key, value in call.kwargs.items()]
    return f"_torch.ops.{call.operator}({', '.join([*args, *named])})"


def _argument(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_argument, value))}]"
    if not isinstance(value, dict):
        return repr(value)
    ((kind, held),) = value.items()
    if kind == "ref":
        return f"v{held}"
    if kind == "size":
        return _size(held)
    if kind == "float":
        return f"float({held!r})"
    if kind == "device":
        return "v0.device"
    if kind in ("dtype", "layout", "memory_format"):
        return f"_torch.{held}"
    raise UnsupportedError(f"not supported: a {kind} beside open sizes")


def _size(size: Size) -> str:
    if not isinstance(size, dict):
        return str(size)
    ((form, parts),) = size.items()
    return f"({_JOINED[form].join(map(_size, parts))})"

"""Write a candidate as a stand-alone ModelNew for plain PyTorch, in KernelBench's form."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator

from metalgen.errors import UnsupportedError
from metalgen.generation.candidate import Candidate
from metalgen.plan import Allocation, AtenStep, KernelStep, TensorArgument
from metalgen.plan.constants import FLOATS, Constant, Struct, parse_constant
from metalgen.plan.expression import Expression, render_python
from metalgen.plan.schema import Extent
from metalgen.problem import Problem
from metalgen.templating import environment

_STRUCT_FORMATS = {"bool": "?", "char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i"}
_STRUCT_FORMATS |= {"uint": "I", "long": "q", "ulong": "Q", "half": "e", "float": "f"}
_DTYPES = {"bool": "bool", "char": "int8", "uchar": "uint8", "short": "int16", "ushort": "int16"}
_DTYPES |= {"int": "int32", "uint": "int32", "long": "int64", "ulong": "int64"}
_DTYPES |= {"half": "float16", "bfloat": "bfloat16", "float": "float32"}


def render_model_new(candidate: Candidate, problem: Problem) -> str:
    """The file's text; UnsupportedError where torch.mps.compile_shader cannot launch the plan."""
    writer = _Writer(candidate, problem)
    once = list(writer.once())
    template = environment(keep_trailing_newline=True).get_template("model_new.py.j2")
    return template.render(
        title=f"{problem.name}: Metal kernels in place of Model.forward",
        notes=problem.notes,
        problem=problem.source.rstrip(),
        source=_literal(candidate.source),
        signature=_signature(problem),
        body=list(writer.forward()),
        once=once,
        state=f"[{', '.join(writer.read_parameters())}]",
    )


def _literal(source: str) -> str:
    """The source as a Python literal, a raw block where possible."""
    if '"""' in source or source.rstrip().endswith(("\\", '"')):
        return repr(source)
    return f'r"""\n{source.rstrip()}\n"""'


def _signature(problem: Problem) -> str:
    """`forward`'s parameters as the problem file has them."""
    for node in ast.parse(problem.source).body:
        if isinstance(node, ast.ClassDef) and node.name == "Model":
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "forward":
                    return _without_self(member.args)
    names = [each.name for each in problem.inputs]
    if any("." in name for name in names):
        raise UnsupportedError("not supported: a stand-alone module for an inherited forward")
    return ", ".join(names)


def _without_self(arguments: ast.arguments) -> str:
    plain = ast.arguments(
        posonlyargs=[],
        args=[*arguments.posonlyargs, *arguments.args][1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )
    return ast.unparse(plain)


class _Writer:
    """Turns a plan into lines of Python."""

    def __init__(self, candidate: Candidate, problem: Problem) -> None:
        self.plan = candidate.plan
        self.problem = problem
        self.inputs = [each.name for each in problem.inputs]
        self.parameters = {each.name for each in problem.parameters}
        self.variables: dict[str, str] = {}
        for name in [*self.inputs, *self.parameters, *self.plan.allocations]:
            self.variables[name] = self._fresh(name)
        self.lasting = self._lasting()

    def _fresh(self, name: str) -> str:
        variable = re.sub(r"\W", "_", name)
        taken = {*self.variables.values(), "self", "library", "torch", "struct", "functools"}
        while variable in taken or keyword.iskeyword(variable):
            variable += "_"
        return variable

    def _lasting(self) -> set[str]:
        """Buffers that steps marked once fill: those that they name."""
        named: set[str] = set()
        for step in self.plan.steps:
            if step.once:
                named |= self._used_by(step)
        return named & self.plan.buffers.keys()

    def _used_by(self, step: KernelStep | AtenStep) -> set[str]:
        if isinstance(step, AtenStep):
            return {*step.results, *(a for a in step.args if isinstance(a, str))}
        return {a.name for a in step.args if isinstance(a, TensorArgument)}

    def name(self, name: str) -> str:
        """The variable that holds a tensor or number."""
        return self.variables[name]

    def read_parameters(self) -> list[str]:
        """How once-steps' parameters are reached."""
        used = {n for s in self.plan.steps if s.once for n in self._used_by(s)}
        return [self._reach(name) for name in sorted(used & self.parameters)]

    def _reach(self, name: str) -> str:
        path = name.removeprefix("self.") if name in self.parameters else name
        return f'_tensor(self, "{path}")'

    def forward(self) -> Iterator[str]:
        """The body of forward."""
        yield "library = _library()"
        steps = [step for step in self.plan.steps if not step.once]
        text = "\n".join(self._work(self.plan.allocations.keys() - self.lasting, once=False))
        yield from self._bindings(text)
        if self.lasting:
            names = ", ".join(self.name(name) for name in sorted(self.lasting))
            yield f"{names}{',' if len(self.lasting) == 1 else ''} = self._prepare()"
        if text:
            yield from text.split("\n")
        assert steps
        yield f"return {', '.join(self.name(name) for name in self.plan.outputs)}"

    def once(self) -> Iterator[str]:
        """The body of _prepare after its check; nothing where no step is marked once."""
        if not self.lasting:
            return
        text = "\n".join(self._work(self.lasting, once=True))
        yield "library = _library()"
        yield from self._bindings(text, inputs=False)
        yield from text.split("\n")
        names = ", ".join(self.name(name) for name in sorted(self.lasting))
        yield f"prepared = ({names},)"

    def _bindings(self, text: str, *, inputs: bool = True) -> Iterator[str]:
        """Lines that give the tensors which `text` uses their variables, contiguous."""
        specs = [*(self.problem.inputs if inputs else ()), *self.problem.parameters]
        device = self._device_variable(once=not inputs)
        for spec in specs:
            variable = self.name(spec.name)
            if variable != device and not re.search(rf"\b{variable}\b", text):
                continue
            if spec.name in self.parameters:
                yield f"{variable} = {self._reach(spec.name)}.contiguous()"
            elif hasattr(spec, "shape"):
                yield f"{variable} = {_access(spec.name)}.contiguous()"
            elif variable != _access(spec.name):
                yield f"{variable} = {_access(spec.name)}"

    def _device_variable(self, *, once: bool) -> str:
        if not once:
            for spec in self.problem.inputs:
                if hasattr(spec, "shape"):
                    return self.name(spec.name)
        used = {n for s in self.plan.steps if s.once for n in self._used_by(s)}
        return self.name(min(used & self.parameters))

    def _work(self, allocated: set[str], *, once: bool) -> Iterator[str]:
        device = self._device_variable(once=once)
        pending = [name for name in self.plan.allocations if name in allocated]
        while pending:  # those whose sizes need others' come after them
            for name in list(pending):
                allocation = self.plan.allocations[name]
                if not allocation.names & set(pending):
                    pending.remove(name)
                    yield f"{self.name(name)} = {self._allocation(allocation, device)}"
        for step in self.plan.steps:
            if step.once == once:
                yield self._aten(step) if isinstance(step, AtenStep) else self._launch(step, device)

    def _allocation(self, allocation: Allocation, device: str) -> str:
        shape = allocation.shape
        if isinstance(shape, str):
            size = f"{self.name(shape.removesuffix('.shape'))}.shape"
        else:
            size = _tuple([self.expression(each) for each in shape])
        dtype = allocation.dtype
        if dtype.endswith(".dtype"):
            dtype = f"{self.name(dtype.removesuffix('.dtype'))}.dtype"
        else:
            dtype = f"torch.{dtype}"
        maker = (
            f"torch.empty({size}"
            if allocation.fill is None
            else (f"torch.full({size}, {allocation.fill!r}")
        )
        return f"{maker}, dtype={dtype}, device={device}.device)"

    def expression(self, expression: Expression) -> str:
        """An expression in Python."""
        text = render_python(expression.node, self.name)
        return text[1:-1] if _is_wrapped(text) else text

    def _launch(self, step: KernelStep, device: str) -> str:
        if step.threadgroup_memory or step.constants:
            raise UnsupportedError(
                "not supported by torch.mps.compile_shader: dynamic threadgroup memory and function"
                f" constants (kernel '{step.kernel}')"
            )
        arguments = [
            self.name(argument.name)
            if isinstance(argument, TensorArgument)
            else self._constant(argument.value, device)
            for argument in step.args
        ]
        arguments.append(f"threads={self._threads(step)}")
        if step.group_size is not None:
            arguments.append(f"group_size={self._extent(step.group_size)}")
        kernel = f"library.{step.kernel}"
        if not step.kernel.isidentifier() or keyword.iskeyword(step.kernel):
            kernel = f"getattr(library, {step.kernel!r})"
        return f"{kernel}({', '.join(arguments)})"

    def _threads(self, step: KernelStep) -> str:
        """In threads even where the plan counts threadgroups: whole groups are the same."""
        if step.threads is not None:
            return self._extent(step.threads)
        groups = [self.expression(each) for each in step.threadgroups or ()]
        sizes = [self.expression(each) for each in step.group_size or ()]
        count = max(len(groups), len(sizes))
        groups += ["1"] * (count - len(groups))
        sizes += ["1"] * (count - len(sizes))
        return _tuple([f"({g}) * ({s})" for g, s in zip(groups, sizes, strict=True)])

    def _extent(self, extent: Extent) -> str:
        return _tuple([self.expression(each) for each in extent])

    def _constant(self, value: Constant | Struct, device: str) -> str:
        if isinstance(value, Struct):
            return self._packed(value, device)
        numbers = [self._number(each, value.type.scalar) for each in value.values]
        if value.is_scalar and value.type.scalar not in ("half", "bfloat"):
            return numbers[0]
        if value.type.width == 3 and not value.type.packed:  # takes the room of four
            numbers = [n for i in range(0, len(numbers), 3) for n in (*numbers[i : i + 3], "0")]
        dtype = f"torch.{_DTYPES[value.type.scalar]}"
        return f"torch.tensor([{', '.join(numbers)}], dtype={dtype}, device={device}.device)"

    def _number(self, value: Expression | float, scalar: str) -> str:
        if isinstance(value, Expression):
            text = self.expression(value)
            return f"float({text})" if scalar in FLOATS else text
        return repr(value) if abs(value) < float("inf") else f'float("{value}")'

    def _packed(self, value: Struct, device: str) -> str:
        layout, numbers, offset = "<", [], 0
        for member in value.members:
            if member.type.scalar == "bfloat" or member.type.width == 3:
                raise UnsupportedError(f"not supported: {member.type} in a stand-alone struct")
            padding = -offset % member.alignment
            layout += f"{padding}x" if padding else ""
            layout += f"{len(member.values)}{_STRUCT_FORMATS[member.type.scalar]}"
            numbers += [self._number(each, member.type.scalar) for each in member.values]
            offset += padding + member.size
        if value.size > offset:
            layout += f"{value.size - offset}x"
        packed = f'bytearray(struct.pack("{layout}", {", ".join(numbers)}))'
        return f"torch.frombuffer({packed}, dtype=torch.uint8).to({device}.device)"

    def _aten(self, step: AtenStep) -> str:
        arguments = [self._aten_value(each) for each in step.args]
        arguments += [f"{key}={self._aten_value(each)}" for key, each in step.kwargs.items()]
        results = ", ".join(self.name(name) for name in step.results)
        call = f"torch.ops.aten.{step.aten}({', '.join(arguments)})"
        return f"{results} = {call}" + (".contiguous()" if len(step.results) == 1 else "")

    def _aten_value(self, raw: object) -> str:
        if isinstance(raw, str):
            return self.name(raw)
        if isinstance(raw, list):
            return f"[{', '.join(self._aten_value(item) for item in raw)}]"
        if isinstance(raw, dict):
            value = parse_constant(raw)
            assert isinstance(value, Constant)  # checked with the plan
            numbers = [self._number(each, value.type.scalar) for each in value.values]
            return numbers[0] if value.is_scalar else f"[{', '.join(numbers)}]"
        return repr(raw)


def _access(name: str) -> str:
    """How forward reaches an input: `xs.0` is `xs[0]`, `d.key` is `d["key"]`."""
    first, *rest = name.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f'["{part}"]' for part in rest)


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _is_wrapped(text: str) -> bool:
    """Whether one pair of parentheses holds all of `text`."""
    depth = 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[0] == "(" and position == len(text) - 1
    return False

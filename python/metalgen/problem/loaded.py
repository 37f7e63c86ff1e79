"""A problem's module and inputs in memory, with the names that launch plans know them by."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from metalgen.errors import ProblemError
from metalgen.problem.source import import_problem_file

Number = bool | int | float
Named = dict[str, "Tensor | Number"]


@dataclass(frozen=True, slots=True)
class LoadedProblem:
    """A problem file that was run in this process: the module, its inputs and how to make more."""

    path: Path
    file: ModuleType
    module: nn.Module
    inputs: tuple[object, ...]

    def fresh_module(self, seed: int) -> nn.Module:
        """A new instance of `Model`, its random weights drawn under `seed`."""
        module = _construct(self.file, self.path, seed)
        return module.train(self.module.training)

    def fresh_inputs(self, seed: int) -> tuple[object, ...]:
        """What `get_inputs` gives under `seed`."""
        return _inputs(self.file, self.path, seed)

    def named_inputs(self, inputs: Sequence[object] | None = None) -> Named:
        """Tensors and numbers that `forward` is given, by name, lists and dicts flattened."""
        given = self.inputs if inputs is None else inputs
        names = _argument_names(self.module, len(given))
        pairs = zip(names, given, strict=True)
        return dict(pair for name, value in pairs for pair in _flattened(name, value))

    def named_parameters(self, module: nn.Module | None = None) -> dict[str, Tensor]:
        """Parameters, buffers and plain tensor attributes, by their path in the module.

        One that has an input's name is called `self.<name>`.
        """
        taken = self.named_inputs().keys()
        pairs = module_tensors(self.module if module is None else module)
        return {f"self.{name}" if name in taken else name: value for name, value in pairs}

    def run(
        self, inputs: Sequence[object] | None = None, module: nn.Module | None = None
    ) -> tuple[Tensor, ...]:
        """The module's outputs, flattened; ProblemError where they are not tensors."""
        given = self.inputs if inputs is None else inputs
        with torch.no_grad():
            result = (self.module if module is None else module)(*given)
        return tuple(_outputs(result, self.path))


def load_problem(path: Path | str) -> LoadedProblem:
    """Run a problem file in this process; ProblemError with cause and remedy where it is bad."""
    path = Path(path)
    file = import_problem_file(path)
    module = _construct(file, path, seed=0)
    inputs = _inputs(file, path, seed=0)
    problem = LoadedProblem(path, file, module, inputs)
    _check_call(problem)
    for name, value in [*problem.named_inputs().items(), *problem.named_parameters().items()]:
        if isinstance(value, Tensor):
            _check_tensor(value, name, path)
    return problem


def module_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor a module holds, shared ones under each of their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
    for prefix, part in module.named_modules(remove_duplicate=False):
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                yield f"{prefix}.{name}" if prefix else name, value


def _construct(file: ModuleType, path: Path, seed: int) -> nn.Module:
    given = _call(file.get_init_inputs, path, "get_init_inputs()", seed)
    if isinstance(given, dict):
        positional, named = (), given
    elif isinstance(given, list | tuple):
        positional, named = tuple(given), {}
    else:
        raise ProblemError(
            f"'{path}': get_init_inputs() gave {_kind(given)}; return a list of Model's arguments"
        )
    module = _call(lambda: file.Model(*positional, **named), path, "Model(...)", seed)
    assert isinstance(module, nn.Module)  # checked when the file was imported
    return module


def _inputs(file: ModuleType, path: Path, seed: int) -> tuple[object, ...]:
    given = _call(file.get_inputs, path, "get_inputs()", seed)
    if not isinstance(given, list | tuple):
        raise ProblemError(
            f"'{path}': get_inputs() gave {_kind(given)}; return a list of forward's arguments"
        )
    return tuple(given)


def _call(function: Callable[[], object], path: Path, what: str, seed: int) -> object:
    torch.manual_seed(seed)
    try:
        with torch.no_grad():  # tensors with a history could not be copied
            return function()
    except Exception as error:
        raise ProblemError(f"'{path}': {what} raised {described(error)}") from error


def described(error: BaseException) -> str:
    """An exception on one line: type, then the first line of its text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _check_call(problem: LoadedProblem) -> None:
    signature = inspect.signature(problem.module.forward)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise ProblemError(
                f"'{problem.path}': forward's input '{parameter.name}' is keyword-only, but"
                f" get_inputs() gives inputs by position; make it positional"
            )
    try:
        signature.bind(*problem.inputs)
    except TypeError as error:
        raise ProblemError(
            f"'{problem.path}': forward{signature} does not take the {len(problem.inputs)}"
            f" inputs of get_inputs(): {error}"
        ) from None
    if not any(isinstance(value, Tensor) for value in problem.named_inputs().values()):
        raise ProblemError(f"'{problem.path}': get_inputs() gives no tensor; nothing to compute on")


def _check_tensor(tensor: Tensor, name: str, path: Path) -> None:
    if tensor.dtype in (torch.float64, torch.complex64, torch.complex128):
        raise ProblemError(
            f"'{path}': '{name}' is {str(tensor.dtype).removeprefix('torch.')}, which Metal does"
            f" not have; use float32"
        )
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise ProblemError(f"'{path}': '{name}' is not a plain strided tensor; use a dense one")


def _argument_names(module: nn.Module, count: int) -> list[str]:
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}.{i}" for i in range(count - len(names))]
        else:
            names.append(parameter.name)
    return names[:count]


def _flattened(name: str, value: object) -> Iterator[tuple[str, Tensor | Number]]:
    if isinstance(value, Tensor | bool | int | float):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _flattened(f"{name}.{i}", item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if str(key).isidentifier():
                yield from _flattened(f"{name}.{key}", item)


def _outputs(result: object, path: Path) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, list | tuple) and result:
        for item in result:
            yield from _outputs(item, path)
    else:
        raise ProblemError(
            f"'{path}': forward gave {_kind(result)}; return a tensor or a tuple of tensors"
        )

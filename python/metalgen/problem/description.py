"""What is known of a problem without running it: its text and the shapes of everything it names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from metalgen.errors import ProblemError
from metalgen.problem.loaded import LoadedProblem, Number, described, load_problem


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor's shape and dtype (`float32`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class NumberSpec:
    """A named number that `forward` is given."""

    name: str
    value: bool | int | float


@dataclass(frozen=True, slots=True)
class Problem:
    """A described problem: what proposers are shown.

    `inputs` are forward's, in order; `parameters` are the module's parameters, buffers and tensor
    attributes; `outputs` are forward's results, called out0, out1 ...
    """

    path: Path
    source: str
    inputs: tuple[TensorSpec | NumberSpec, ...]
    parameters: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    training: bool = True
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def sha256(self) -> str:
        """Hash of the file's text."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def load(self) -> LoadedProblem:
        """Run the file in this process and return the module with example inputs."""
        loaded = load_problem(self.path)
        loaded.module.train(self.training)
        return loaded

    def to_json(self) -> dict[str, Any]:
        """Plain objects that `from_json` reads back."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Problem:
        """Read what `to_json` gave."""
        return _ADAPTER.validate_python(plain)


_ADAPTER = TypeAdapter(Problem)


def open_problem(path: Path | str) -> Problem:
    """Load a problem file in this process and describe it; ProblemError where it is bad."""
    return describe_problem(load_problem(path))


def describe_problem(loaded: LoadedProblem) -> Problem:
    """Shapes of inputs, parameters and outputs; switches modules that draw random numbers to eval.

    KernelBench leaves modules in training mode, where dropout makes the reference random: nothing
    could be compared with it.
    """
    notes: tuple[str, ...] = ()
    outputs = _first_run(loaded)
    if _is_random(loaded):
        loaded.module.eval()
        notes = ("forward is random in training mode; compared in eval mode",)
        if _is_random(loaded):
            raise ProblemError(
                f"'{loaded.path}': forward draws random numbers even in eval mode; make its"
                f" randomness an input"
            )
    return Problem(
        path=loaded.path.resolve(),
        source=loaded.path.read_text(encoding="utf-8"),
        inputs=tuple(_spec(name, value) for name, value in loaded.named_inputs().items()),
        parameters=tuple(_tensor(name, value) for name, value in loaded.named_parameters().items()),
        outputs=tuple(_tensor(f"out{i}", value) for i, value in enumerate(outputs)),
        training=loaded.module.training,
        notes=notes,
    )


def _first_run(loaded: LoadedProblem) -> tuple[Tensor, ...]:
    try:
        return _run_afresh(loaded, seed=0)
    except ProblemError:
        raise
    except Exception as error:
        raise ProblemError(f"'{loaded.path}': forward raised {described(error)}") from error


def _is_random(loaded: LoadedProblem) -> bool:
    first, second = _run_afresh(loaded, seed=1), _run_afresh(loaded, seed=2)
    pairs = zip(first, second, strict=True)
    return not all(a.shape == b.shape and torch.equal(_bits(a), _bits(b)) for a, b in pairs)


def _bits(tensor: Tensor) -> Tensor:
    """Memory as bytes, so that NaN equals itself."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _run_afresh(loaded: LoadedProblem, seed: int) -> tuple[Tensor, ...]:
    """Run on copies, since `forward` may change inputs and buffers (running statistics)."""
    torch.manual_seed(seed)
    return loaded.run(copied(loaded.inputs), copied_module(loaded.module))


def copied(inputs: tuple[object, ...]) -> tuple[object, ...]:
    """The inputs with every tensor cloned."""
    return tuple(_copied(value) for value in inputs)


def _copied(value: object) -> object:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value


def copied_module(module: nn.Module) -> nn.Module:
    """A deep copy; ProblemError where the module cannot be copied."""
    import copy

    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise ProblemError(f"Model cannot be copied: {described(error)}") from error


def _spec(name: str, value: Tensor | Number) -> TensorSpec | NumberSpec:
    return _tensor(name, value) if isinstance(value, Tensor) else NumberSpec(name, value)


def _tensor(name: str, value: Tensor) -> TensorSpec:
    return TensorSpec(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))

"""A region that Core ML computes, on the Neural Engine where it sees fit: a program for each size.

Programs are made while a shape class is checked, and again when a parameter changes. Other sizes of
the class, which would each want a program, are ATen's.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metalgen.chips import Chip, Estimate, predict_neural_engine
from metalgen.errors import LaunchError, UnsupportedError
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.memory_order import laid_out, order_of
from metalgen.optimize.neural_engine.conversion import Program, convert
from metalgen.optimize.predicted import predicted_aten
from metalgen.optimize.report import Stage
from metalgen.optimize.shape_class import signature
from metalgen.plan.run import Allocate, allocate_uninitialised, writes_to

NAME = "neural engine"
# Each is converted and compiled, which takes seconds.
MOST_PROGRAMS = 8
MOST_CHANGES = 3
# Where a call is predicted to take that many times as long as ATen's operators, none is converted.
_HOPELESS = 10.0

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
Predict = Callable[[dict[str, Any]], Arrays]


def core_ml(model: Any) -> Predict:
    """How a converted program is run on a Mac."""
    predict: Predict = model.predict
    return predict


@dataclass
class _Loaded:
    """A program for one set of sizes, and the parameters that are in it."""

    program: Program
    predict: Predict
    parameters: tuple[Tensor, ...]
    state: Hashable

    @classmethod
    def of(cls, program: Program, predict: Predict, parameters: tuple[Tensor, ...]) -> _Loaded:
        return cls(program, predict, parameters, _state(parameters))

    def holds(self, parameters: tuple[Tensor, ...]) -> bool:
        """Whether these are the parameters that were folded in, unchanged."""
        are_same = all(map(operator.is_, self.parameters, parameters))
        return are_same and self.state == _state(parameters)


@dataclass
class NeuralEngine:
    """A contender; `load` says what runs a converted program, `chip` what to expect of it."""

    region: RegionGraph
    content: str
    stages: Mapping[Stage, str]
    chip: Chip | None = None
    load: Callable[[Any], Predict] = core_ml
    name: str = NAME
    kernels: int = 1
    conversions: int = 0
    _loaded: dict[Hashable, _Loaded] = field(default_factory=dict)
    _changes: int = 0
    # Core ML runs a program for one thread at a time.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs; ATen's for sizes without a program."""
        with self._lock:
            loaded = self._loaded.get(self._key(arguments))
            if loaded is not None:
                return self._outputs(self._current(loaded, arguments), arguments)
        return tuple(self.region.eager(*arguments))

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own; makes the program for such sizes."""
        with self._lock:
            key = self._key(arguments)
            if key not in self._loaded:
                self._check_worth(arguments)
                self._loaded[key] = self._made(arguments)
            loaded = self._current(self._loaded[key], arguments)
            return self._outputs(loaded, arguments, allocate)

    def predict(self, arguments: Sequence[object], chip: Chip) -> Estimate:
        """What the chip's Neural Engine would take for a call, at best."""
        work = predicted_aten(self.region.module, arguments, chip)
        if work is None:
            raise UnsupportedError("not supported: sizes that depend on values")
        values = [value for value in arguments if isinstance(value, Tensor)]
        read = sum(2 * value.numel() for value in values)  # in float16
        return predict_neural_engine(work.flops, read, chip)

    def _check_worth(self, arguments: Sequence[object]) -> None:
        if len(self._loaded) >= MOST_PROGRAMS:
            raise UnsupportedError(f"not supported: more than {MOST_PROGRAMS} sizes of one region")
        if self.chip is None or self.chip.neural_tops is None:
            return
        aten = predicted_aten(self.region.module, arguments, self.chip)
        call = self.predict(arguments, self.chip)
        if aten is not None and call.seconds > _HOPELESS * aten.seconds:
            raise UnsupportedError(
                f"not supported: {1e6 * aten.seconds:.0f} us of work, of which a call of the "
                f"Neural Engine alone is predicted to take {1e6 * call.seconds:.0f}"
            )

    def _made(self, arguments: Sequence[object]) -> _Loaded:
        self.conversions += 1
        program = convert(self.region, arguments)
        return _Loaded.of(program, self.load(program.model), self._parameters(arguments))

    def _current(self, loaded: _Loaded, arguments: Sequence[object]) -> _Loaded:
        """The program with the parameters as they are now."""
        if loaded.holds(self._parameters(arguments)):
            return loaded
        self._changes += 1
        if self._changes > MOST_CHANGES:
            raise UnsupportedError("not supported: parameters that keep changing")
        fresh = self._loaded[self._key(arguments)] = self._made(arguments)
        return fresh

    def _outputs(
        self,
        loaded: _Loaded,
        arguments: Sequence[object],
        allocate: Allocate = allocate_uninitialised,
    ) -> tuple[Tensor, ...]:
        program = loaded.program
        given = {name: _array(arguments[place]) for name, place in program.inputs}
        try:
            found = loaded.predict(given)
            arrays = [found[name] for name in program.outputs]
        except Exception as error:  # Core ML raises what it likes
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise LaunchError(f"Core ML cannot run the program: {lines[0]}") from error
        device = torch.device(self.region.device)
        results = []
        for node, array in zip(self.region.outputs, arrays, strict=True):
            value = node.meta["val"]
            memory = allocate(node.name, array.shape, value.dtype, device)
            memory.copy_(torch.from_numpy(np.ascontiguousarray(array)))
            results.append(laid_out(memory, order_of(value)))
        return tuple(results)

    def _key(self, arguments: Sequence[object]) -> Hashable:
        return signature(
            value
            for node, value in zip(self.region.placeholders, arguments, strict=True)
            if node.name not in self.region.parameters
        )

    def _parameters(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        return tuple(
            value
            for node, value in zip(self.region.placeholders, arguments, strict=True)
            if node.name in self.region.parameters and isinstance(value, Tensor)
        )


def _state(parameters: tuple[Tensor, ...]) -> Hashable:
    """What changes when a parameter is written to or given other `.data`."""
    return tuple((value.data_ptr(), writes_to(value)) for value in parameters)


def _array(value: object) -> np.ndarray[Any, Any]:
    """A tensor as Core ML takes it: whole numbers of 32 bits."""
    assert isinstance(value, Tensor)
    value = value.detach().cpu()
    if value.dtype == torch.int64:
        narrow = value.to(torch.int32)
        if not torch.equal(narrow.long(), value):
            raise LaunchError("Core ML's whole numbers have 32 bits; a larger one was given")
        value = narrow
    found: np.ndarray[Any, Any] = value.contiguous().numpy()
    return found

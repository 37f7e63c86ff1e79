"""What a module computes on given inputs: in its own dtype, and in float64 to measure errors."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor, nn

from metalgen.problem import LoadedProblem
from metalgen.problem.description import copied, copied_module
from metalgen.problem.loaded import described

# Beyond this, float64 (several times slower, far more where vendors' kernels lack it) is not worth
# the wait at full size; smaller shapes are still compared with it.
FLOAT64_BUDGET_S = 3.0


@dataclass(frozen=True, slots=True)
class Expected:
    """Eager's outputs, the same from float64, and why float64 was not used where it was not."""

    eager: tuple[Tensor, ...]
    precise: tuple[Tensor, ...]
    note: str | None = None

    @property
    def is_finite(self) -> bool:
        """Whether every output of both is finite."""
        return all(bool(t.isfinite().all()) for t in (*self.eager, *self.precise))


def expect(problem: LoadedProblem, module: nn.Module, inputs: tuple[object, ...]) -> Expected:
    """Run the module on copies of the inputs; whatever `forward` raises comes through."""
    started = time.perf_counter()
    eager = _cpu(problem.run(copied(inputs), _unchanging(module)))
    if time.perf_counter() - started > FLOAT64_BUDGET_S:
        return Expected(eager, _doubled(eager), "float64 skipped: the module is too slow for it")
    try:
        double = copied_module(module)
        precise = _cpu(problem.run(tuple(_to_double(each) for each in inputs), _double(double)))
    except Exception as error:
        note = f"compared with eager's own dtype: float64 raised {described(error)}"
        return Expected(eager, _doubled(eager), note)
    if [t.shape for t in precise] != [t.shape for t in eager]:
        return Expected(eager, _doubled(eager), "float64 gives other shapes; not used")
    return Expected(eager, _doubled(precise))


def _unchanging(module: nn.Module) -> nn.Module:
    """The module, or a copy where running it may change its buffers (running statistics)."""
    has_state = next(module.buffers(), None) is not None
    return copied_module(module) if has_state and module.training else module


def _cpu(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(output.detach().cpu() for output in outputs)


def _doubled(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.double() if t.is_floating_point() else t for t in outputs)


def _double(module: nn.Module) -> nn.Module:
    """The module in float64, plain tensor attributes included; changes `module` itself."""
    module.double()
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                setattr(part, name, _to_double(value))
    return module


def _to_double(value: object) -> object:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value.clone()
    if isinstance(value, list | tuple):
        return type(value)(_to_double(item) for item in value)
    if isinstance(value, dict):
        return {key: _to_double(item) for key, item in value.items()}
    return value

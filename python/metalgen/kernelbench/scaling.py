"""Making a problem smaller, as far as its reference still runs and as a budget asks for.

Sizes are divided by powers of two, all of them together where the module allows that, else those
that it lets change. The search goes upwards, from a version so small that trying it costs nothing
to the largest within the budget: what would fill the memory is never run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.errors import ProblemError
from metalgen.files import write_whole
from metalgen.kernelbench.sizes import changes_between, sizes_of, with_sizes
from metalgen.problem import Problem, TensorSpec

# Below this an integer is a kernel's width, a stride, a number of heads or groups: structure.
SMALLEST_SCALED = 32
# A size is not made smaller than this; smaller tensors measure nothing but a launch.
FLOOR = 16
_MOST_HALVINGS = 12

# Loads a problem file, runs it once and describes it; ProblemError where that fails. It is given
# rather than imported, since files of others run in a sandbox that stands above this layer.
Opens = Callable[[Path], Problem]

_ITEM_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "bool": 1, "uint8": 1, "int8": 1}


@dataclass(frozen=True, slots=True)
class Budget:
    """How large a problem may be: bytes of inputs, parameters and outputs; seconds to open it.

    KernelBench v0's problems had a median of some tens of MiB.
    """

    tensor_bytes: int = 64 << 20
    open_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """A problem's text at the sizes found, and in words what was changed, or why nothing was."""

    code: str
    changes: tuple[str, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    tensor_bytes: int
    seconds: float

    def fits(self, budget: Budget) -> bool:
        return self.tensor_bytes <= budget.tensor_bytes and self.seconds <= budget.open_s


@dataclass
class Scaler:
    """Finds the largest sizes within a budget for one problem's text, trying them in `folder`."""

    code: str
    folder: Path
    opens: Opens
    budget: Budget
    clock: Callable[[], float] = time.perf_counter

    def scaled(self) -> Scaled:
        """The text as it is where it fits, else with smaller sizes; never with larger ones."""
        names = [size.name for size in sizes_of(self.code) if size.value >= SMALLEST_SCALED]
        free = self._free(names)
        if not free:
            return self._unchanged(names)
        found, note = self._climbed(free)
        return Scaled(found, changes_between(self.code, found), note)

    def _unchanged(self, names: Sequence[str]) -> Scaled:
        if names:
            return Scaled(self.code, (), "the reference runs at no other sizes")
        return Scaled(self.code, (), "the file has no sizes at its top level to make smaller")

    def _free(self, names: Sequence[str]) -> list[str]:
        """The sizes that may become smaller together: all, or those that may alone, added up."""
        if not names or self._try(self._at(names, self._most(names))) is not None:
            return list(names)
        free: list[str] = []
        for name in names:
            together = [*free, name]
            if self._try(self._at(together, self._most(together))) is not None:
                free = together
        return free

    def _climbed(self, names: Sequence[str]) -> tuple[str, str | None]:
        """The text with the fewest halvings that fit the budget; with the most if none does."""
        best: str | None = None
        before: _Tried | None = None
        for halvings in range(self._most(names), -1, -1):
            code = self._at(names, halvings)
            if best is not None and code == best:
                continue
            tried = self._try(code)
            if tried is None:
                continue
            if not tried.fits(self.budget):
                if best is None:
                    return code, "larger than the budget even at its smallest"
                break
            best = code
            if before is not None and self._would_burst(before, tried):
                break
            before = tried
        return best or self.code, None

    def _would_burst(self, before: _Tried, now: _Tried) -> bool:
        """Whether the next step, growing as the last did, would be far beyond the budget.

        Time tells of what bytes do not: an attention's matrix is neither input nor output.
        """
        larger = now.tensor_bytes / max(1, before.tensor_bytes)
        # What took no time worth naming may have taken twice that for no reason of its own.
        slower = max(larger, now.seconds / max(before.seconds, self.budget.open_s / 50))
        return (
            now.tensor_bytes * larger > 4 * self.budget.tensor_bytes
            or now.seconds * slower > 2 * self.budget.open_s
        )

    def _most(self, names: Sequence[str]) -> int:
        """How many halvings leave nothing that could be made smaller."""
        values = [size.value for size in sizes_of(self.code) if size.name in names]
        return min(_MOST_HALVINGS, (max(values) // FLOOR).bit_length() - 1)

    def _at(self, names: Sequence[str], halvings: int) -> str:
        sizes = [size for size in sizes_of(self.code) if size.name in names]
        return with_sizes(
            self.code, {size.name: max(FLOOR, size.value >> halvings) for size in sizes}
        )

    def _try(self, code: str) -> _Tried | None:
        """What the text needs at these sizes; None where its reference does not run."""
        file = self.folder / "trial.py"
        write_whole(file, code.encode())
        started = self.clock()
        try:
            problem = self.opens(file)
        except ProblemError:
            return None
        finally:
            file.unlink(missing_ok=True)
        return _Tried(tensor_bytes(problem), self.clock() - started)


def tensor_bytes(problem: Problem) -> int:
    """Bytes of all inputs, parameters and outputs."""
    specs = (*problem.inputs, *problem.parameters, *problem.outputs)
    return sum(_bytes(spec) for spec in specs if isinstance(spec, TensorSpec))


def _bytes(spec: TensorSpec) -> int:
    count = 1
    for size in spec.shape:
        count *= size
    return count * _ITEM_BYTES.get(spec.dtype, 2)

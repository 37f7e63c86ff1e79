"""Run a candidate once on the software device and count, dispatch by dispatch."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from metalgen.air import Metallib
from metalgen.library import Library
from metalgen.library.kernel import Kernel
from metalgen.plan import LaunchPlan, compile_plan
from metalgen.plan.run import Bindable, kernels_of
from metalgen.profile.counting_library import CountingLibrary
from metalgen.profile.figures import DispatchFigures, figures
from metalgen.profile.launches import Launch
from metalgen.profile.static_runs import Run
from metalgen.software.counting import Counts


class _Steps(Library):
    """Gives every step of a plan a kernel of its own, so that each counts for itself."""

    def __init__(self, metallib: bytes) -> None:
        super().__init__(Metallib(metallib), lambda: metallib)
        self.steps: list[CountingLibrary] = []

    def kernel(self, name: str) -> Kernel:
        """A bound plan asks once for each step that launches something, in their order."""
        library = CountingLibrary(self._read_bytes())
        self.steps.append(library)
        return library.kernel(name)


def counted_figures(
    metallib: bytes,
    plan: LaunchPlan,
    inputs: Mapping[str, Bindable],
    parameters: Mapping[str, Tensor],
    dispatches: tuple[Launch, ...],
) -> tuple[DispatchFigures, ...]:
    """What each of `dispatches`, the plan's launches for these tensors on the CPU, did.

    Raises what running the plan raises.
    """
    described = Library(Metallib(metallib), lambda: metallib)
    kernels = kernels_of(described)
    compiled = compile_plan(plan, kernels, inputs=tuple(inputs), parameters=tuple(parameters))
    steps = _Steps(metallib)
    compiled.bind(steps, parameters).run(inputs)
    return tuple(
        figures(launch, kernels[launch.kernel], runs_of(library.counting.kernels), "counted")
        for launch, library in zip(dispatches, steps.steps, strict=True)
    )


def runs_of(counts: list[Counts]) -> list[Run]:
    """The sums over a kernel's translations, of which each has the same sites."""
    found: list[Run] = []
    for number, site in enumerate(counts[0].sites if counts else ()):
        row = [int(sum(each.values[number][c] for each in counts)) for c in range(5)]
        found.append(Run(site, *map(float, row)))
    return found

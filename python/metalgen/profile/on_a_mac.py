"""What a Mac adds to a profile: a capture of the candidate's work and Xcode's pictures of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from metalgen.errors import MetalgenError
from metalgen.library import load_metallib
from metalgen.plan import LaunchPlan, compile_plan, kernels_of
from metalgen.problem.loaded import LoadedProblem
from metalgen.profile.gputrace import capture
from metalgen.profile.xcode import screenshots

if TYPE_CHECKING:
    from metalgen.profile.profile import Profile


def on_the_gpu(problem: LoadedProblem, plan: LaunchPlan, metallib: bytes) -> Callable[[], object]:
    """One call of the candidate with its problem's inputs, its pipelines made."""
    inputs = {
        name: value.to("mps") if isinstance(value, Tensor) else value
        for name, value in problem.named_inputs().items()
    }
    parameters = {n: v.detach().to("mps") for n, v in problem.named_parameters().items()}
    library = load_metallib(metallib)
    names = tuple(inputs), tuple(parameters)
    compiled = compile_plan(plan, kernels_of(library), inputs=names[0], parameters=names[1])
    bound = compiled.bind(library, parameters)
    bound.run(inputs)
    return lambda: bound.run(inputs)


def with_capture(found: Profile, work: Callable[[], object], folder: Path) -> Profile:
    """The profile with Xcode's pictures after its own, or with the reason why there are none."""
    try:
        pictures = screenshots(capture(folder / "candidate.gputrace", work))
    except MetalgenError as error:
        return replace(found, text=f"{found.text}\nNo pictures from Xcode: {error}\n")
    named = tuple(replace(each, name=f"xcode-{each.name}") for each in pictures)
    listed = ", ".join(each.name for each in named)
    return replace(
        found,
        text=f"{found.text}\nXcode's views of a capture on this machine's GPU: {listed}\n",
        pictures=(*found.pictures, *named),
    )

"""`metalgen profile --capture`: a .gputrace from a Mac's GPU, and Xcode's pictures of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalgen.profile import Profile


def with_capture(found: Profile, path: Path, problem: Path | None, folder: Path) -> Profile:
    """The profile with Xcode's pictures after its own; the trace is kept in `folder`.

    Runs the problem file and the candidate in this process: only one that was started with
    MTL_CAPTURE_ENABLED=1 may capture. Raises UnsupportedError, with the remedy, where it was not.
    """
    from metalgen.compiler import compile_source
    from metalgen.generation.kept import problem_of, read_candidate
    from metalgen.library import load_metallib
    from metalgen.plan import compile_plan, kernels_of
    from metalgen.problem import load_problem
    from metalgen.profile.gputrace import capture, require_capture
    from metalgen.profile.xcode import screenshots

    require_capture()
    kept = read_candidate(path)
    loaded = load_problem(problem or problem_of(path))
    library = load_metallib(compile_source(kept.source, name="kernels.metal"))
    inputs = {n: v.to("mps") if hasattr(v, "to") else v for n, v in loaded.named_inputs().items()}
    parameters = {n: v.to("mps") for n, v in loaded.named_parameters().items()}
    compiled = compile_plan(
        kept.plan, kernels_of(library), inputs=tuple(inputs), parameters=tuple(parameters)
    )
    bound = compiled.bind(library, parameters)
    bound.run(inputs)  # pipelines are made outside of the capture
    trace = capture(folder / "candidate.gputrace", lambda: bound.run(inputs))
    shown = tuple(replace(picture, name=f"xcode-{picture.name}") for picture in screenshots(trace))
    return replace(found, pictures=(*found.pictures, *shown))

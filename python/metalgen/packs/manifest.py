"""pack.json: what a pack holds, made by whom, right and how fast where."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from metalgen.packs.pattern import Pattern

_STRICT = ConfigDict(frozen=True, extra="forbid")
# A kernel's files, in its folder.
METALLIB, SOURCE, PLAN, PROBLEM = "kernels.metallib", "kernels.metal", "plan.json", "problem.py"
FILES = (METALLIB, SOURCE, PLAN, PROBLEM)


class Measured(BaseModel):
    """Median microseconds of a kernel and of eager PyTorch, side by side, and where."""

    model_config = _STRICT
    kernel_us: float = Field(gt=0)
    eager_us: float = Field(gt=0)
    device: dict[str, Any]


class Entry(BaseModel):
    """One kernel: `pattern` is what it computes; its files lie in the folder `name`."""

    model_config = _STRICT
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)
    pattern: Pattern
    sha256: dict[Literal["kernels.metallib", "kernels.metal", "plan.json", "problem.py"], str]
    model: str  # who wrote it
    cases: list[str]  # inputs on which it was right
    shape_class: str  # of the inputs that it was timed with
    measured: Measured
    compiler: str


class Manifest(BaseModel):
    """A pack: `form` counts up when older versions of metalgen could not read it."""

    model_config = _STRICT
    form: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    version: str = Field(pattern=r"^\d+(\.\d+)*$")
    metalgen: str
    torch: str
    kernels: list[Entry] = Field(min_length=1)

"""A candidate's profile: figures of its dispatches, predicted times, in words and pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from metalgen.chips import Chip, Estimate, find_chip, predict
from metalgen.chips.this_mac import default_chip
from metalgen.device import open_device
from metalgen.errors import MetalgenError
from metalgen.plan import LaunchPlan, TensorType
from metalgen.plan.run import Bindable
from metalgen.problem.loaded import LoadedProblem
from metalgen.profile.counted import counted_figures
from metalgen.profile.estimate import static_figures
from metalgen.profile.figures import DispatchFigures
from metalgen.profile.findings import Finding, findings
from metalgen.profile.gputrace import capture_folder
from metalgen.profile.on_a_mac import on_the_gpu, with_capture
from metalgen.proposers.prompts import Picture

# Counting takes about 100 ns for each access of a SIMD-group.
_MOST_COUNTED = 3e7


@dataclass(frozen=True, slots=True)
class Row:
    """One dispatch with its prediction."""

    figures: DispatchFigures
    estimate: Estimate

    @property
    def mix(self) -> list[tuple[str, float]]:
        """Kinds of instructions, the most frequent first."""
        kinds = self.figures.instructions.items()
        return sorted(((k.replace("_", " "), n) for k, n in kinds if n), key=lambda p: -p[1])

    @property
    def accesses(self) -> list[Any]:
        """Loads and stores by the cache lines that they touch, the most first."""
        return sorted(self.figures.accesses, key=lambda access: -access.lines)[:10]


@dataclass(frozen=True, slots=True)
class ProfileData:
    """What text and pictures are made of."""

    chip: Chip
    how: str  # "counted on the software device", "told from AIR"
    rows: tuple[Row, ...]
    total: Estimate
    notes: tuple[str, ...] = ()

    @property
    def dispatches(self) -> tuple[DispatchFigures, ...]:
        """The figures of every dispatch, in order."""
        return tuple(row.figures for row in self.rows)

    @property
    def findings(self) -> list[Finding]:
        """What stands out."""
        each_call = [row for row in self.rows if not row.figures.launch.is_once]
        return findings([(row.figures, row.estimate) for row in each_call])


@dataclass(frozen=True, slots=True)
class Profile:
    """What a model is shown: text, and pictures for models with vision."""

    text: str
    pictures: tuple[Picture, ...] = ()
    data: ProfileData | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain objects, to cross between processes."""
        listed = [
            {"name": each.name, "png": base64.b64encode(each.png).decode()}
            for each in self.pictures
        ]
        return {"text": self.text, "pictures": listed}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Profile:
        """The inverse of `to_json`, less the data."""
        pictures = (
            Picture(str(each["name"]), base64.b64decode(each["png"])) for each in plain["pictures"]
        )
        return cls(str(plain["text"]), tuple(pictures))


def profile_candidate(
    problem: LoadedProblem,
    source: str,
    plan: LaunchPlan,
    metallib: bytes,
    device: torch.device,
    *,
    chip: Chip | str | None = None,
) -> Profile:
    """Profile a candidate with its problem's own inputs.

    Its kernels are run once on the software device, counting; where that would take too long the
    figures are told from AIR. `chip` is whom to predict for, by default this Mac's or
    METALGEN_CHIP. On a Mac METALGEN_CAPTURE names a folder for a capture, whose pictures are added.
    Raises what running the plan would raise. `source` is what a capture shows.
    """
    inputs = {n: _on_cpu(v) for n, v in problem.named_inputs().items()}
    parameters = {n: v.detach().cpu() for n, v in problem.named_parameters().items()}
    known = find_chip(chip) if isinstance(chip, str) else chip
    if known is None:
        known = default_chip(open_device("mps").name if device.type == "mps" else "")
    found = render(profile_data(plan, metallib, inputs, parameters, known))
    folder = capture_folder()
    if folder is None or device.type != "mps":
        return found
    return with_capture(found, on_the_gpu(problem, plan, metallib), folder)


def profile_data(
    plan: LaunchPlan,
    metallib: bytes,
    inputs: Mapping[str, Bindable],
    parameters: Mapping[str, Tensor],
    chip: Chip,
) -> ProfileData:
    """The figures of a plan for tensors on the CPU, and what a chip would take."""
    sizes = {name: _size(value) for name, value in {**parameters, **inputs}.items()}
    told = static_figures(metallib, plan, sizes)
    found, how, notes = _counted(told, plan, metallib, inputs, parameters)
    rows = tuple(Row(each, predict(each.work(), chip)) for each in found)
    lasting = [row.figures.work() for row in rows if not row.figures.launch.is_once]
    aten = tuple(f"{step.aten} runs in ATen and is not in this profile" for step in plan.aten_steps)
    total = predict(lasting, chip)
    return ProfileData(chip, how, rows, total, (*total.notes, *notes, *aten))


def render(data: ProfileData) -> Profile:
    """Text and, where matplotlib is installed, pictures."""
    from metalgen.profile.text import text_of

    try:
        from metalgen.profile.pictures import pictures_of
    except ModuleNotFoundError:
        without = "pictures need matplotlib: pip install metalgen[study]"
        data = replace(data, notes=(*data.notes, without))
        return Profile(text_of(data), (), data)
    return Profile(text_of(data), pictures_of(data), data)


def _counted(
    told: tuple[DispatchFigures, ...],
    plan: LaunchPlan,
    metallib: bytes,
    inputs: Mapping[str, Bindable],
    parameters: Mapping[str, Tensor],
) -> tuple[tuple[DispatchFigures, ...], str, tuple[str, ...]]:
    """Counted figures where counting is quick enough and works, else what AIR tells."""
    accesses = sum(access.executions for each in told for access in each.accesses)
    if accesses > _MOST_COUNTED:
        note = f"not counted: {accesses:.1e} accesses of SIMD-groups would take too long"
        return told, "told from AIR", (note,)
    launches = tuple(each.launch for each in told)
    try:
        found = counted_figures(metallib, plan, inputs, parameters, launches)
    except MetalgenError as error:
        return told, "told from AIR", (f"not counted: {error}",)
    merged = tuple(_with_reuse(*pair) for pair in zip(found, told, strict=True))
    return merged, "counted on the software device", ()


def _with_reuse(counted: DispatchFigures, told: DispatchFigures) -> DispatchFigures:
    """Counts do not tell which lines a threadgroup has just used; AIR does."""
    accesses = tuple(
        replace(access, fresh_share=other.fresh_share)
        for access, other in zip(counted.accesses, told.accesses, strict=True)
    )
    return replace(counted, accesses=accesses)


def _on_cpu(value: Bindable) -> Bindable:
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _size(value: Bindable) -> TensorType | int | float:
    if isinstance(value, Tensor):
        return TensorType(tuple(value.shape), str(value.dtype).removeprefix("torch."))
    return value

"""What stands out in a candidate's figures, as data: the words are in templates/profile/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metalgen.chips import Estimate
from metalgen.chips.database import rates
from metalgen.profile.figures import DispatchFigures

_MANY_BARRIERS = 4  # in each threadgroup
_FEW_LANES = 0.75
_SCATTERED = 1.5  # times the fewest cache lines
_INTENSE = 8.0  # FLOPs for each byte of device memory: worth a matrix unit


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the things that `what` names; the template says what `value` and `detail` are."""

    what: str
    kernel: str = ""
    value: float = 0.0
    detail: str = ""


Measured = tuple[DispatchFigures, Estimate]


def findings(rows: Sequence[Measured]) -> list[Finding]:
    """Of the slowest dispatches first; at most ten."""
    slowest = sorted(rows, key=lambda row: -row[1].seconds)
    found = [finding for row in slowest for finding in _of_dispatch(*row)]
    return [*_between(rows), *found][:10]


def _between(rows: Sequence[Measured]) -> Iterator[Finding]:
    """Buffers that one dispatch writes and a later one reads."""
    written: set[str] = set()
    passed: list[str] = []
    for figures, _ in rows:
        names = {b.argument: b.name for b in figures.launch.buffers.values() if b.name}
        read = {names.get(a.buffer, "") for a in figures.accesses if a.kind == "load"}
        passed += [name for name in sorted(read & written) if name]
        written |= {names.get(a.buffer, "") for a in figures.accesses if a.kind == "store"}
    if passed:
        yield Finding("dispatches", value=len(rows), detail=", ".join(dict.fromkeys(passed)))


def _of_dispatch(figures: DispatchFigures, estimate: Estimate) -> Iterator[Finding]:
    kernel, parts = figures.kernel, dict(estimate.parts)
    if not estimate.seconds:
        return
    yield _bound(figures, estimate, parts)
    for access in figures.accesses:
        if access.space == "device" and access.excess > _SCATTERED and access.lines > 64:
            detail = f"{access.kind} of {access.buffer or 'device memory'}"
            yield Finding("scattered", kernel, access.excess, detail)
    if figures.active_share < _FEW_LANES:
        yield Finding("idle", kernel, figures.active_share)
    barriers = figures.barriers / max(1, figures.launch.threadgroups)
    if barriers > _MANY_BARRIERS:
        yield Finding("barriers", kernel, barriers)
    intensity = figures.flops / estimate.bytes if estimate.bytes else 0.0
    if intensity > _INTENSE and not figures.matrix_products and _multiplies(figures):
        yield Finding("no matrices", kernel, intensity)


def _multiplies(figures: DispatchFigures) -> bool:
    """Whether multiply-adds are most of the arithmetic."""
    counts = figures.instructions
    floats = counts.get("fp32", 0.0) + counts.get("fp16", 0.0)
    return figures.flops > 1.8 * 32 * floats * figures.active_share > 0


def _bound(figures: DispatchFigures, estimate: Estimate, parts: dict[str, float]) -> Finding:
    kernel, what = figures.kernel, estimate.bound_by
    if what == "memory":
        return Finding(what, kernel, parts["compute"] / estimate.seconds)
    if what == "compute":
        return Finding(what, kernel, detail=_heaviest(figures))
    if what == "cache":
        return Finding(what, kernel, figures.lines * 128 / max(1.0, estimate.bytes))
    return Finding(what, kernel, figures.launch.threadgroups)


def _heaviest(figures: DispatchFigures) -> str:
    """The kind of instruction that takes the most cycles."""
    cycles = {
        kind: count * getattr(rates(), kind).value for kind, count in figures.instructions.items()
    }
    kind = max(cycles, key=lambda name: cycles[name], default="")
    return kind.replace("_", " ")

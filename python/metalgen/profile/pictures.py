"""Profiles as pictures for models with vision: summary, memory, timeline, roofline."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from metalgen.chips.database import rates
from metalgen.profile.text import energy, percent, quantity, time
from metalgen.proposers.prompts import Picture

if TYPE_CHECKING:
    from metalgen.profile.profile import ProfileData, Row

_SIZE = (12.0, 7.5)  # inches; at 100 dots an inch what models see without scaling
_INK, _QUIET, _GRID = "#1d2733", "#6b7785", "#e3e7ec"
_COLOURS = {
    "compute": "#3b6fb6",
    "memory": "#d1495b",
    "cache": "#edae49",
    "threadgroup memory": "#66a182",
    "latency": "#8d6a9f",
}
_KINDS = {
    "fp32": "#3b6fb6", "fp16": "#7fa6d9", "matrix": "#1d2733", "special": "#d1495b",
    "precise": "#e6949f", "integer": "#66a182", "integer_multiply": "#a9c8b6",
    "integer_64": "#3f6b55", "shift": "#edae49", "compare": "#f4d192", "convert": "#b5bdc6",
    "shuffle": "#c3abcf", "reduce": "#8d6a9f",
}  # fmt: skip
_MOST_ROWS = 12


def pictures_of(data: ProfileData) -> tuple[Picture, ...]:
    """The four pictures, in the order in which they read."""
    drawn: dict[str, Callable[[ProfileData, Figure], None]] = {
        "summary": _summary,
        "memory": _memory,
        "timeline": _timeline,
        "roofline": _roofline,
    }
    return tuple(Picture(name, _png(data, draw)) for name, draw in drawn.items())


def _png(data: ProfileData, draw: Callable[[ProfileData, Figure], None]) -> bytes:
    layout = ConstrainedLayoutEngine(rect=(0.012, 0.012, 0.976, 0.976))
    figure = Figure(figsize=_SIZE, dpi=100, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    draw(data, figure)
    held = io.BytesIO()
    figure.savefig(held, format="png", metadata={"Software": None})
    return held.getvalue()


def _title(figure: Figure, title: str, data: ProfileData) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=17, fontweight="bold", color=_INK)
    under = f"{data.how}; times predicted for {data.total.chip}, not measured"
    figure.supxlabel(under, x=0.01, ha="left", fontsize=10, color=_QUIET)


def _plain(axes: Axes, *, grid: str = "") -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(side == "bottom" and bool(grid))
        axes.spines[side].set_color(_GRID)
    axes.tick_params(length=0, labelsize=11, colors=_INK)
    if grid:
        axes.grid(axis=grid, color=_GRID, linewidth=1)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


# Summary: what matters in numbers, and what the instructions are.


def _summary(data: ProfileData, figure: Figure) -> None:
    _title(figure, "Summary", data)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _numbers(left, data)
    _mix(right, data.rows[:_MOST_ROWS])


def _numbers(axes: Axes, data: ProfileData) -> None:
    axes.axis("off")
    total = data.total
    lines = sum(f.lines for f in data.dispatches)
    least = sum(f.least_lines for f in data.dispatches)
    groups = sum(f.launch.threadgroups for f in data.dispatches)
    barriers = sum(f.barriers for f in data.dispatches)
    rows = [
        ("predicted time", time(total.seconds)),
        ("bound by", total.bound_by),
        ("energy", "unknown" if total.joules is None else energy(total.joules)),
        ("dispatches", f"{len(data.rows)} ({groups:,} threadgroups)"),
        ("arithmetic", f"{quantity(total.flops)}FLOP"),
        ("device memory", f"{quantity(total.bytes)}B"),
        ("intensity", f"{total.flops / total.bytes if total.bytes else 0:.2f} FLOP per byte"),
        ("cache lines touched", f"{lines / least if least else 1:.2f} x the fewest possible"),
        ("lanes that do work", percent(_active(data))),
        ("barriers", f"{barriers / max(1, groups):.1f} a threadgroup"),
        (
            "threadgroup memory",
            f"{max((f.threadgroup_memory for f in data.dispatches), default=0)} B",
        ),
        ("8x8 matrix products", quantity(sum(f.matrix_products for f in data.dispatches)).strip()),
    ]
    for number, (name, value) in enumerate(rows):
        y = 0.97 - number * 0.082
        colour = _COLOURS.get(total.bound_by, _INK) if name == "bound by" else _INK
        axes.text(0.0, y, name, fontsize=14, color=_QUIET, transform=axes.transAxes)
        axes.text(
            0.42, y, value, fontsize=15, color=colour, fontweight="bold", transform=axes.transAxes
        )


def _active(data: ProfileData) -> float:
    weights = [sum(f.instructions.values()) for f in data.dispatches]
    shares = [f.active_share for f in data.dispatches]
    return float(np.average(shares, weights=weights)) if sum(weights) else 1.0


def _mix(axes: Axes, rows: Sequence[Row]) -> None:
    """Where the cycles of the schedulers go, dispatch by dispatch."""
    known = rates()
    cycles = [
        {k: n * getattr(known, k).value for k, n in row.figures.instructions.items()}
        for row in rows
    ]
    kinds = [kind for kind in _KINDS if any(kind in each for each in cycles)]
    names = [_name(row, i) for i, row in enumerate(rows)]
    start = np.zeros(len(rows))
    totals = np.array([max(sum(each.values()), 1e-30) for each in cycles])
    for kind in kinds:
        width = np.array([each.get(kind, 0.0) for each in cycles]) / totals * 100
        label = kind.replace("_", " ")
        axes.barh(names, width, left=start, color=_KINDS[kind], label=label, height=0.6)
        start += width
    axes.set_title("instruction cycles by kind, %", loc="left", fontsize=12, color=_INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_ylim(len(rows) - 0.4 if len(rows) > 4 else 4.2, -0.6)
    _plain(axes, grid="x")
    if kinds:
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False, fontsize=11
        )


def _name(row: Row, index: int) -> str:
    name = row.figures.kernel
    return f"{index + 1}  {name if len(name) <= 22 else name[:21] + '…'}"


# Memory: every access, what it asks for and what it touches.


def _memory(data: ProfileData, figure: Figure) -> None:
    _title(figure, "Memory accesses", data)
    listed = [
        (row, index, access)
        for index, row in enumerate(data.rows)
        for access in row.figures.accesses
        if access.space == "device" or access.space == "threadgroup"
    ]
    listed.sort(key=lambda entry: -entry[2].lines)
    axes = figure.subplots()
    shown = listed[:_MOST_ROWS]
    if not shown:
        axes.axis("off")
        axes.text(0.5, 0.5, "no access to device or threadgroup memory", ha="center", fontsize=14)
        return
    names = [f"{i + 1}  {a.kind} {a.buffer or a.space}" for _, i, a in shown]
    places = np.arange(len(shown))
    touched = [max(a.lines * 128, 1.0) for _, _, a in shown]
    asked = [max(a.bytes, 1.0) for _, _, a in shown]
    needed = [max(a.least * 128, 1.0) for _, _, a in shown]
    axes.barh(places - 0.27, asked, 0.25, color="#b5bdc6", label="bytes that threads ask for")
    axes.barh(places, touched, 0.25, color=_COLOURS["memory"], label="cache lines touched, bytes")
    axes.barh(
        places + 0.27, needed, 0.25, color=_COLOURS["threadgroup memory"], label="fewest possible"
    )
    for place, (_, _, access) in enumerate(shown):
        note = f"{quantity(access.lines * 128)}B"
        if access.excess > 1.05:
            note += f", {access.excess:.1f} x the fewest possible"
        axes.text(touched[place] * 1.15, place, note, va="center", fontsize=11, color=_INK)
    axes.set_yticks(
        places, [f"{name} ({a.space})" for name, (_, _, a) in zip(names, shown, strict=True)]
    )
    axes.set_xscale("log")
    axes.set_xlim(min(*needed, *asked) / 3, max(*touched, *asked) * 30)
    axes.set_ylim(max(len(shown), 4) - 0.4, -0.6)
    axes.set_xlabel("bytes", fontsize=12, color=_INK)
    _plain(axes, grid="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.1), ncols=3, frameon=False, fontsize=11)


# Timeline: dispatches one after the other, and what bounds each.


def _timeline(data: ProfileData, figure: Figure) -> None:
    _title(figure, "Timeline of one call", data)
    top, bottom = figure.subplots(2, 1, height_ratios=(1, 2.2))
    _sequence(top, data.rows)
    _units(bottom, data.rows[:_MOST_ROWS])


def _sequence(axes: Axes, rows: Sequence[Row]) -> None:
    start, scale = 0.0, 1e6
    total = max(sum(row.estimate.seconds for row in rows), 1e-12)
    for index, row in enumerate(rows):
        width = row.estimate.seconds
        axes.barh(
            0, width * scale, left=start * scale, color=_COLOURS[row.estimate.bound_by],
            edgecolor="white", linewidth=2, height=0.8,
        )  # fmt: skip
        if width > 0.04 * total:
            label = f"{index + 1}" if width < 0.12 * total else _name(row, index)
            centre = (start + width / 2) * scale
            axes.text(
                centre,
                0,
                label,
                ha="center",
                va="center",
                color="white",
                fontsize=11,
                fontweight="bold",
            )
        start += width
    axes.set_yticks([])
    axes.set_xlim(0, total * scale * 1.01)
    axes.set_xlabel("microseconds", fontsize=12, color=_INK)
    axes.set_title("dispatches, coloured by what bounds them", loc="left", fontsize=12, color=_INK)
    _plain(axes, grid="x")


def _units(axes: Axes, rows: Sequence[Row]) -> None:
    """How long each unit would need by itself; the longest is the dispatch's time."""
    places = np.arange(len(rows))
    thickness = 0.8 / len(_COLOURS)
    for number, (unit, colour) in enumerate(_COLOURS.items()):
        values = [dict(row.estimate.parts).get(unit, 0.0) * 1e6 for row in rows]
        at = places + (number - 2) * thickness
        axes.barh(at, values, thickness * 0.92, color=colour, label=unit)
        for y, value in zip(at, values, strict=True):
            if len(rows) <= 4:
                axes.text(
                    value, y, f"  {time(value * 1e-6)}", va="center", fontsize=10, color=_QUIET
                )
    axes.set_yticks(places, [_name(row, i) for i, row in enumerate(rows)])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("microseconds that each unit would take alone", fontsize=12, color=_INK)
    longest = max((row.estimate.seconds * 1e6 for row in rows), default=1.0)
    axes.set_xlim(0, max(longest, 1e-9) * 1.15)
    _plain(axes, grid="x")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=5, frameon=False, fontsize=11
    )


# Roofline: intensity against throughput, with the chip's limits.


def _roofline(data: ProfileData, figure: Figure) -> None:
    _title(figure, f"Roofline of {data.total.chip}", data)
    axes = figure.subplots()
    chip = data.chip
    clock = chip.family.typical_clock_mhz if chip.clock_mhz is None else chip.clock_mhz.value
    peak = chip.cores.value * chip.fp32_per_cycle.value * clock * 1e6
    bandwidth = (8.5 * chip.cores.value if chip.bandwidth is None else chip.bandwidth.value) * 1e9
    cache = rates().l2_bytes_per_cycle.value * chip.cores.value * clock * 1e6
    points = [
        (row.estimate.flops / row.estimate.bytes, row.estimate.flops / row.estimate.seconds, i, row)
        for i, row in enumerate(data.rows)
        if row.estimate.flops and row.estimate.bytes and row.estimate.seconds
    ]
    low = min([2**-4, *(p[0] / 2 for p in points)])
    high = max([2**9, *(p[0] * 4 for p in points)])
    x = np.geomspace(low, high, 200)
    axes.plot(x, np.minimum(peak, x * bandwidth), color=_INK, linewidth=2.5)
    axes.plot(
        x, np.minimum(peak, x * cache), color=_COLOURS["cache"], linewidth=1.5, linestyle="--"
    )
    axes.axvline(peak / bandwidth, color=_GRID, linewidth=1.5)
    axes.text(
        high, peak * 1.12, f"fp32 peak {quantity(peak)}FLOP/s", ha="right", fontsize=12, color=_INK
    )
    axes.text(
        low * 1.1, low * bandwidth * 1.5, f"memory {quantity(bandwidth)}B/s", fontsize=12,
        color=_INK, rotation=32, rotation_mode="anchor",
    )  # fmt: skip
    axes.text(
        low * 1.1, low * cache * 1.5, f"caches, about {quantity(cache)}B/s", fontsize=12,
        color="#a3771f", rotation=32, rotation_mode="anchor",
    )  # fmt: skip
    for intensity, rate, index, row in points[:_MOST_ROWS]:
        axes.scatter(
            intensity, rate, s=160, color=_COLOURS[row.estimate.bound_by], zorder=3,
            edgecolor="white", linewidth=1.5,
        )  # fmt: skip
        share = rate / min(peak, intensity * bandwidth)
        axes.annotate(
            f"{_name(row, index)}: {quantity(rate)}FLOP/s, {percent(share)} of the roof",
            (intensity, rate), xytext=(12, -14), textcoords="offset points", fontsize=11,
            color=_INK,
        )  # fmt: skip
    if not points:
        axes.text(0.5, 0.5, "no arithmetic", transform=axes.transAxes, ha="center", fontsize=14)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    floor = min([peak * 1e-4, *(p[1] / 4 for p in points)])
    axes.set_ylim(floor, peak * 3)
    axes.set_xlim(low, high)
    axes.set_xlabel("FLOP per byte of device memory", fontsize=12, color=_INK)
    axes.set_ylabel("FLOP/s", fontsize=12, color=_INK)
    _plain(axes, grid="both")

"""The geometry of charts: from values to places in a drawing; templates draw what is said here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NARROW, WIDE = 640.0, 1180.0
_LETTER = 6.4  # how wide a letter of a chart's text is, about


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to places, linearly or by their logarithms; what lies outside goes to an end."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._moved(self.low), self._moved(self.high)
        inside = min(max(value, self.low), self.high)
        share = (self._moved(inside) - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def _moved(self, value: float) -> float:
        return math.log(value) if self.is_log else value


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A bar or a dot: where it is, its series' colour, what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    label: str
    link: str | None = None
    text: str = ""  # written at it


@dataclass(frozen=True, slots=True)
class Line:
    """A series as a line: its points, and where its name stands, right of the last."""

    name: str
    colour: int
    points: tuple[tuple[float, float], ...]
    label_y: float
    last: str
    has_dots: bool = True  # at its points, with the last value beside its name

    @property
    def path(self) -> str:
        """SVG's points attribute."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values are drawn; ticks and titles stand around it, `below` is for those of x."""

    left: float
    right: float
    top: float
    bottom: float
    below: float = 40.0

    @property
    def height(self) -> float:
        """Of the whole drawing."""
        return self.bottom + self.below


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing: axes with ticks, lines, marks, and the legend to the marks' colours."""

    name: str  # of its kind, for the style sheet
    frame: Frame
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    legend: tuple[tuple[str, int], ...] = ()
    reference: Tick | None = None  # a line across: what 1.0 means
    x_title: str = ""
    width: float = NARROW


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    colours: Mapping[str, int],
    *,
    x_title: str,
    x_ticks: Sequence[float],
    is_log: bool = False,
    low: float = 0.0,
) -> Chart:
    """Shares (`low` to 1) over what `x_ticks` spans; each line is named at its end."""
    longest = max((len(name) for name in series), default=0)
    left, right = 44.0, NARROW - min(200.0, 30 + _LETTER * (longest + 5))
    top, bottom = 12.0, 290.0
    x = Scale(x_ticks[0], max(x_ticks[-1], x_ticks[0] * 1.001 + 1e-9), left, right, is_log)
    y = Scale(low, 1.0, bottom, top)
    drawn = {name: tuple((x(a), y(b)) for a, b in points) for name, points in series.items()}
    ends = {name: points[-1][1] for name, points in drawn.items() if points}
    labels = spread(ends, 14.0, top, bottom)
    return Chart(
        name="lines",
        frame=Frame(left, right, top, bottom),
        x_ticks=tuple(Tick(x(value), f"{value:g}") for value in x_ticks),
        y_ticks=tuple(
            Tick(y(low + i * (1 - low) / 5), f"{low + i * (1 - low) / 5:.0%}") for i in range(6)
        ),
        lines=tuple(
            Line(
                name, colours[name], points, labels[name], f"{series[name][-1][1]:.0%}", not is_log
            )
            for name, points in drawn.items()
            if points
        ),
        x_title=x_title,
    )


def spread(wanted: Mapping[str, float], gap: float, low: float, high: float) -> dict[str, float]:
    """Places near those wanted, at least `gap` apart where there is room for that."""
    names = sorted(wanted, key=lambda name: wanted[name])
    placed: list[float] = []
    for name in names:
        placed.append(max(wanted[name], placed[-1] + gap if placed else low))
    for i in reversed(range(len(placed))):
        limit = placed[i + 1] - gap if i + 1 < len(placed) else high
        placed[i] = min(placed[i], limit)
    return dict(zip(names, placed, strict=True))


def grouped_bars(
    groups: Mapping[str, Mapping[str, float | None]],
    colours: Mapping[str, int],
    width: float = NARROW,
) -> Chart:
    """Bars of speeds (1.0 is the baseline) for each group, one per series; None has no bar."""
    values = [v for series in groups.values() for v in series.values() if v is not None]
    ticks = _nice(max([1.0, *values]) * 1.04)
    left, right, top, bottom = 44.0, width - 12, 20.0, 260.0
    y = Scale(0.0, ticks[-1], bottom, top)
    slot = (right - left) / max(1, len(groups))
    marks: list[Mark] = []
    x_ticks: list[Tick] = []
    for i, (group, series) in enumerate(groups.items()):
        inner = slot * 0.84
        bar = min(54.0, inner / max(1, len(series)))
        start = left + i * slot + (slot - bar * len(series)) / 2
        x_ticks.append(Tick(round(left + (i + 0.5) * slot, 1), group))
        for j, (name, value) in enumerate(series.items()):
            if value is not None:
                place, wide = round(start + j * bar + 1, 1), round(max(1.5, bar - 2), 1)
                text = f"{value:.2f}" if bar >= 26 else ""
                label = f"{group}, {name}: {value:.2f}x"
                height = round(bottom - y(value), 1)
                marks.append(Mark(place, y(value), wide, height, colours[name], label, text=text))
    return Chart(
        name="bars",
        frame=Frame(left, right, top, bottom, below=34),
        x_ticks=tuple(x_ticks),
        y_ticks=tuple(Tick(y(value), f"{value:g}x") for value in ticks),
        marks=tuple(marks),
        legend=tuple((name, colours[name]) for name in _series_of(groups.values())),
        reference=Tick(y(1.0), "1x"),
        width=width,
    )


def stacked_bars(
    rows: Mapping[str, Mapping[str, int]], colours: Mapping[str, int], totals: Mapping[str, int]
) -> Chart:
    """For each row how a whole is shared out; what nobody has stays empty."""
    longest = max((len(name) for name in rows), default=0)
    left, right, top, step = 14 + _LETTER * longest, NARROW - 12, 6.0, 38.0
    marks: list[Mark] = []
    for i, (row, parts) in enumerate(rows.items()):
        x = Scale(0.0, max(1, totals[row]), left, right)
        done = 0
        for name, count in parts.items():
            if count:
                start, end = x(done), x(done + count)
                share = count / max(1, totals[row])
                text = f"{share:.0%}" if end - start > 34 else ""
                label = f"{row}, {name}: {count} of {totals[row]} ({share:.0%})"
                width = round(max(1.0, end - start - 1), 1)
                marks.append(
                    Mark(start, top + i * step, width, 28, colours[name], label, text=text)
                )
            done += count
    bottom = top + step * len(rows)
    return Chart(
        name="stacked",
        frame=Frame(left, right, top, bottom, below=6),
        y_ticks=tuple(Tick(top + i * step + 14, row) for i, row in enumerate(rows)),
        marks=tuple(marks),
        legend=tuple((name, colours[name]) for name in _series_of(rows.values())),
    )


@dataclass(frozen=True, slots=True)
class Dot:
    """A value to be placed, None where there is none; a label and where it leads."""

    value: float | None
    label: str
    link: str | None = None
    text: str = ""


def strip_chart(rows: Mapping[str, Sequence[Dot]], colours: Mapping[str, int]) -> Chart:
    """A row of dots per series along a logarithmic axis of speeds; a gutter for those without."""
    values = [d.value for dots in rows.values() for d in dots if d.value]
    low = min(0.5, 2.0 ** math.floor(math.log2(min(values, default=1.0))))
    high = max(2.0, 2.0 ** math.ceil(math.log2(max(values, default=1.0))))
    longest = max((len(name) for name in rows), default=0)
    left, right, top, step = 92 + _LETTER * longest, WIDE - 16, 8.0, 34.0
    x = Scale(low, high, left, right, is_log=True)
    marks: list[Mark] = []
    for i, (name, dots) in enumerate(rows.items()):
        middle = top + (i + 0.5) * step
        places = [x(dot.value) if dot.value else left - 58 for dot in dots]
        for dot, place, lift in zip(dots, places, _lifts(places, step), strict=True):
            y = round(middle + lift, 1)
            marks.append(Mark(place, y, 7, 7, colours[name], dot.label, dot.link))
    bottom = top + step * len(rows)
    exponents = range(round(math.log2(low)), round(math.log2(high)) + 1)
    shown = [2.0**e for e in exponents if e % max(1, len(exponents) // 7) == 0]
    return Chart(
        name="strip",
        frame=Frame(left, right, top, bottom),
        x_ticks=(
            Tick(left - 58, "failed"),
            *(Tick(x(value), f"{value:.3g}x") for value in shown),
        ),
        y_ticks=tuple(Tick(top + (i + 0.5) * step, name) for i, name in enumerate(rows)),
        marks=tuple(marks),
        reference=Tick(x(1.0), "eager"),
        x_title="speed over eager",
        width=WIDE,
    )


def _lifts(places: Sequence[float], step: float) -> list[float]:
    """How far each dot is moved up or down, so that those at one place do not hide one another."""
    taken: dict[int, int] = {}
    lifts = []
    for place in places:
        count = taken.get(key := round(place / 7), 0)
        taken[key] = count + 1
        offset = (count + 1) // 2 * (1 if count % 2 else -1) * 4.0
        lifts.append(max(-step / 2 + 4, min(step / 2 - 4, offset)))
    return lifts


def scatter(
    dots: Mapping[str, tuple[float, float]], colours: Mapping[str, int], width: float = NARROW
) -> Chart:
    """A dot per series: dollars along a logarithmic axis, a share upwards."""
    costs = [cost for cost, _ in dots.values()]
    left, right, top, bottom = 44.0, width - 150, 12.0, 260.0
    ticks = _decades(min(costs), max(costs))
    x, y = Scale(ticks[0], ticks[-1], left, right, is_log=True), Scale(0.0, 1.0, bottom, top)
    marks = [
        Mark(x(cost), y(share), 11, 11, colours[name], f"{name}: ${cost:.2f}, {share:.0%}")
        for name, (cost, share) in dots.items()
    ]
    labels = spread({name: y(share) for name, (_, share) in dots.items()}, 14.0, top, bottom)
    return Chart(
        name="scatter",
        frame=Frame(left, right, top, bottom),
        x_ticks=tuple(Tick(x(value), f"${value:g}") for value in ticks),
        y_ticks=tuple(Tick(y(i / 4), f"{25 * i}%") for i in range(5)),
        marks=tuple(marks),
        lines=tuple(
            Line(name, colours[name], ((mark.x, mark.y),), labels[name], "")
            for name, mark in zip(dots, marks, strict=True)
        ),
        x_title="US dollars for all problems",
        width=width,
    )


def _series_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _decades(smallest: float, largest: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from at most `smallest` to at least `largest`."""
    exponents = range(math.floor(math.log10(smallest)), math.ceil(math.log10(largest)) + 1)
    values = [m * 10.0**e for e in exponents for m in (1, 2, 5)]
    first = max(i for i, value in enumerate(values) if value <= smallest * 1.0001)
    last = min(i for i, value in enumerate(values) if value > largest)
    return [round(value, 9) for value in values[first : last + 1]]


def _nice(largest: float) -> list[float]:
    """Round numbers from 0 to at least `largest`, four to seven of them."""
    rough = largest / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough)
    return [round(i * step, 6) for i in range(math.ceil(largest / step - 1e-9) + 1)]

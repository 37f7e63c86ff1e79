"""The study's charts: which figures of a run go into which drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metalgen.report import charts
from metalgen.report.charts import NARROW, WIDE, Chart, Dot
from metalgen.report.figures import FAST_P, fast_p
from metalgen.report.outcomes import Outcome, at_level, narrowed
from metalgen.report.summary import Part, Summary, within

BEST = "best of all"
NOBODY = 99  # the colour of what belongs to no series
PALETTE = 12  # how many colours the style sheet has


@dataclass(frozen=True, slots=True)
class Shown:
    """A chart with the words around it; `table` says the same in rows."""

    title: str
    caption: str
    chart: Chart
    head: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]
    is_wide: bool = False


def colours_of(summary: Summary) -> dict[str, int]:
    """A number of the palette for each model, the same in every chart."""
    models = {name: i % (PALETTE - 1) for i, name in enumerate(summary.models)}
    return {**models, BEST: PALETTE - 1}


def charts_of(summary: Summary, links: Mapping[str, str]) -> list[Shown]:
    """Every chart that this run has something for; `links` leads from problems to their pages.

    Models are compared in one context, plain where it is there: with several, each model would be
    shown at the best of as many jobs.
    """
    if not summary.outcomes or not summary.attempts:
        return []
    one = summary
    if len(summary.contexts) > 1:
        one = within(
            summary, "plain" if "plain" in summary.contexts else next(iter(summary.contexts))
        )
    parts = dict(one.models)
    if len(parts) > 1:
        parts[BEST] = one.together
    shown = [
        _correctness(one, parts),
        _by_level(one, parts),
        _distribution(one, links),
        _fast(one, parts),
        _winners(one),
        _contexts(summary),
        _cost(summary),
    ]
    return [each for each in shown if each is not None]


def _correctness(summary: Summary, parts: Mapping[str, Part]) -> Shown | None:
    most = max(len(part.overall.correct_by_attempt) for part in parts.values())
    if not most:
        return None
    shares = {name: _filled(part.overall.correct_by_attempt, most) for name, part in parts.items()}
    series = {
        name: [(float(k), share) for k, share in enumerate(each, start=1)]
        for name, each in shares.items()
    }
    ticks = [float(k) for k in range(1, most + 1)]
    smallest = min(share for each in shares.values() for share in each)
    return Shown(
        title="Correctness by attempt",
        caption="Share of problems with an accepted kernel within the first k attempts; after each"
        " refusal the model is told why.",
        chart=charts.line_chart(
            series,
            colours_of(summary),
            x_title="attempt",
            x_ticks=ticks if most > 1 else [1, 2],
            low=0.0 if smallest < 0.3 else 0.25 if smallest < 0.55 else 0.5,
        ),
        head=("", *(f"attempt {k}" for k in range(1, most + 1))),
        table=tuple((name, *(f"{s:.1%}" for s in each)) for name, each in shares.items()),
    )


def _filled(shares: tuple[float, ...], count: int) -> list[float]:
    """`count` entries: whoever needed fewer attempts has as many correct after any later one."""
    return [shares[min(k, len(shares) - 1)] if shares else 0.0 for k in range(count)]


def _by_level(summary: Summary, parts: Mapping[str, Part]) -> Shown:
    levels = [level for level in summary.together.levels if level is not None]
    groups = {
        f"level {level}": {
            name: part.levels[level].eager.geometric_mean for name, part in parts.items()
        }
        for level in levels
    }
    groups["all"] = {name: part.overall.eager.geometric_mean for name, part in parts.items()}
    return Shown(
        title="Speed over eager by level",
        caption="Geometric mean over all problems, failures counting as 1.0.",
        chart=charts.grouped_bars(groups, colours_of(summary)),
        head=("", *groups),
        table=tuple(
            (name, *(_times(series[name]) for series in groups.values())) for name in parts
        ),
    )


def _distribution(summary: Summary, links: Mapping[str, str]) -> Shown:
    rows: dict[str, list[Dot]] = {}
    for model in summary.models:
        outcomes = narrowed(summary.outcomes, model=model)
        rows[model] = [_dot(outcome, links) for outcome in outcomes if outcome.attempts]
    quarters = ("slowest", "median", "fastest")
    return Shown(
        title="Every problem's speed",
        caption="A dot is a problem, at its fastest accepted kernel; it leads to the problem.",
        chart=charts.strip_chart(rows, colours_of(summary)),
        head=("", *quarters, "not solved"),
        table=tuple((name, *_extremes(dots)) for name, dots in rows.items()),
        is_wide=True,
    )


def _dot(outcome: Outcome, links: Mapping[str, str]) -> Dot:
    best, name = outcome.best, outcome.problem.name
    speed = best.speedup if best is not None else None
    label = f"{name}: {speed:.2f}x" if speed is not None else f"{name}: not solved"
    return Dot(speed, label, links.get(name))


def _extremes(dots: list[Dot]) -> tuple[str, ...]:
    speeds = sorted(dot.value for dot in dots if dot.value is not None)
    failed = str(len(dots) - len(speeds))
    if not speeds:
        return ("", "", "", failed)
    middle = (speeds[(len(speeds) - 1) // 2] + speeds[len(speeds) // 2]) / 2
    return (*(_times(value) for value in (speeds[0], middle, speeds[-1])), failed)


def _fast(summary: Summary, parts: Mapping[str, Part]) -> Shown:
    known = {name: _speeds(summary, None if name == BEST else name) for name in parts}
    ticks = _doublings([speed for each in known.values() for speed in each if speed])
    series = {name: _stairs(each, ticks[0], ticks[-1]) for name, each in known.items()}
    return Shown(
        title="Solved and faster than p",
        caption="fast_p: the share of problems solved and more than p times as fast as eager.",
        chart=charts.line_chart(
            series,
            colours_of(summary),
            x_title="p",
            x_ticks=ticks,
            is_log=True,
        ),
        head=("", *(f"fast_{p:g}" for p in FAST_P)),
        table=tuple(
            (name, *(f"{part.overall.eager.fast[p]:.1%}" for p in FAST_P))
            for name, part in parts.items()
        ),
    )


def _speeds(summary: Summary, model: str | None) -> list[float | None]:
    """Over eager, problem by problem; None where it is not solved."""
    bests = [outcome.best for outcome in narrowed(summary.outcomes, model=model)]
    return [None if best is None else best.speedup for best in bests]


def _doublings(speeds: list[float]) -> list[float]:
    """Powers of two around all speeds, from at most 1/2 to at least 4, within 1/16 and 64."""
    low, high = min([0.5, *speeds]), max([2.1, *speeds])
    first, last = max(-4, math.floor(math.log2(low))), min(6, math.ceil(math.log2(high)))
    return [2.0**exponent for exponent in range(first, last + 1)]


def _stairs(speeds: Sequence[float | None], low: float, high: float) -> list[tuple[float, float]]:
    """fast_p for every p from `low` to `high`: it falls at each speed."""
    steps = sorted({speed for speed in speeds if speed is not None and low < speed < high})
    points = [(low, fast_p(speeds, low))]
    for speed in steps:
        points += [(speed, points[-1][1]), (speed, fast_p(speeds, speed))]
    return [*points, (high, fast_p(speeds, high))]


def _winners(summary: Summary) -> Shown | None:
    if len(summary.models) < 2:
        return None
    rows, totals = {}, {}
    for level in (None, *(level for level in summary.together.levels if level is not None)):
        whole = list(summary.outcomes) if level is None else at_level(summary.outcomes, level)
        name = "all" if level is None else f"level {level}"
        winners = [best.model for outcome in whole if (best := outcome.best) is not None]
        rows[name] = {model: winners.count(model) for model in summary.models}
        totals[name] = len(whole)
    swarm = summary.swarm
    gain = (
        f" The best of all is {swarm.geometric_mean:.2f}x eager (PyTorch kept where it is faster),"
        f" {swarm.gain:.2f} times the best single one, {swarm.best_single}."
        if swarm is not None
        else ""
    )
    return Shown(
        title="Who wins what",
        caption="Share of problems on which a model has the fastest accepted kernel; what is empty"
        f" nobody solved.{gain}",
        chart=charts.stacked_bars(rows, colours_of(summary), totals),
        head=("", *rows),
        table=tuple(
            (model, *(f"{counts[model]} of {totals[row]}" for row, counts in rows.items()))
            for model in summary.models
        ),
    )


def _contexts(summary: Summary) -> Shown | None:
    if len(summary.contexts) < 2:
        return None
    names = list(summary.contexts)
    colours = {name: i for i, name in enumerate(names)}
    groups: dict[str, dict[str, float | None]] = {}
    for column, part in summary.columns.items():
        mean = part.overall.eager.geometric_mean
        groups.setdefault(column.model, {})[column.context] = mean
    if len(summary.models) > 1:
        parts = summary.contexts.items()
        groups[BEST] = {name: part.overall.eager.geometric_mean for name, part in parts}
    is_wide = len(groups) > 5
    ordered = {g: {name: s[name] for name in names if name in s} for g, s in groups.items()}
    return Shown(
        title="Context configurations side by side",
        caption="Geometric mean over all problems, failures counting as 1.0, by what the model was"
        " shown besides the problem.",
        chart=charts.grouped_bars(ordered, colours, WIDE if is_wide else NARROW),
        head=("", *names),
        table=tuple(
            (group, *(_times(series.get(name)) for name in names))
            for group, series in ordered.items()
        ),
        is_wide=is_wide,
    )


def _cost(summary: Summary) -> Shown | None:
    efforts = {name: part.overall for name, part in summary.models.items()}
    costs = {name: overall.effort.cost for name, overall in efforts.items()}
    dots = {name: (cost, efforts[name].correct) for name, cost in costs.items() if cost}
    if not dots:
        return None
    # As wide as its neighbour, so that neither stands beside nothing.
    is_wide = len(summary.contexts) > 1 and len(summary.models) > 4
    return Shown(
        title="Cost",
        caption="What all attempts of a model cost, failures included, and the share of problems it"
        " solved.",
        chart=charts.scatter(dots, colours_of(summary), WIDE if is_wide else NARROW),
        head=("", "in all", "per problem solved", "per win", "tokens read", "tokens written"),
        table=tuple(
            (
                name,
                _dollars(overall.effort.cost),
                _dollars(overall.effort.cost_per_solved),
                _dollars(overall.effort.cost_per_win),
                f"{overall.effort.input_tokens:,}",
                f"{overall.effort.output_tokens:,}",
            )
            for name, overall in efforts.items()
        ),
        is_wide=is_wide,
    )


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _dollars(value: float | None) -> str:
    return "" if value is None else f"${value:.2f}" if value >= 0.1 else f"${value:.4f}"

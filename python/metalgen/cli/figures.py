"""`metalgen figures`: what a kept run amounts to, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from metalgen.report import Summary
    from metalgen.report.figures import Figures, Speeds
    from metalgen.report.summary import Part
    from metalgen.report.swarm import BestOf


def figures(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its run.sqlite.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON and nothing else.")
    ] = False,
) -> None:
    """Print the figures of RUN: how many problems were solved, how fast, at what cost."""
    from metalgen.report import summarise
    from metalgen.runs import open_run

    with open_run(run) as records:
        summary = summarise(records)
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    else:
        print_summary(Console(), summary)


def print_summary(console: Console, summary: Summary) -> None:
    """All tables of a run, then the conditions they hold under."""
    parts: dict[str, Part] = {str(column): part for column, part in summary.columns.items()}
    if len(parts) > 1:
        parts["best of all"] = summary.together
    if not console.is_terminal:
        console.width = max(console.width, 200)  # whoever reads a pipe wants no broken lines
    console.print(_overview(parts))
    for title, table in (
        ("correct by attempt", _by_attempt(parts)),
        ("fast_p over eager", _fast({name: part.overall.eager for name, part in parts.items()})),
        ("over torch.compile", _compiled(parts)),
        ("by level", _levels(parts)),
        ("contexts, best of all models", _contexts(summary)),
        ("who wins what", _swarm(summary.swarm)),
        ("steps and cost", _costs(parts)),
    ):
        if table is not None and table.row_count:
            console.print(f"\n{title}", style="bold", highlight=False)
            console.print(table)
    conditions = "; ".join(f"{name}: {text}" for name, text in summary.conditions.items())
    legend = (
        "geo. mean, median: over eager, failures at 1.0; fallback: what is slower at 1.0 too;"
        " faster, win: than eager"
    )
    shares = summary.together.overall.pass_at_k
    draws = [f"pass@{k} {_percent(share)}" for k, share in enumerate(shares, start=1)]
    jobs = f"of k jobs drawn on each problem one solves it: {', '.join(draws)}"
    told = [legend, *([jobs] if len(draws) > 1 else [])]
    for line in ("", *told, *summary.asides, f"measured on {conditions}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(*names: str) -> Table:
    table = Table(show_edge=False, box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
    return table


def _overview(parts: Mapping[str, Part]) -> Table:
    table = _table("", "solved", "faster", "geo. mean", "of correct", "fallback", "median")
    for name, part in parts.items():
        overall = part.overall
        table.add_row(
            escape(name),
            f"{overall.solved} of {overall.problems}",
            str(overall.wins),
            _times(overall.eager.geometric_mean),
            _times(overall.eager.geometric_mean_correct),
            _times(overall.eager.geometric_mean_fallback),
            _times(overall.eager.median),
        )
    return table


def _costs(parts: Mapping[str, Part]) -> Table:
    table = _table("", "Metal", "ATen", "attempts", "cost", "per solved", "per win")
    for name, part in parts.items():
        overall = part.overall
        table.add_row(
            escape(name),
            _percent(overall.steps.metal),
            _percent(overall.steps.aten),
            str(overall.effort.attempts),
            _dollars(overall.effort.cost) or "unknown",
            _dollars(overall.effort.cost_per_solved),
            _dollars(overall.effort.cost_per_win),
        )
    return table


def _by_attempt(parts: Mapping[str, Part]) -> Table | None:
    most = max((len(part.overall.correct_by_attempt) for part in parts.values()), default=0)
    if not most:
        return None
    table = _table("", *map(str, range(1, most + 1)))
    for name, part in parts.items():
        shares = part.overall.correct_by_attempt
        # Who needed fewer attempts has as many correct after any later one.
        filled = [shares[min(k, len(shares) - 1)] if shares else 0.0 for k in range(most)]
        table.add_row(escape(name), *map(_percent, filled))
    return table


def _fast(speeds: Mapping[str, Speeds]) -> Table:
    from metalgen.report.figures import FAST_P

    table = _table("p", *(f"{p:g}" for p in FAST_P))
    for name, each in speeds.items():
        table.add_row(escape(name), *(_percent(each.fast[p]) for p in FAST_P))
    return table


def _compiled(parts: Mapping[str, Part]) -> Table:
    table = _table("", "geo. mean", "of correct", "fast_1", "fast_2", "problems")
    for name, part in parts.items():
        speeds = part.overall.compiled
        if speeds is not None:
            table.add_row(
                escape(name),
                _times(speeds.geometric_mean),
                _times(speeds.geometric_mean_correct),
                _percent(speeds.fast[1.0]),
                _percent(speeds.fast[2.0]),
                str(speeds.problems),
            )
    return table


def _levels(parts: Mapping[str, Part]) -> Table:
    table = _table("", "level", "solved", "faster", "geo. mean", "of correct", "per win")
    for name, part in parts.items():
        for level, each in part.levels.items():
            if level is not None:
                table.add_row(escape(name), str(level), *_level_cells(each))
    return table


def _level_cells(each: Figures) -> list[str]:
    return [
        f"{each.solved} of {each.problems}",
        str(each.wins),
        _times(each.eager.geometric_mean),
        _times(each.eager.geometric_mean_correct),
        _dollars(each.effort.cost_per_win),
    ]


def _contexts(summary: Summary) -> Table:
    table = _table("", "solved", "faster", "geo. mean", "of correct", "cost")
    for context, part in summary.contexts.items() if len(summary.contexts) > 1 else ():
        overall = part.overall
        table.add_row(
            escape(context),
            str(overall.solved),
            str(overall.wins),
            _times(overall.eager.geometric_mean),
            _times(overall.eager.geometric_mean_correct),
            _dollars(overall.effort.cost) or "unknown",
        )
    return table


def _swarm(swarm: BestOf | None) -> Table | None:
    if swarm is None:
        return None
    table = _table("", "fastest on", "share", "alone on", "cost")
    for share in swarm.shares:
        table.add_row(
            escape(str(share.column)),
            str(share.best),
            _percent(share.share),
            str(share.alone),
            _dollars(share.cost) or "unknown",
        )
    gain = f"{swarm.gain:.2f} times {swarm.best_single} alone"
    table.caption = escape(f"best of all: {swarm.geometric_mean:.2f}x eager, {gain}")
    return table


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}%"


def _dollars(value: float | None) -> str:
    if value is None:
        return ""
    return f"${value:.2f}" if value >= 0.01 or not value else f"${value:.4f}"

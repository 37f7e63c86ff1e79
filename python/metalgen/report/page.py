"""`report.html`: a whole run in one file that needs nothing else, neither network nor server.

Problems' pages are kept compressed in the file and unfolded when they are opened: a study has tens
of thousands of attempts. What models wrote is untrusted: templates escape it, and the page's
content security policy allows the one script that it brings along and no other address.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from metalgen.report.figures import FAST_P
from metalgen.report.outcomes import Column, Outcome, column_of
from metalgen.report.problems import ProblemView, view_of
from metalgen.report.study import BEST, NOBODY, charts_of, colours_of
from metalgen.report.summary import Summary, summarise
from metalgen.resources import templates
from metalgen.runs import AttemptRow, JobRow, RunRecords
from metalgen.templating import environment


@dataclass(frozen=True, slots=True)
class Packed:
    """A problem's page as it lies in the file."""

    id: str
    view: ProblemView
    content: str


def render(records: RunRecords, summary: Summary | None = None) -> str:
    """The page of a run, which may be far from ended."""
    summary = summary or summarise(records)
    environment = _environment()
    links = {row.name: f"#p{i}" for i, row in enumerate(summary.problems)}
    problems = [
        Packed(links[view.row.name][1:], view, _packed(environment, view, summary))
        for view in _views(records, summary)
    ]
    folder = templates() / "report"
    script = (folder / "script.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        summary=summary,
        charts=charts_of(summary, links),
        problems=problems,
        columns=list(summary.columns),
        best_name=BEST,
        nobody=NOBODY,
        thresholds=FAST_P,
        # Files of this package, not of anyone else.
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _environment() -> jinja2.Environment:
    found = environment("report", html=True)
    found.filters |= {
        "times": lambda value: "–" if value is None else f"{value:.2f}×",
        "percent": lambda value: "–" if value is None else f"{100 * value:.0f}%",
        "dollars": _dollars,
        "duration": _duration,
        "microseconds": _microseconds,
        "moment": lambda seconds: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds)),
    }
    return found


def _views(records: RunRecords, summary: Summary) -> Iterator[ProblemView]:
    jobs: dict[str, dict[Column, JobRow]] = {}
    for row in records.jobs():
        jobs.setdefault(row.job.problem, {})[column_of(row.job)] = row
    attempts: dict[str, list[AttemptRow]] = {}
    for attempt in summary.attempts:
        attempts.setdefault(attempt.problem, []).append(attempt)
    for problem in summary.problems:
        outcome = Outcome(problem, tuple(attempts.get(problem.name, ())))
        control = None
        if problem.name in summary.controls:
            control = summary.controls[problem.name] or "the outputs do not depend on the inputs"
        yield view_of(records, outcome, jobs.get(problem.name, {}), control)


def _packed(environment: jinja2.Environment, view: ProblemView, summary: Summary) -> str:
    markup = environment.get_template("problem.html.j2").render(
        view=view, colours=colours_of(summary)
    )
    # No time of making in it: the same run gives the same page.
    return base64.b64encode(gzip.compress(markup.encode(), mtime=0)).decode()


def _dollars(value: float | None) -> str:
    return (
        "–" if value is None else f"${value:,.2f}" if value >= 0.1 or not value else f"${value:.4f}"
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _microseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.1f} µs"

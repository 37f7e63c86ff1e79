"""A problem's page: what was asked, every attempt with what changed, the final kernel, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

from metalgen.errors import RunError
from metalgen.report.code import difference, highlighted, kernel_in, plan_in, shortened
from metalgen.report.outcomes import Column, Outcome, column_of
from metalgen.runs import AttemptRow, JobRow, ProblemRow, RunRecords

_PROFILE = ("profile-", "profile/")
_PICTURES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a profile, in the page itself."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class AttemptView:
    """An attempt and what its page shows of it."""

    row: AttemptRow
    change: Markup | None  # from the job's attempt before
    kernel: Markup | None
    plan: Markup | None
    pictures: tuple[Picture, ...]
    profile: str | None  # in words

    @property
    def evidence(self) -> str:
        """What it was right on."""
        cases = self.row.details.get("cases") or ()
        return f"right on {len(cases)} cases: {', '.join(map(str, cases))}" if cases else ""


@dataclass(frozen=True, slots=True)
class JobView:
    """One column's attempts on the problem; `reason` says why it ended, where something did."""

    column: Column
    attempts: tuple[AttemptView, ...]
    best: AttemptRow | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ProblemView:
    """A problem with everything that was done on it."""

    row: ProblemRow
    control: str | None
    source: Markup
    jobs: tuple[JobView, ...]
    best: AttemptRow | None
    final: AttemptView | None

    @property
    def state(self) -> str:
        """What became of it, in a word: a class of the style sheet too."""
        if self.row.failure is not None:
            return "unopened"
        if self.control is not None:
            return "control"
        if self.best is None:
            return "failed" if any(job.attempts for job in self.jobs) else "untried"
        return "faster" if (self.best.speedup or 0.0) > 1.0 else "slower"

    @property
    def prompt(self) -> str:
        """What the first model was asked first."""
        prompts = (a.row.prompt for job in self.jobs for a in job.attempts if a.row.prompt)
        return next(prompts, "")


def view_of(
    records: RunRecords, outcome: Outcome, jobs: Mapping[Column, JobRow], control: str | None
) -> ProblemView:
    """A problem's page from its attempts, of all columns."""
    by_column: dict[Column, list[AttemptRow]] = {column: [] for column in jobs}
    for attempt in outcome.attempts:
        by_column.setdefault(column_of(attempt), []).append(attempt)
    views = tuple(
        _job(records, column, tuple(attempts), jobs.get(column))
        for column, attempts in by_column.items()
    )
    best = outcome.best
    final = next((a for job in views for a in job.attempts if a.row is best), None)
    return ProblemView(
        row=outcome.problem,
        control=control,
        source=highlighted(outcome.problem.source, "python"),
        jobs=views,
        best=best,
        final=final,
    )


def _job(
    records: RunRecords, column: Column, attempts: tuple[AttemptRow, ...], job: JobRow | None
) -> JobView:
    views, before = [], ""
    for attempt in sorted(attempts, key=lambda attempt: attempt.number):
        kernel = _text(records, attempt, "kernels.metal") or kernel_in(attempt.reply) or ""
        plan = _text(records, attempt, "plan.json") or plan_in(attempt.reply)
        views.append(
            AttemptView(
                row=attempt,
                change=difference(before, kernel) if before and kernel else None,
                kernel=_shown(kernel, attempt) if kernel else None,
                plan=escape(shortened(plan)) if plan else None,
                pictures=tuple(_pictures(records, attempt)),
                profile=_text(records, attempt, "profile.txt"),
            )
        )
        before = kernel or before
    best = Outcome(ProblemRow("", "", ""), attempts).best
    return JobView(column, tuple(views), best, job.reason if job is not None else None)


def _shown(kernel: str, attempt: AttemptRow) -> Markup:
    """Colours for those that are worth reading: a study has thousands of others."""
    return highlighted(kernel, "metal") if attempt.is_accepted else escape(shortened(kernel))


def _text(records: RunRecords, attempt: AttemptRow, name: str) -> str | None:
    if name not in attempt.artefacts:
        return None
    try:
        return records.artefact(attempt.artefacts[name]).decode("utf-8", "replace")
    except RunError:
        return None  # the reply still says what it was


def _pictures(records: RunRecords, attempt: AttemptRow) -> list[Picture]:
    """Those of its profile, as data in the page."""
    found = []
    for name, sha256 in sorted(attempt.artefacts.items()):
        kind = next((k for ending, k in _PICTURES.items() if name.endswith(ending)), None)
        if kind is None or not name.startswith(_PROFILE):
            continue
        try:
            content = base64.b64encode(records.artefact(sha256)).decode()
        except RunError:
            continue
        title = name[len("profile-") :].rsplit(".", 1)[0]
        found.append(Picture(title, f"data:{kind};base64,{content}"))
    return found

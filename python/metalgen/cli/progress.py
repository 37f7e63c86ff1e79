"""How the command line shows a study: live on a terminal, one line per event elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.problem import NumberSpec, Problem
from metalgen.proposers import Accepted, Verdict
from metalgen.runs import AttemptRow, Job

STEPS = {
    "load": "loading the problem",
    "compile": "compiling",
    "reference": "computing what PyTorch gives",
    "translate": "translating for the device",
    "launch": "running",
    "compare": "comparing",
    "time": "timing against eager",
    "baseline": "compiling with torch.compile",
    "wait": "waiting for others' timing",
    "profile": "profiling",
}


def time_text(microseconds: float) -> str:
    """A time with a unit that suits it."""
    if microseconds < 1000:
        return f"{microseconds:.1f} us"
    return f"{microseconds / 1000:.2f} ms" if microseconds < 1e6 else f"{microseconds / 1e6:.2f} s"


def verdict_text(verdict: Verdict) -> str:
    """A verdict in one line or, for compilers' diagnostics, several."""
    if isinstance(verdict, Accepted):
        return (
            f"accepted: {time_text(verdict.candidate_us)} against eager's"
            f" {time_text(verdict.eager_us)} ({verdict.speedup:.2f}x)"
        )
    return f"rejected at {verdict.stage}: {verdict.reason}"


def problem_text(problem: Problem) -> str:
    """A problem's name and what goes in and out."""
    inputs = ", ".join(
        f"{each.name}={each.value}"
        if isinstance(each, NumberSpec)
        else f"{each.name} {each.dtype}{list(each.shape)}"
        for each in problem.inputs
    )
    outputs = ", ".join(f"{each.dtype}{list(each.shape)}" for each in problem.outputs)
    return f"{problem.name}: {inputs} -> {outputs}; {len(problem.parameters)} parameters"


class LineReport:
    """One line per event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._problems = 1
        self._contexts = 1

    def began(self, jobs: Sequence[Job], kept: Sequence[AttemptRow]) -> None:
        """Say how much there is to do."""
        self._problems = len({job.problem for job in jobs})
        self._contexts = len({job.context for job in jobs})
        if kept:
            self._line(f"going on after {len(kept)} attempts")
        if self._problems > 1:
            self._line(f"{self._problems} problems, {len(jobs)} jobs")

    def opened(self, name: str, problem: Problem) -> None:
        """Name the problem."""
        self._line(problem_text(problem))
        for note in problem.notes:
            self._line(f"note: {note}")

    def failed(self, name: str, reason: str) -> None:
        """Say why a problem cannot be used; where there is no other, the command does."""
        if self._problems > 1:
            self._line(f"{name}: {reason}")

    def proposing(self, job: Job, attempt: int, attempts: int) -> None:
        """Say who is asked."""
        self._line(f"{self.label(job)}: attempt {attempt} of {attempts}")

    def step(self, job: Job, step: str, detail: str) -> None:
        """Steps are for those who watch."""

    def judged(self, job: Job, record: AttemptRecord) -> None:
        """Give the verdict."""
        self._line(f"{self.label(job)}: {verdict_text(record.verdict)}")

    def stopped(self, job: Job, stopped: Stopped) -> None:
        """Say why a model stopped."""
        self._line(f"{self.label(job)}: stopped: {stopped.reason}")

    def finished(self, job: Job) -> None:
        """The verdicts have said it."""

    def label(self, job: Job) -> str:
        """A job by what tells it from the others."""
        problem = f"{job.problem}, " if self._problems > 1 else ""
        context = f" ({job.context})" if self._contexts > 1 else ""
        return f"{problem}{job.model}{context}"

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveReport(LineReport):
    """The same lines with a status below them that says what is happening now: for one job."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._status: Status = console.status("starting")
        self._who = ""

    def __enter__(self) -> LiveReport:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def proposing(self, job: Job, attempt: int, attempts: int) -> None:
        """Show who is asked."""
        self._who = f"{self.label(job)}, attempt {attempt} of {attempts}"
        self._status.update(f"{escape(self._who)}: proposing")

    def step(self, job: Job, step: str, detail: str) -> None:
        """Show the step."""
        what = STEPS.get(step, step) + (f" on {detail}" if detail else "")
        self._status.update(escape(f"{self._who}: {what}" if self._who else what))

    def judged(self, job: Job, record: AttemptRecord) -> None:
        """Give the verdict in colour."""
        colour = "green" if isinstance(record.verdict, Accepted) else "red"
        text = f"{self.label(job)}, attempt {record.number}: {verdict_text(record.verdict)}"
        self.console.print(text, style=colour, markup=False, highlight=False, soft_wrap=True)

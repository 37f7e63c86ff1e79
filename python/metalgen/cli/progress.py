"""How the command line shows a run: live on a terminal, one line per event elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.problem import NumberSpec, Problem
from metalgen.proposers import Accepted, Verdict

_STEPS = {
    "load": "loading the problem",
    "compile": "compiling",
    "reference": "computing what PyTorch gives",
    "translate": "translating for the device",
    "launch": "running",
    "compare": "comparing",
    "time": "timing against eager",
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

    def opened(self, problem: Problem) -> None:
        """Name the problem."""
        self._line(problem_text(problem))
        for note in problem.notes:
            self._line(f"note: {note}")

    def proposing(self, model: str, attempt: int, attempts: int) -> None:
        """Say who is asked."""
        self._line(f"{model}: attempt {attempt} of {attempts}")

    def step(self, step: str, detail: str) -> None:
        """Steps are for those who watch."""

    def judged(self, record: AttemptRecord) -> None:
        """Give the verdict."""
        self._line(f"{record.model}: {verdict_text(record.verdict)}")

    def stopped(self, stopped: Stopped) -> None:
        """Say why a model stopped."""
        self._line(f"{stopped.model}: stopped: {stopped.reason}")

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveReport(LineReport):
    """The same lines with a status below them that says what is happening now."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._status: Status = console.status("starting")
        self._who = ""

    def __enter__(self) -> LiveReport:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def proposing(self, model: str, attempt: int, attempts: int) -> None:
        """Show who is asked."""
        self._who = f"{model}, attempt {attempt} of {attempts}"
        self._status.update(f"{escape(self._who)}: proposing")

    def step(self, step: str, detail: str) -> None:
        """Show the step."""
        what = _STEPS.get(step, step) + (f" on {detail}" if detail else "")
        self._status.update(escape(f"{self._who}: {what}" if self._who else what))

    def judged(self, record: AttemptRecord) -> None:
        """Give the verdict in colour."""
        colour = "green" if isinstance(record.verdict, Accepted) else "red"
        text = f"{record.model}, attempt {record.number}: {verdict_text(record.verdict)}"
        self.console.print(text, style=colour, markup=False, highlight=False, soft_wrap=True)

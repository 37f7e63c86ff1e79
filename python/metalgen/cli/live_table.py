"""A live table of a study: problems × models, with stage, attempt, tokens and cost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metalgen.cli.progress import STEPS
from metalgen.generation.budget import Spent
from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.problem import Problem
from metalgen.proposers import Accepted
from metalgen.runs import AttemptRow, Job

_FIGURES_FROM = 18  # columns of a cell in which tokens and cost are legible
_LINES_BESIDE = 8  # of the terminal: heading, totals, what scrolls above


@dataclass
class _Cell:
    """How one job stands."""

    state: Literal["waiting", "working", "done"] = "waiting"
    attempt: int = 0
    of: int = 0
    stage: str = ""
    best: float | None = None  # over eager
    outcome: str = ""
    spent: Spent = field(default_factory=Spent)

    def text(self, with_figures: bool) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        if self.state == "working":
            text.append(f"{self.attempt}/{self.of} {self.stage}", "yellow")
        elif self.best is not None:
            text.append(f"{self.best:.2f}x", "green")
            text.append(f" in {self.attempt}", "dim")
        elif self.state == "done":
            text.append(self.outcome or "no candidate", "red")
        if with_figures and not self.spent.is_free:
            text.append(f"\n{figures_text(self.spent)}", "dim")
        return text


def figures_text(spent: Spent) -> str:
    """Tokens and cost in little room."""
    tokens = "? tokens" if spent.tokens is None else f"{spent.tokens / 1000:.1f}k"
    cost = "$?" if spent.cost is None else f"${spent.cost:.3f}"
    return f"{tokens} {cost}"


class LiveTable:
    """Shows the table while a study runs; the problems under way, as many as the terminal holds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._cells: dict[Job, _Cell] = {}
        self._is_over = False
        self._turn = threading.Lock()  # steps come from other threads
        self._live = Live(console=console, get_renderable=self.table, refresh_per_second=4)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True  # what stays on the screen is the whole table
        self._live.stop()

    def began(self, jobs: Sequence[Job], kept: Sequence[AttemptRow]) -> None:
        """Lay the table out."""
        with self._turn:
            self._cells = {job: _Cell() for job in jobs}
            for row in kept:
                cell = self._cells[row.job]
                cell.state, cell.attempt = "done", row.number
                cell.spent = cell.spent.plus(Spent(row.input_tokens, row.output_tokens, row.cost))
                cell.outcome = row.stage or cell.outcome
                cell.best = max(cell.best or 0.0, row.speedup) if row.speedup else cell.best

    def opened(self, name: str, problem: Problem) -> None:
        """Nothing to show yet."""

    def failed(self, name: str, reason: str) -> None:
        """Say above the table why a problem cannot be used."""
        with self._turn:
            for job, cell in self._cells.items():
                if job.problem == name:
                    cell.state, cell.outcome = "done", "unusable"
        self._say(f"{name}: {reason}")

    def proposing(self, job: Job, attempt: int, attempts: int) -> None:
        """A model is thinking."""
        with self._turn:
            cell = self._cells[job]
            cell.state, cell.attempt, cell.of = "working", attempt, attempts
            cell.stage = "proposing"

    def step(self, job: Job, step: str, detail: str) -> None:
        """A candidate is being judged."""
        with self._turn:
            if job in self._cells:
                self._cells[job].stage = STEPS.get(step, step)

    def judged(self, job: Job, record: AttemptRecord) -> None:
        """An attempt has its verdict."""
        with self._turn:
            cell = self._cells[job]
            cell.spent = cell.spent.plus(Spent.on([record.reply]))
            if isinstance(record.verdict, Accepted):
                cell.best = max(cell.best or 0.0, record.verdict.speedup)
            else:
                cell.outcome = record.verdict.stage

    def stopped(self, job: Job, stopped: Stopped) -> None:
        """Say above the table why a model stopped."""
        with self._turn:
            self._cells[job].outcome = "stopped"
        self._say(f"{job.problem}, {job.model}: stopped: {stopped.reason}")

    def finished(self, job: Job) -> None:
        """A job is done."""
        with self._turn:
            self._cells[job].state = "done"

    def table(self) -> Table:
        """The table as it stands."""
        with self._turn:
            columns = list(dict.fromkeys((job.model, job.context) for job in self._cells))
            with_figures = self.console.width // (len(columns) + 1) >= _FIGURES_FROM
            table = Table(show_edge=False, expand=False)
            table.add_column("problem", no_wrap=True, overflow="ellipsis")
            for model, context in columns:
                table.add_column(
                    Text(model if context == "plain" else f"{model} {context}"),
                    footer=Text(self._total(model, context)),
                    no_wrap=True,
                    overflow="ellipsis",
                )
            table.show_footer = True
            table.columns[0].footer = self._progress()
            for problem in self._shown(lines=2 if with_figures else 1):
                cells = [self._cells.get(Job(problem, *column)) for column in columns]
                texts = [Text() if cell is None else cell.text(with_figures) for cell in cells]
                table.add_row(Text(problem), *texts)
            return table

    def _shown(self, lines: int) -> list[str]:
        """The problems that the terminal has room for: under way first, then the last done."""
        problems = list(dict.fromkeys(job.problem for job in self._cells))
        room = max(3, (self.console.height - _LINES_BESIDE) // lines)
        if self._is_over or len(problems) <= room:
            return problems
        rank = {"working": 0, "done": 1, "waiting": 2}
        best = dict.fromkeys(problems, 2)
        for job, cell in self._cells.items():
            best[job.problem] = min(best[job.problem], rank[cell.state])
        places = {problem: i for i, problem in enumerate(problems)}
        # Of those that are done the last come first: what just happened is of interest.
        order = sorted(problems, key=lambda p: (best[p], -places[p] if best[p] == 1 else places[p]))
        return sorted(order[:room], key=places.__getitem__)

    def _progress(self) -> str:
        done = sum(cell.state == "done" for cell in self._cells.values())
        return f"{done} of {len(self._cells)} jobs"

    def _total(self, model: str, context: str) -> str:
        cells = [c for j, c in self._cells.items() if (j.model, j.context) == (model, context)]
        solved = sum(cell.best is not None for cell in cells)
        spent = Spent()
        for cell in cells:
            spent = spent.plus(cell.spent)
        return f"{solved} solved" + ("" if spent.is_free else f"\n{figures_text(spent)}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

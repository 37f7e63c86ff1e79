"""A study as the command line runs it: begun, continued or replayed, shown, and summed up."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metalgen.cli.failure import Status
from metalgen.cli.live_table import LiveTable, figures_text
from metalgen.cli.progress import LineReport, LiveReport, verdict_text
from metalgen.generation.budget import Spent

if TYPE_CHECKING:
    from metalgen.generation import Means, Report, Result, Settings, Task
    from metalgen.generation.replay import Replay
    from metalgen.generation.result import Stopped
    from metalgen.proposers import Proposer
    from metalgen.runs import RunStore


def free_folder(wanted: Path) -> Path:
    """`wanted`, or with a number behind it the first that holds no run yet."""
    folder, number = wanted, 1
    while any((folder / name).exists() for name in ("run.sqlite", "attempts.jsonl", "best")):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


@dataclass(frozen=True, slots=True)
class Sitting:
    """One go at a study, in front of a user; each method gives the exit status."""

    means: Means
    as_json: bool

    def begin(self, tasks: Sequence[Task], settings: Settings, out: Path) -> Status:
        """A new run in `out`."""
        from metalgen.errors import ProblemError
        from metalgen.generation import begin
        from metalgen.generation.study import proposers_of

        proposers = proposers_of(settings)
        with begin(tasks, settings, proposers, out, command=sys.argv[1:]) as store:
            try:
                return self._conduct(store, settings, proposers)
            except ProblemError:
                store.discard_if_unpaid()
                raise

    def resume(self, run: Path, settings_after: Any) -> Status:
        """A kept run, gone on with; `settings_after` changes the kept settings."""
        from metalgen.errors import RunError
        from metalgen.generation import Settings
        from metalgen.generation.study import proposers_of
        from metalgen.runs import RunStore

        with RunStore.resume(run) as store:
            settings = settings_after(Settings.from_json(store.info.settings))
            if settings.replay_of is not None:
                raise RunError(
                    f"run '{run}' is a replay, whose models are not asked; replay again instead"
                )
            proposers = proposers_of(settings)
            store.update(settings=settings.to_json())
            return self._conduct(store, settings, proposers)

    def replay(self, run: Path, out: Path | None, judge_again: bool) -> Status:
        """A kept run, done again from its answers."""
        from metalgen.generation.replay import Replay, begin_replay
        from metalgen.runs import open_run

        with open_run(run) as earlier:
            replay = Replay(earlier, judge_again)
            folder = out or free_folder(Path("runs") / f"{earlier.folder.absolute().name}-replay")
            store, settings, proposers = begin_replay(replay, folder, command=sys.argv[1:])
            with store:
                return self._conduct(store, settings, proposers, replay)

    def _conduct(
        self,
        store: RunStore,
        settings: Settings,
        proposers: Mapping[str, Proposer],
        replay: Replay | None = None,
    ) -> Status:
        from metalgen.generation import conduct

        console = Console(soft_wrap=True)
        report, shown = self._report(console, len(store.jobs()))
        with shown:
            means = replace(self.means, report=report)
            stopped = conduct(store, settings, proposers, means, replay=replay)
        return self._sum_up(console, store, settings, stopped)

    def _report(self, console: Console, jobs: int) -> tuple[Report, AbstractContextManager[object]]:
        from metalgen.generation import Silent

        if self.as_json:
            # Problem files and libraries may print; only the result may reach stdout.
            return Silent(), redirect_stdout(sys.stderr)
        if not console.is_terminal:
            return LineReport(console), nullcontext()
        live = LiveReport(console) if jobs == 1 else LiveTable(Console())
        return live, live

    def _sum_up(
        self, console: Console, store: RunStore, settings: Settings, stopped: Sequence[Stopped]
    ) -> Status:
        from metalgen.generation.loop import result_of

        if settings.is_nested:
            self._tell_figures(store)
        else:
            (problem,) = store.problems()
            result = result_of(store, problem.name, stopped)
            if self.as_json:
                print(json.dumps(result.to_json(), indent=2))
            else:
                _tell_result(console, result, store)
        if any(attempt.is_accepted for attempt in store.attempts()):
            return Status.OK
        if stopped and all(each.is_provider_error for each in stopped):
            return Status.SERVICE_FAILED
        return Status.REFUSED

    def _tell_figures(self, store: RunStore) -> None:
        from metalgen.cli.figures import print_summary
        from metalgen.report import summarise

        summary = summarise(store)
        if self.as_json:
            rows = [_outcome(store, row.name) for row in store.problems()]
            kept = {"directory": str(store.folder), "rows": rows}
            print(json.dumps({**summary.to_json(), **kept}, indent=2))
            return
        console = Console()
        print_summary(console, summary)
        _tell_ending(console, store)


def _outcome(store: RunStore, problem: str) -> dict[str, Any]:
    """One problem in few words: who was fastest, or why nobody was."""
    row = next(row for row in store.problems() if row.name == problem)
    attempts = store.attempts_at(problem)
    accepted = [attempt for attempt in attempts if attempt.is_accepted]
    best = max(accepted, key=lambda attempt: attempt.speedup or 0.0, default=None)
    last = attempts[-1] if attempts else None
    rejected = None if last is None or last.is_accepted else f"{last.stage}: {last.reason}"
    stopped = next((j.reason for j in store.jobs() if j.job.problem == problem and j.reason), None)
    return {
        "problem": problem,
        "accepted": best is not None,
        "attempts": len(attempts),
        "model": None if best is None else best.model,
        "speedup": None if best is None else best.speedup,
        "candidate_us": None if best is None else best.candidate_us,
        "eager_us": None if best is None else best.eager_us,
        "reason": None if best is not None else row.failure or rejected or stopped,
        "control": row.is_control or any(attempt.is_control for attempt in attempts),
    }


def _tell_result(console: Console, result: Result, store: RunStore) -> None:
    lines = [""]
    if result.best is None:
        lines.append(f"no candidate was accepted in {len(result.attempts)} attempts")
    else:
        best = result.best
        lines.append(
            f"{best.record.model}, attempt {best.record.number}: {verdict_text(best.verdict)}"
        )
        cases = best.record.details.get("cases", [])
        lines.append(f"right on {len(cases)} cases: {', '.join(cases)}")
        if best.verdict.aten_steps:
            lines.append(f"{best.verdict.aten_steps} steps are ATen operators, not kernels")
        lines += [f"note: {note}" for note in best.verdict.notes]
    if not result.spent.is_free:
        lines.append(f"spent {result.spent}")
    device = result.device
    lines.append(
        f"measured on {device['name']}, {device['host']}, torch {device['torch']}"
        f" ({device['torch_threads']} threads), Python {device['python']}"
    )
    for line in lines:
        _say(console, line)
    if len(store.jobs()) > 1:
        console.print(_standing(store))
    _tell_ending(console, store)


def _standing(store: RunStore) -> Table:
    """Every job of one problem beside the others: a swarm's members."""
    table = Table(show_edge=False)
    table.add_column("model")
    for name in ("context", "attempts", "over eager", "spent"):
        table.add_column(name, justify="right")
    for row in store.jobs():
        attempts = store.attempts(row.job)
        speeds = [attempt.speedup for attempt in attempts if attempt.speedup is not None]
        spent = Spent()
        for attempt in attempts:
            spent = spent.plus(Spent(attempt.input_tokens, attempt.output_tokens, attempt.cost))
        table.add_row(
            escape(row.job.model),
            row.job.context,
            str(len(attempts)),
            f"{max(speeds):.2f}x" if speeds else "",
            "" if spent.is_free else figures_text(spent),
        )
    return table


def _tell_ending(console: Console, store: RunStore) -> None:
    _say(console, f"kept in {store.folder}")
    if any(row.state == "stopped" for row in store.jobs()):
        _say(console, f"not finished; to go on: metalgen resume {store.folder}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)

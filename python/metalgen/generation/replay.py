"""A run done again from what is kept of an earlier one: its answers, verdicts and hints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metalgen.errors import RunError
from metalgen.generation.budget import Budget
from metalgen.generation.candidate import Candidate
from metalgen.generation.evaluator import Evaluation
from metalgen.generation.rows import METALLIB, PLAN, SOURCE, plan_text, verdict_of
from metalgen.generation.study import Settings, prompts_of
from metalgen.proposers import Proposer
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.prompts import Prompts
from metalgen.proposers.scripted import ScriptedProposer
from metalgen.runs import AttemptRow, CallRow, Job, JobRow, RunStore, StoredRun
from metalgen.runs.reading import sha256

_OF_CANDIDATES = frozenset((SOURCE, PLAN, METALLIB))


@dataclass
class Replay:
    """An earlier run that answers in place of models, and of evaluators unless `judge_again`."""

    run: StoredRun
    judge_again: bool = False
    _attempts: dict[Job, tuple[AttemptRow, ...]] = field(default_factory=dict)

    def attempt(self, job: Job, number: int) -> AttemptRow | None:
        """What the earlier run has at that place."""
        if job not in self._attempts:
            self._attempts[job] = self.run.attempts(job)
        kept = self._attempts[job]
        return kept[number - 1] if number <= len(kept) else None

    def answer(self, job: Job, request: str, number: int) -> CallRow | None:
        """The earlier answer to the same request.

        Where candidates are judged again, times and reasons in later requests differ: then it is
        the earlier answer in the same place.
        """
        same = self.run.answer(job, request)
        if same is not None or not self.judge_again:
            return same
        answered = [
            call
            for call in self.run.calls(job)
            if call.purpose == "proposal" and call.reply is not None
        ]
        return answered[number - 1] if number <= len(answered) else None

    def evaluation(self, job: Job, number: int, candidate: Candidate) -> Evaluation | None:
        """The earlier verdict on the same candidate in the same place; None: judge it here."""
        row = self.attempt(job, number)
        if self.judge_again or row is None or not _is_of(row, candidate):
            return None
        metallib = row.artefacts.get(METALLIB)
        return Evaluation(
            verdict=verdict_of(row),
            metallib=b"" if metallib is None else self.run.artefact(metallib),
            details=row.details,
            is_control=row.is_control,
        )

    def timed(self, row: AttemptRow) -> AttemptRow:
        """The same attempt at the time when it was made, unless it was judged now."""
        kept = self.attempt(row.job, row.number)
        if kept is None or self.judge_again:
            return row
        return replace(
            row, started=kept.started, call_seconds=kept.call_seconds, seconds=kept.seconds
        )

    def told(self, row: AttemptRow) -> tuple[AttemptRow, Mapping[str, bytes]]:
        """The attempt with what its author was told then, and the files of that."""
        kept = self.attempt(row.job, row.number)
        if kept is None:
            return row, {}
        more = {name: d for name, d in kept.artefacts.items() if name not in _OF_CANDIDATES}
        row = replace(
            row,
            hints=kept.hints,
            shared=kept.shared,
            input_tokens=kept.input_tokens,
            output_tokens=kept.output_tokens,
            cost=kept.cost,
        )
        return row, {name: self.run.artefact(digest) for name, digest in more.items()}

    def job(self, job: Job) -> JobRow:
        """How the earlier run's job began and ended."""
        found = self.run.job(job)
        if found is None:
            raise RunError(
                f"run '{self.run.folder}' has no job of {job.model} at '{job.problem}' "
                f"({job.context}): nothing to replay"
            )
        return found

    def departed(self, job: Job, number: int) -> RunError:
        """What to say where this run cannot go on as the earlier one did."""
        return RunError(
            f"run '{self.run.folder}' has no answer to what attempt {number} of {job.model} at "
            f"'{job.problem}' asks now: its prompts were others; replay with the templates and the "
            f"metalgen that it was made with, or with --judge-again"
        )


def begin_replay(
    replay: Replay, folder: Path | None, *, command: Sequence[str] = ()
) -> tuple[RunStore, Settings, dict[str, Proposer]]:
    """A new run that does an earlier one again: to be conducted with the replay; close it after.

    Raises RunError where `folder` holds a run already.
    """
    run = replay.run
    info = run.info
    settings = Settings.from_json(info.settings)
    again = replace(
        info,
        id=f"{info.id}-replay",
        started=info.started,
        ended=None,
        command=tuple(command),
        settings={**info.settings, "replay_of": info.id},
        device={} if replay.judge_again else info.device,
    )
    problems = run.problems()
    if replay.judge_again:
        problems = tuple(replace(problem, description=None) for problem in problems)
    store = RunStore.create(folder, again, problems, [row.job for row in run.jobs()])
    return store, replace(settings, budget=Budget()), _silent_proposers(settings, run)


def _silent_proposers(settings: Settings, run: StoredRun) -> dict[str, Proposer]:
    """Those of the earlier run, to word prompts; they are never asked and need no key."""
    jobs = {row.job.model: row.job for row in run.jobs()}
    words = prompts_of(settings)
    return {name: _silent(run, job, words) for name, job in jobs.items()}


def _silent(run: StoredRun, job: Job, words: Prompts) -> Proposer:
    requests = (run.artefact(call.request_sha256) for call in run.calls(job))
    first = next(requests, b"{}")
    # What a language model was sent names it; of several with one name it is the model's own.
    model = json.loads(first).get("model")
    if model is None:
        return ScriptedProposer((), job.model)
    return OpenAIProposer(model, prompts=words, needs_key=False)


def _is_of(row: AttemptRow, candidate: Candidate) -> bool:
    texts = {SOURCE: candidate.source, PLAN: plan_text(candidate)}
    return all(row.artefacts.get(n) == sha256(text.encode()) for n, text in texts.items())


def copy_call(call: CallRow, source: StoredRun, store: RunStore) -> None:
    """Keep an answered call of another run in this one, as it was."""
    request = source.artefact(call.request_sha256).decode()
    columns: dict[str, Any] = {
        "started": call.started,
        "seconds": call.seconds,
        "reply": call.reply,
        "error": call.error,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost": call.cost,
    }
    response = source.artefact(call.response_sha256).decode() if call.response_sha256 else ""
    store.answered(store.asked(call.job, call.purpose, request), response=response, **columns)

"""The attempt loop: propose, read, judge, keep, and show the proposer what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metalgen.errors import (
    MetalgenError,
    PlanError,
    ProposalError,
    ProviderError,
    UnsupportedError,
)
from metalgen.generation.budget import Budget, Spending
from metalgen.generation.candidate import Candidate, parse_reply
from metalgen.generation.evaluator import Evaluation, Evaluator
from metalgen.generation.keep import files_of
from metalgen.generation.record import RunDirectory
from metalgen.generation.report import Report, Silent
from metalgen.generation.result import AttemptRecord, Best, Result, Stopped
from metalgen.generation.sandbox import Limits
from metalgen.problem import Problem
from metalgen.problem.loaded import described
from metalgen.proposers import (
    Accepted,
    Proposer,
    Rejected,
    Reply,
    default_model,
    make_proposer,
)
from metalgen.proposers.prompts import Prompts


def generate(
    problem: Path | str,
    models: Sequence[str | Proposer] = (),
    attempts: int = 5,
    out: Path | str | None = None,
    *,
    base_url: str | None = None,
    allow_aten: bool = True,
    refine: bool = False,
    limits: Limits | None = None,
    device: str | None = None,
    prompts: Path | str | None = None,
    budget: Budget | None = None,
    report: Report | None = None,
) -> Result:
    """Have `models` write kernels for a problem file until one is right; keep the fastest.

    `models` are names (`builtin`, `scripted:PATH`, or what an OpenAI-compatible service at
    `base_url` calls them) or proposers; none means `builtin`, or OpenAI's where OPENAI_API_KEY is
    set. Each makes up to `attempts` attempts, every rejection being shown to it; it stops at its
    first accepted candidate unless `refine`. `out` keeps every attempt and the best candidate.
    `device` is where tensors lie ("mps", "cpu"); by default the Apple GPU where there is one.
    `prompts` is a folder with templates to use in place of metalgen's; `budget` ends the run early.

    Raises ProblemError for an unusable problem file, ProviderError where credentials are missing.
    """
    words = Prompts(None if prompts is None else Path(prompts))
    proposers = [_proposer(model, base_url, words) for model in models or [default_model()]]
    folder = None if out is None else Path(out)
    settings = Settings(attempts, allow_aten, refine, folder, Spending(budget))
    watched = report or Silent()
    where = device or default_device()
    with Evaluator(limits or Limits(), device=where, on_step=watched.step) as evaluator:
        return generate_with(evaluator, Path(problem), proposers, settings, watched)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run goes about its attempts; see `generate`."""

    attempts: int = 5
    allow_aten: bool = True
    refine: bool = False
    out: Path | None = None
    spending: Spending = field(default_factory=Spending)


def generate_with(
    evaluator: Evaluator,
    problem: Path,
    proposers: Sequence[Proposer],
    settings: Settings,
    report: Report,
) -> Result:
    """`generate` with an evaluator that is kept for other problems."""
    opened = evaluator.open(problem)
    report.opened(opened)
    directory = None if settings.out is None else RunDirectory(settings.out)
    run = _Run(opened, evaluator, report, directory, settings)
    if directory is not None:
        directory.begin()
    for proposer in proposers:
        run.ask(proposer)
    return run.result()


def _proposer(model: str | Proposer, base_url: str | None, prompts: Prompts) -> Proposer:
    if not isinstance(model, str):
        return model
    return make_proposer(model, base_url=base_url, prompts=prompts)


def _propose(proposer: Proposer, problem: Problem, history: Sequence[AttemptRecord]) -> Reply:
    """The proposer's reply; a proposer that breaks ends its own attempts, not the run."""
    try:
        return proposer.propose(problem, [record.attempt for record in history])
    except MetalgenError:
        raise
    except Exception as error:
        raise UnsupportedError(
            f"not supported: the proposer itself failed with {described(error)}"
        ) from error


def default_device() -> str:
    """The torch device whose tensors run kernels fastest here."""
    from metalgen.device import available

    return available()[0].tensors


@dataclass
class _Run:
    problem: Problem
    evaluator: Evaluator
    report: Report
    directory: RunDirectory | None
    settings: Settings
    records: list[AttemptRecord] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    best: Best | None = None

    def ask(self, proposer: Proposer) -> None:
        """One model's attempts."""
        history: list[AttemptRecord] = []
        for number in range(1, self.settings.attempts + 1):
            refusal = self.settings.spending.refusal(proposer)
            if refusal is not None:
                self._stop(proposer.name, refusal, is_provider_error=False)
                return
            self.report.proposing(proposer.name, number, self.settings.attempts)
            try:
                record = self.attempt(proposer, number, history)
            except (ProviderError, UnsupportedError) as error:
                self._stop(proposer.name, str(error), isinstance(error, ProviderError))
                return
            history.append(record)
            self.records.append(record)
            if self.directory is not None:
                self.directory.append(record.to_json())
            self.report.judged(record)
            if isinstance(record.verdict, Accepted) and not self.settings.refine:
                return

    def attempt(
        self, proposer: Proposer, number: int, history: Sequence[AttemptRecord]
    ) -> AttemptRecord:
        """One attempt, from the question to the verdict."""
        started = time.perf_counter()
        reply = Reply("")
        candidate: Candidate | None = None
        try:
            reply = _propose(proposer, self.problem, history)
            self.settings.spending.add(reply)
            candidate = parse_reply(reply.text)
            evaluation = self.evaluator.evaluate(
                self.problem, candidate, allow_aten=self.settings.allow_aten
            )
        except ProposalError as error:
            evaluation = Evaluation(Rejected("reply", str(error)))
        except PlanError as error:
            evaluation = Evaluation(Rejected("plan", str(error)))
        record = AttemptRecord(
            model=proposer.name,
            number=number,
            reply=reply,
            verdict=evaluation.verdict,
            seconds=time.perf_counter() - started,
            details=evaluation.details or {},
        )
        if candidate is not None:
            self._consider(record, candidate, evaluation)
        return record

    def _stop(self, model: str, reason: str, is_provider_error: bool) -> None:
        self.stopped.append(Stopped(model, reason, is_provider_error))
        if self.directory is not None:
            self.directory.append({"model": model, "stopped": reason})
        self.report.stopped(self.stopped[-1])

    def _consider(
        self, record: AttemptRecord, candidate: Candidate, evaluation: Evaluation
    ) -> None:
        """Keep the candidate if it is the fastest so far."""
        verdict = evaluation.verdict
        if not isinstance(verdict, Accepted):
            return
        if self.best is not None and self.best.verdict.speedup >= verdict.speedup:
            return
        self.best = Best(record, verdict, candidate, evaluation.metallib, evaluation.is_control)
        if self.directory is not None:
            records = [*self.records, record]
            self.directory.keep(files_of(self.best, self.problem, self.evaluator.device, records))

    def result(self) -> Result:
        """The run so far."""
        return Result(
            problem=self.problem,
            attempts=tuple(self.records),
            best=self.best,
            stopped=tuple(self.stopped),
            device=self.evaluator.device,
            directory=None if self.directory is None else self.directory.path,
        )

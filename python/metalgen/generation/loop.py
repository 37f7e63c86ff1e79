"""Studies from outside: begin one, go on with one; `generate` is a study of one problem."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metalgen.errors import ProblemError, RunError
from metalgen.generation.asking import Asking
from metalgen.generation.board import Workshop
from metalgen.generation.budget import Budget, Spending, Spent
from metalgen.generation.evaluators import Evaluators, LocalEvaluators
from metalgen.generation.replay import Replay
from metalgen.generation.report import Report, Silent
from metalgen.generation.result import Result, Stopped
from metalgen.generation.rows import best_of, record_of
from metalgen.generation.runner import StudyRun
from metalgen.generation.sandbox import Limits
from metalgen.generation.study import (
    Settings,
    Task,
    jobs_of,
    named_apart,
    prompts_of,
)
from metalgen.problem import Problem
from metalgen.problem.source import read_problem_file
from metalgen.proposers import Conversational, Proposer, default_model, make_proposer
from metalgen.proposers.blocking import run_blocking
from metalgen.runs import ProblemRow, RunInfo, RunStore
from metalgen.runs.database import FILE
from metalgen.runs.reading import sha256


class Interrupted(KeyboardInterrupt):
    """A study that the user interrupted; `folder` is where it can be continued, if it is kept."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__("interrupted")
        self.folder = folder


@dataclass(frozen=True, slots=True)
class Means:
    """What a study is done with, which may differ from sitting to sitting.

    `places`: candidates judged at once on this machine; `calls`: questions to one service at once;
    `scheduler`: a Dask scheduler whose workers judge instead.
    """

    places: int = 1
    calls: int = 8
    scheduler: str | None = None
    limits: Limits | None = None
    report: Report = field(default_factory=Silent)
    evaluators: Evaluators | None = None  # in place of those above; they stay open


def generate(
    problem: Path | str,
    models: Sequence[str | Proposer] = (),
    attempts: int = 5,
    out: Path | str | None = None,
    *,
    rounds: int = 0,
    contexts: Sequence[str] = ("plain",),
    share: bool = False,
    base_url: str | None = None,
    allow_aten: bool = True,
    limits: Limits | None = None,
    device: str | None = None,
    prompts: Path | str | None = None,
    chip: str | None = None,
    cuda: Path | str | None = None,
    hint_model: str | None = None,
    budget: Budget | None = None,
    report: Report | None = None,
) -> Result:
    """Have `models` write kernels for a problem file until one is right; keep the fastest.

    `models` are names (`builtin`, `scripted:PATH`, or what an OpenAI-compatible service at
    `base_url` calls them) or proposers; none means `builtin`, or OpenAI's where OPENAI_API_KEY is
    set. They work side by side, and with `share` are shown the best candidate so far. Each makes up
    to `attempts` attempts, every rejection being shown to it, until a candidate is accepted; then
    `rounds` more for a faster one. `contexts` are what they are given besides the problem: "plain",
    "cuda" (`cuda` is a folder of implementations), "profile", "cuda+profile"; each is tried.
    `out` keeps the run, which can be continued. `device` is where tensors lie ("mps", "cpu"); by
    default the Apple GPU where there is one. `prompts` is a folder with templates to use in place
    of metalgen's, `chip` the one that prompts describe; `budget` ends the run early.

    Raises ProblemError for an unusable problem file, ProviderError where credentials are missing,
    RunError where the run cannot be kept.
    """
    asked = models or [default_model()]
    settings = Settings(
        models=tuple(model if isinstance(model, str) else model.name for model in asked),
        contexts=tuple(contexts),
        attempts=attempts,
        rounds=rounds,
        share=share,
        allow_aten=allow_aten,
        time_limit=(limits or Limits()).launch_s,
        base_url=base_url,
        prompts=None if prompts is None else str(prompts),
        chip=chip,
        cuda=None if cuda is None else str(cuda),
        hint_model=hint_model,
        device=device,
        budget=budget or Budget(),
    )
    task = Task(Path(problem), Path(problem).stem)
    proposers = _proposers(asked, settings)
    means = Means(limits=limits, report=report or Silent())
    with begin([task], settings, proposers, None if out is None else Path(out)) as store:
        stopped = conduct(store, settings, proposers, means)
        return result_of(store, task.name, stopped)


def _proposers(models: Sequence[str | Proposer], settings: Settings) -> dict[str, Proposer]:
    words = prompts_of(settings)
    return named_apart(
        [
            make_proposer(model, base_url=settings.base_url, prompts=words)
            if isinstance(model, str)
            else model
            for model in models
        ]
    )


def begin(
    tasks: Sequence[Task],
    settings: Settings,
    proposers: Mapping[str, Proposer],
    out: Path | None,
    *,
    command: Sequence[str] = (),
) -> RunStore:
    """A new run, kept in `out`; close it when done.

    Raises ProblemError where the only problem cannot be read, RunError where `out` holds a run.
    """
    if out is not None and (out / "attempts.jsonl").exists() and not (out / FILE).exists():
        raise RunError(f"'{out}' holds attempts without their run; name another folder")
    started = time.time()
    info = RunInfo(
        id=f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(started))}-{secrets.token_hex(3)}",
        started=started,
        ended=None,
        command=tuple(command),
        settings=settings.to_json(),
        device={},
    )
    rows = [_row(task, is_alone=len(tasks) == 1) for task in tasks]
    jobs = jobs_of(tasks, list(proposers), settings.contexts)
    return RunStore.create(out, info, rows, jobs)


def _row(task: Task, *, is_alone: bool) -> ProblemRow:
    failure, source = None, ""
    try:
        source = read_problem_file(task.path)
    except ProblemError as error:
        if is_alone:
            raise
        failure = str(error)
    return ProblemRow(
        name=task.name,
        source=source,
        sha256=sha256(source.encode()),
        level=task.level,
        is_control=task.control_reason is not None,
        control_reason=task.control_reason,
        notes=task.notes,
        failure=failure,
        path=str(task.path),
    )


def conduct(
    store: RunStore,
    settings: Settings,
    proposers: Mapping[str, Proposer],
    means: Means,
    *,
    replay: Replay | None = None,
) -> list[Stopped]:
    """Do what the run has not finished yet; which models gave up or were stopped, and why.

    Raises Interrupted on Ctrl-C, RunError where the run cannot be kept.
    """
    _check_models(store, proposers)
    spending = Spending(settings.budget, _spent(store))
    evaluators = means.evaluators or _evaluators(settings, means)
    asking = Asking(store, spending, means.calls, replay)
    hints = settings.hint_model
    hint_proposer = None if hints is None else _proposers([hints], settings)[hints]
    is_asynchronous = any(isinstance(each, Conversational) for each in proposers.values())
    run = StudyRun(
        store=store,
        proposers=proposers,
        hint_proposer=hint_proposer,
        shop=Workshop(settings, asking, evaluators, means.report),
        # Enough jobs to keep evaluators busy while models are waited for.
        at_once=evaluators.places + (means.calls if is_asynchronous else 0),
    )
    store.end(False)
    try:
        run_blocking(run.run())
    except KeyboardInterrupt:
        raise Interrupted(store.folder if store.is_kept else None) from None
    finally:
        if means.evaluators is None:
            evaluators.close()
    store.end(True)
    return run.stopped


def _check_models(store: RunStore, proposers: Mapping[str, Proposer]) -> None:
    models = dict.fromkeys(row.job.model for row in store.jobs())
    if not set(models) <= set(proposers):
        raise RunError(
            f"run '{store.file}' was begun with models {', '.join(models)}, not with "
            f"{', '.join(proposers)}; go on with the same"
        )


# How long torch.compile may take to become a baseline, its C++ or Metal included.
BASELINE_S = 300.0


def _evaluators(settings: Settings, means: Means) -> Evaluators:
    seconds = BASELINE_S if settings.torch_compile else 0.0
    limits = means.limits or Limits(launch_s=settings.time_limit, baseline_s=seconds)
    if means.scheduler is not None:
        from metalgen.generation.cluster import ClusterEvaluators

        return ClusterEvaluators(means.scheduler, limits, settings.device)
    device = settings.device or default_device()
    return LocalEvaluators(limits, device, means.places, means.report.step)


def default_device() -> str:
    """The torch device whose tensors run kernels fastest here."""
    from metalgen.device import available

    return available()[0].tensors


def _spent(store: RunStore) -> Spent:
    spent = Spent()
    for call in store.calls():
        if call.reply is not None:
            spent = spent.plus(Spent(call.input_tokens, call.output_tokens, call.cost))
    return spent


def result_of(store: RunStore, problem: str, stopped: Sequence[Stopped] = ()) -> Result:
    """What a run gave for one problem; ProblemError where that could not be used."""
    row = next(row for row in store.problems() if row.name == problem)
    if row.failure is not None:
        raise ProblemError(row.failure)
    assert row.description is not None
    jobs = [job.job for job in store.jobs() if job.job.problem == problem]
    attempts = [attempt for job in jobs for attempt in store.attempts(job)]
    accepted = [attempt for attempt in attempts if attempt.is_accepted]
    fastest = max(accepted, key=lambda attempt: attempt.speedup or 0.0, default=None)
    return Result(
        problem=Problem.from_json(row.description),
        attempts=tuple(record_of(attempt) for attempt in attempts),
        best=None if fastest is None else best_of(fastest, store),
        stopped=tuple(stopped),
        device=store.info.device,
        directory=store.folder if store.is_kept else None,
    )

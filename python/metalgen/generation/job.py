"""One job of a study: attempts until one is accepted, then rounds for a faster one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metalgen.errors import PlanError, ProposalError, ProviderError, UnsupportedError
from metalgen.generation.asking import Answer, NoMoreError, Question
from metalgen.generation.board import Board, Workshop
from metalgen.generation.budget import phase_after
from metalgen.generation.candidate import Candidate, parse_reply
from metalgen.generation.evaluator import Evaluation
from metalgen.generation.hints import ask_for_hints
from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.generation.rows import (
    METALLIB,
    PLAN,
    SOURCE,
    best_of,
    plan_text,
    record_of,
    row_of,
    shared_json,
    shared_of,
)
from metalgen.proposers import Conversational, Proposer, Rejected, Reply, Shared, fastest_of
from metalgen.runs import AttemptRow, Job, RunStore
from metalgen.runs.records import Phase, State


@dataclass
class JobRun:
    """A job as it is done; each step is in the store before the next begins."""

    job: Job
    proposer: Proposer
    board: Board
    shop: Workshop
    hint_proposer: Proposer  # who reads profiles
    history: list[AttemptRecord] = field(default_factory=list)
    opening: Shared | None = None  # the swarm's best when the job began

    async def run(self) -> Stopped | None:
        """Go on from what is kept; why the model was not asked on, if it gave up or was stopped.

        Raises ProblemError where the problem's reference fails, RunError where the run cannot be
        kept or a replay departs from it.
        """
        self._open()
        try:
            while (phase := self._phase()) is not None:
                await self._tell(phase)
                await self._attempt(phase)
        except NoMoreError as error:
            return self._stop(*self._ending(str(error)))
        except ProviderError as error:
            return self._stop("stopped", str(error), is_provider_error=True)
        except UnsupportedError as error:
            return self._stop("finished", str(error))
        self._store.settle(self.job, "finished")
        return None

    @property
    def _store(self) -> RunStore:
        return self.shop.asking.store

    def _phase(self) -> Phase | None:
        settings = self.shop.settings
        verdicts = [record.verdict for record in self.history]
        return phase_after(verdicts, settings.attempts, settings.rounds)

    def _open(self) -> None:
        """Take up what is kept; decide what the first question shows."""
        store, replay = self._store, self.shop.asking.replay
        for row in store.attempts(self.job):
            self.history.append(record_of(row))
        known = store.job(self.job) if replay is None else replay.job(self.job)
        kept = None if known is None else known.opening
        if kept is not None:
            self.opening = shared_of(kept)
        elif self.shop.settings.share and not self.history and replay is None:
            self.opening = self.board.shared_with(self.job)
        store.open_job(self.job, None if self.opening is None else shared_json(self.opening))

    def _ending(self, reason: str) -> tuple[State, str]:
        """How a job ends whose model is not asked again."""
        replay = self.shop.asking.replay
        if replay is None or reason:
            return "stopped", reason
        if replay.attempt(self.job, len(self.history) + 1) is not None:
            raise replay.departed(self.job, len(self.history) + 1)
        before = replay.job(self.job)
        return before.state, before.reason or "the replayed run ends here"

    def _stop(self, state: State, reason: str, *, is_provider_error: bool = False) -> Stopped:
        stopped = Stopped(self.job.model, reason, is_provider_error, self.job.context)
        self._store.settle(self.job, state, reason)
        return stopped

    async def _tell(self, phase: Phase) -> None:
        """Decide what the model is told beside its last verdict, before it is asked again."""
        if not self.history or self.history[-1].hints or self.history[-1].shared:
            return
        last = self.history[-1]
        row = self._store.attempts(self.job)[last.number - 1]
        replay = self.shop.asking.replay
        if replay is not None:
            row, files = replay.told(row)
        else:
            row, files = await self._told(phase, row)
        self.history[-1] = record_of(self._store.tell(row, files))

    async def _told(self, phase: Phase, row: AttemptRow) -> tuple[AttemptRow, Mapping[str, bytes]]:
        shared = self.board.shared_with(self.job) if self.shop.settings.share else None
        row = replace(row, shared=None if shared is None else shared_json(shared))
        if "profile" not in self.job.context or phase != "optimisation" or not row.is_accepted:
            return row, {}
        fastest = fastest_of([record.verdict for record in self.history])
        assert fastest is not None, "the optimisation phase begins with an accepted candidate"
        record = self.history[fastest.number - 1]
        if record.number != row.number and record.hints is not None:
            return replace(row, hints=record.hints), {}  # its profile was read before
        best = best_of(self._store.attempts(self.job)[record.number - 1], self._store)
        hints = await ask_for_hints(
            self.job, self.board.problem, best, self.hint_proposer, self.shop
        )
        return hints.added_to(row), hints.files

    async def _attempt(self, phase: Phase) -> None:
        number, started, clock = len(self.history) + 1, time.time(), time.perf_counter()
        shop = self.shop
        shop.report.proposing(self.job, number, shop.settings.attempts + shop.settings.rounds)
        answer, candidate = Answer(Reply(""), started, 0.0), None
        try:
            answer = await shop.asking.ask(self._question())
            candidate = parse_reply(answer.reply.text)
            evaluation = await self._evaluate(number, candidate)
        except ProposalError as error:
            evaluation = Evaluation(Rejected("reply", str(error)))
        except PlanError as error:
            evaluation = Evaluation(Rejected("plan", str(error)))
        record = AttemptRecord(
            model=self.job.model,
            number=number,
            reply=answer.reply,
            verdict=evaluation.verdict,
            seconds=time.perf_counter() - clock + (answer.seconds if answer.is_kept else 0.0),
            details=evaluation.details or {},
            context=self.job.context,
            phase=phase,
            started=started,
            call_seconds=answer.seconds,
        )
        self._keep(record, candidate, evaluation)

    def _question(self) -> Question:
        asking, problem = self.shop.asking, self.board.problem
        if not isinstance(self.proposer, Conversational):
            return asking.of_proposer(self.job, self.proposer, problem, self.history)
        messages = self.proposer.prompts.conversation(
            problem,
            [record.attempt for record in self.history],
            cuda=self.board.cuda if "cuda" in self.job.context else None,
            shared=self.opening,
        )
        number = len(self.history) + 1
        return asking.of_chat(self.job, number, "proposal", self.proposer.chat, messages)

    async def _evaluate(self, number: int, candidate: Candidate) -> Evaluation:
        replay, settings = self.shop.asking.replay, self.shop.settings
        kept = None if replay is None else replay.evaluation(self.job, number, candidate)
        if kept is not None:
            return kept
        return await self.shop.evaluators.evaluate(
            self.job, self.board.problem, candidate, allow_aten=settings.allow_aten
        )

    def _keep(
        self, record: AttemptRecord, candidate: Candidate | None, evaluation: Evaluation
    ) -> None:
        """Into the store first, then to everybody who watches."""
        files: dict[str, bytes] = {}
        if candidate is not None:
            files = {SOURCE: candidate.source.encode(), PLAN: plan_text(candidate).encode()}
        if evaluation.metallib:
            files[METALLIB] = evaluation.metallib
        row = row_of(record, self.job.problem, candidate, evaluation.is_control)
        replay = self.shop.asking.replay
        if replay is not None:
            row = replay.timed(row)
        row = self._store.add_attempt(row, files)
        record = record_of(row)
        self.history.append(record)
        self.board.on_judged(record)
        if row.is_accepted:
            self.board.consider(best_of(row, self._store))
        self.shop.report.judged(self.job, record)

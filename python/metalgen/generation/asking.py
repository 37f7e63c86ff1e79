"""Asking models for a study: what was answered before is not asked again, all else is kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from metalgen.errors import MetalgenError, ProposalError, ProviderError, UnsupportedError
from metalgen.generation.budget import Spending
from metalgen.generation.replay import Replay, copy_call
from metalgen.generation.result import AttemptRecord, verdict_json
from metalgen.problem import Problem
from metalgen.problem.loaded import described
from metalgen.proposers import Chat, Conversational, Proposer, Reply
from metalgen.proposers.patience import Gate, Turn
from metalgen.proposers.prompts import Message
from metalgen.runs import CallRow, Job, RunStore, StoredRun
from metalgen.runs.records import Purpose

# A service that failed so many jobs of a model in a row is asked nothing more for it.
PATIENCE = 3


class NoMoreError(Exception):
    """A job whose model is not asked again: its budget is used up, or a replayed run ends here."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to ask in an attempt: `request` is what its answer is kept by.

    `send` asks when its turn comes, and then first calls what it is given, which may refuse.
    """

    job: Job
    number: int
    purpose: Purpose
    asked: object  # the proposer or chat, whose price counts
    request: str
    send: Callable[[Callable[[], None]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, when it was asked for and how long that took; `is_kept`: at an earlier time."""

    reply: Reply
    started: float
    seconds: float
    is_kept: bool = False


@dataclass
class Asking:
    """Answers questions from the run, from a replayed one, or by asking; see `ask`."""

    store: RunStore
    spending: Spending
    calls_at_once: int = 8
    replay: Replay | None = None
    _gates: dict[str, Gate] = field(default_factory=dict)
    _failed: Counter[int] = field(default_factory=Counter)  # jobs in a row, by id() of the asked
    # PyTorch's export, which the built-in proposer uses, is not made for several at once.
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, question: Question) -> Answer:
        """The answer.

        Raises NoMoreError where the budget ends it or a replayed run has no answer, and what the
        proposer raises: ProposalError, UnsupportedError, ProviderError.
        """
        kept = self.store.answer(question.job, question.request)
        if kept is not None:
            return _answered(kept, self.store)
        if self.replay is not None:
            return self._replayed(question, self.replay)
        job = question.job
        refusal = await self.spending.admit(job.model, question.asked)
        if refusal is not None:
            raise NoMoreError(refusal)
        reply: Reply | None = None
        try:
            answer = await self._send(question)
            reply = answer.reply
            return answer
        finally:
            self.spending.settle(job.model, reply)

    async def _send(self, question: Question) -> Answer:
        call = _Call(self.store, question)
        asked = id(question.asked)

        def on_turn() -> None:
            # Others may have failed, or time run out, while this question waited for its turn.
            if self._failed[asked] >= PATIENCE:
                raise ProviderError(f"its service failed {PATIENCE} jobs in a row")
            refusal = self.spending.refusal(question.job.model, question.asked)
            if refusal is not None:
                raise NoMoreError(refusal)
            call.begin()

        try:
            reply = await question.send(on_turn)
        except (MetalgenError, NoMoreError) as error:
            # Nobody is let through between a failure and this count: nothing is awaited.
            is_failed = isinstance(error, ProviderError)
            self._failed[asked] = self._failed[asked] + 1 if is_failed else 0
            call.fail(error)
            raise
        self._failed[asked] = 0
        return call.answer(reply)

    def _replayed(self, question: Question, replay: Replay) -> Answer:
        kept = replay.answer(question.job, question.request, question.number)
        if kept is None:
            raise NoMoreError
        copy_call(kept, replay.run, self.store)
        return _answered(kept, replay.run)

    def of_chat(
        self, job: Job, number: int, purpose: Purpose, chat: Chat, messages: Sequence[Message]
    ) -> Question:
        """A question to a language model."""
        for message in messages:
            for picture in message.pictures:
                self.store.keep(picture.png)
        gate = self._gates.setdefault(chat.service, Gate(self.calls_at_once))

        async def send(on_turn: Callable[[], None]) -> Reply:
            return await chat.ask(messages, Turn(gate, on_turn))

        return Question(job, number, purpose, chat, chat.request(messages), send)

    def of_proposer(
        self, job: Job, proposer: Proposer, problem: Problem, history: Sequence[AttemptRecord]
    ) -> Question:
        """A question to a proposer that is no language model."""

        async def send(on_turn: Callable[[], None]) -> Reply:
            async with self._turn:
                on_turn()
                return await asyncio.to_thread(_propose, proposer, problem, history)

        request = json.dumps(
            {
                "problem": problem.sha256,
                "history": [[r.reply.text, verdict_json(r.verdict)] for r in history],
            },
            ensure_ascii=False,
        )
        return Question(job, len(history) + 1, "proposal", proposer, request, send)


class _Call:
    """One call as it is kept: before it is first sent, and the moment it is answered."""

    def __init__(self, store: RunStore, question: Question) -> None:
        self._store = store
        self._question = question
        self._number: int | None = None  # None until it has its turn
        self._started, self._clock = 0.0, 0.0

    def begin(self) -> None:
        """Keep the question, unless it is sent once more."""
        if self._number is not None:
            return
        question = self._question
        self._started, self._clock = time.time(), time.perf_counter()
        self._number = self._store.asked(question.job, question.purpose, question.request)

    def fail(self, error: Exception) -> None:
        """Keep that it was not answered, or that the answer is unusable."""
        if self._number is None:
            return
        if isinstance(error, ProposalError):  # an answer, though not one that helps
            self._store.answered(self._number, seconds=self._seconds, reply="", error=str(error))
        else:
            self._store.failed(self._number, self._seconds, str(error))

    def answer(self, reply: Reply) -> Answer:
        """Keep the answer."""
        assert self._number is not None, "answered before it had its turn"
        seconds = self._seconds
        self._store.answered(
            self._number,
            response=json.dumps({"prompt": reply.prompt, "response": reply.response}),
            seconds=seconds,
            reply=reply.text,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost=reply.cost,
        )
        return Answer(reply, self._started, seconds)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._clock


def _answered(kept: CallRow, source: StoredRun) -> Answer:
    if kept.error is not None:
        raise ProposalError(kept.error)
    beside = {"prompt": "", "response": ""}
    if kept.response_sha256:
        beside = json.loads(source.artefact(kept.response_sha256))
    reply = Reply(
        text=kept.reply or "",
        input_tokens=kept.input_tokens,
        output_tokens=kept.output_tokens,
        cost=kept.cost,
        **beside,
    )
    return Answer(reply, kept.started, kept.seconds or 0.0, is_kept=True)


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


def chat_of(proposer: Proposer) -> Chat | None:
    """The language model behind a proposer, if there is one."""
    return proposer.chat if isinstance(proposer, Conversational) else None

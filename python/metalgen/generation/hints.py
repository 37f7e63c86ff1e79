"""Hints for a faster candidate: a profile, and what a sub-agent makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metalgen.errors import UnsupportedError
from metalgen.generation.board import Workshop
from metalgen.generation.budget import Spent
from metalgen.generation.result import Best
from metalgen.generation.rows import plan_text
from metalgen.problem import Problem
from metalgen.proposers import Conversational, Proposer, Reply
from metalgen.runs import AttemptRow, Job


@dataclass(frozen=True, slots=True)
class Hints:
    """What a profile suggests, what that cost, and the files it came from."""

    text: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    reply: Reply | None = None

    def added_to(self, row: AttemptRow) -> AttemptRow:
        """The attempt with them; what they cost is part of what it cost."""
        spent = Spent(row.input_tokens, row.output_tokens, row.cost)
        if self.reply is not None:
            spent = spent.plus(Spent.on([self.reply]))
        return replace(
            row,
            hints=self.text,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost=spent.cost,
        )


async def ask_for_hints(
    job: Job, problem: Problem, best: Best, reader: Proposer, shop: Workshop
) -> Hints:
    """Profile an accepted candidate; have `reader`, a language model, read the profile.

    A reader that is none leaves the profile's own text; a candidate that cannot be profiled gives
    no hints. Raises what asking raises.
    """
    try:
        profile = await shop.evaluators.profile(job, problem, best.candidate, best.metallib)
    except UnsupportedError:
        return Hints()
    files = {f"profile-{picture.name}.png": picture.png for picture in profile.pictures}
    files["profile.txt"] = profile.text.encode()
    if not isinstance(reader, Conversational):
        return Hints(profile.text, files)
    messages = reader.prompts.hint_request(
        problem,
        best.candidate.source,
        plan_text(best.candidate),
        profile,
        with_pictures=reader.chat.has_vision,
    )
    number = best.record.number
    answer = await shop.asking.ask(shop.asking.of_chat(job, number, "hints", reader.chat, messages))
    return Hints(answer.reply.text.strip() or profile.text, files, answer.reply)

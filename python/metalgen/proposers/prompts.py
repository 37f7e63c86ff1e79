"""What language models are sent, rendered from templates/prompts/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2

from metalgen import resources
from metalgen.proposers.protocol import Accepted, Attempt

if TYPE_CHECKING:
    from metalgen.problem import Problem


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What every Apple GPU that metalgen knows can do at most."""

    threads: int = 1024
    threadgroup_bytes: int = 32768
    simdgroup_width: int = 32


class Prompts:
    """Renders prompts; `directory` replaces metalgen's own templates."""

    def __init__(self, directory: Path | None = None) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(directory or resources.templates() / "prompts"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )

    def conversation(self, problem: Problem, history: Sequence[Attempt]) -> list[Message]:
        """Everything a model is to see: the task, its earlier replies, what became of each."""
        messages = [
            Message("system", self._render("system", limits=Limits())),
            Message("user", self._render("problem", problem=problem)),
        ]
        for attempt in history:
            outcome = "accepted" if isinstance(attempt.verdict, Accepted) else "rejected"
            # Services refuse empty messages.
            messages.append(Message("assistant", attempt.reply.text.strip() or "(no answer)"))
            messages.append(Message("user", self._render(outcome, verdict=attempt.verdict)))
        return messages

    def _render(self, name: str, **values: Any) -> str:
        return self._environment.get_template(f"{name}.md.j2").render(**values).strip() + "\n"

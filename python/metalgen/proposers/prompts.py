"""What language models are sent, rendered from templates/prompts/."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import jinja2

from metalgen import resources
from metalgen.chips import Chip
from metalgen.errors import ToolchainError
from metalgen.kernel_table import families_of
from metalgen.proposers.protocol import Accepted, Attempt, Shared, fastest_of
from metalgen.strategy_table import strategies_of
from metalgen.templating import environment

if TYPE_CHECKING:
    from metalgen.problem import Problem


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that a model with vision is shown, and what it shows in a few words."""

    name: str
    png: bytes

    @property
    def sha256(self) -> str:
        """Hash of the PNG."""
        return hashlib.sha256(self.png).hexdigest()


class Profiled(Protocol):
    """What a profile shows: `metalgen.profile.Profile` is one."""

    @property
    def text(self) -> str:
        """All of it in words and figures."""
        ...

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The same, drawn."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str
    pictures: tuple[Picture, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain objects, pictures by their hashes: they are kept beside."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.pictures:
            plain["pictures"] = {each.name: each.sha256 for each in self.pictures}
        return plain


@dataclass(frozen=True, slots=True)
class Limits:
    """What every Apple GPU that metalgen knows can do at most."""

    threads: int = 1024
    threadgroup_bytes: int = 32768
    simdgroup_width: int = 32


class Prompts:
    """Renders prompts; what `directory` holds replaces metalgen's own templates of the same names.

    `chip` is the one to write for, None any. Raises ToolchainError for a directory without any such
    template, and for one that cannot be rendered.
    """

    def __init__(self, directory: Path | None = None, chip: Chip | None = None) -> None:
        self._chip = chip
        if directory is not None and not any((directory / name).is_file() for name in names()):
            raise ToolchainError(
                f"no prompt templates in '{directory}': expected any of {', '.join(names())}"
            )
        self._environment = environment("prompts", before=() if directory is None else [directory])

    def conversation(
        self,
        problem: Problem,
        history: Sequence[Attempt],
        *,
        cuda: str | None = None,
        shared: Shared | None = None,
    ) -> list[Message]:
        """Everything a model is to see: the task, its earlier replies, what became of each.

        `cuda` is a CUDA implementation of the same module, `shared` what a swarm has already.
        """
        task = self._render("problem", problem=problem)
        if cuda is not None:
            task += "\n" + self._render("cuda", source=cuda)
        messages = [
            Message("system", self.section("system", problem)),
            Message("user", task + self._shared(shared)),
        ]
        for number, attempt in enumerate(history, start=1):
            outcome = "accepted" if isinstance(attempt.verdict, Accepted) else "rejected"
            told = self._render(
                outcome,
                verdict=attempt.verdict,
                number=number,
                fastest=fastest_of([each.verdict for each in history[:number]]),
                hints=attempt.hints,
                families=families_of(examples_for(problem.source)),
                strategies=strategies_of(examples_for(problem.source)),
            )
            # Services refuse empty messages.
            messages.append(Message("assistant", attempt.reply.text.strip() or "(no answer)"))
            messages.append(Message("user", told + self._shared(attempt.shared)))
        return messages

    def hint_request(
        self, problem: Problem, source: str, plan: str, profile: Profiled, *, with_pictures: bool
    ) -> list[Message]:
        """What the sub-agent is asked that reads a profile; `plan` is the launch plan's JSON."""
        question = self._render(
            "hints",
            problem=problem,
            source=source,
            plan=plan,
            profile=profile,
            with_pictures=with_pictures,
        )
        return [Message("user", question, profile.pictures if with_pictures else ())]

    def section(self, name: str, problem: Problem) -> str:
        """What every question begins with, "system", or one of its parts: "role", "rules" ..."""
        examples = examples_for(problem.source)
        return self._render(name, limits=limits_of(self._chip), chip=self._chip, examples=examples)

    def _shared(self, shared: Shared | None) -> str:
        return "" if shared is None else "\n" + self._render("shared", shared=shared)

    def _render(self, name: str, **values: Any) -> str:
        file = f"{name}.md.j2"
        try:
            return self._environment.get_template(file).render(**values).strip() + "\n"
        except (jinja2.TemplateError, OSError, ValueError, TypeError) as error:
            raise ToolchainError(
                f"prompt template {file}{_line_of(error)} cannot be rendered: "
                f"{' '.join(str(error).split())}; correct it, or do without --prompts"
            ) from error


def limits_of(chip: Chip | None) -> Limits:
    """What the chip can do at most; what every one can where it is not known."""
    family = None if chip is None else chip.family
    threads = None if family is None else family.threads
    memory = None if family is None else family.threadgroup_bytes
    known = Limits()
    return Limits(
        known.threads if threads is None else threads.value,
        known.threadgroup_bytes if memory is None else memory.value,
    )


_MOST_EXAMPLES = 2


def examples_for(source: str) -> list[str]:
    """The examples that suit a problem best, by the operators that its source names."""
    suited = [name for name, words in _examples() if re.search(words, source)]
    return suited[:_MOST_EXAMPLES] or [_examples()[-1][0]]


@functools.cache
def _examples() -> list[tuple[str, str]]:
    """Names and words of templates/prompts/examples, the most telling first."""
    index = resources.templates() / "prompts" / "examples" / "index.json"
    listed = json.loads(index.read_text(encoding="utf-8"))["examples"]
    return [(entry["name"], entry["words"]) for entry in listed]


def names() -> list[str]:
    """The templates' file names."""
    return sorted(file.name for file in (resources.templates() / "prompts").glob("*.md.j2"))


def _line_of(error: Exception) -> str:
    return f", line {error.lineno}," if isinstance(error, jinja2.TemplateSyntaxError) else ""

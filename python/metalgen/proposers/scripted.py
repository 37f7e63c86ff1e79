"""A proposer that replays prepared replies in order: for tests, demonstrations and replays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.errors import ProposalError, UnsupportedError
from metalgen.problem import Problem
from metalgen.proposers.protocol import Attempt, Reply


@dataclass(frozen=True, slots=True)
class ScriptedProposer:
    """Answers its n-th call with its n-th reply; an exception among the replies is raised."""

    replies: tuple[str | Exception, ...]
    name: str = "scripted"

    @classmethod
    def from_path(cls, path: Path) -> ScriptedProposer:
        """Replies from a folder (one file each, by name) or a kept run's attempts.jsonl."""
        if path.is_dir():
            files = sorted(entry for entry in path.iterdir() if entry.is_file())
            return cls(tuple(file.read_text() for file in files))
        if not path.is_file():
            raise ProposalError(f"no scripted replies at '{path}': expected a file or a folder")
        if path.suffix != ".jsonl":
            return cls((path.read_text(),))
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return cls(tuple(str(line["reply"]) for line in lines if "reply" in line))

    def propose(self, problem: Problem, history: Sequence[Attempt]) -> Reply:
        """The reply after as many as `history` holds; UnsupportedError once all are used."""
        if len(history) >= len(self.replies):
            raise UnsupportedError(
                f"not supported: attempt {len(history) + 1}, the script has {len(self.replies)}"
            )
        reply = self.replies[len(history)]
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply)

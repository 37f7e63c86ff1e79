"""Read a run's attempts.jsonl back: what a model wrote, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metalgen.errors import ProposalError
from metalgen.generation.result import verdict_of_json
from metalgen.proposers import Attempt, Reply


def read_attempts(path: Path, model: str | None = None) -> list[Attempt]:
    """One model's attempts, oldest first.

    `model` may be left out where the file holds one model's only. Raises ProposalError for a file
    that holds no attempts, or not that model's.
    """
    lines = [line for line in _lines(path) if "verdict" in line]
    models = list(dict.fromkeys(str(line.get("model")) for line in lines))
    if model is None and len(models) > 1:
        raise ProposalError(
            f"'{path}' holds attempts of {', '.join(models)}: say whose with --model"
        )
    wanted = [line for line in lines if model is None or line.get("model") == model]
    if not wanted:
        of = "" if model is None else f" of '{model}' (but of: {', '.join(models) or 'nobody'})"
        raise ProposalError(f"'{path}' holds no attempts{of}; expected a run's attempts.jsonl")
    return [_attempt(line, path) for line in wanted]


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ProposalError(f"'{path}', line {number}: not JSON: {error}") from error
        if not isinstance(line, dict):
            raise ProposalError(f"'{path}', line {number}: expected an object")
        found.append(line)
    return found


def _attempt(line: Mapping[str, Any], path: Path) -> Attempt:
    try:
        return Attempt(Reply(line["reply"]), verdict_of_json(line["verdict"]))
    except (KeyError, TypeError) as error:
        raise ProposalError(f"'{path}': an attempt without {error}: not metalgen's file") from error

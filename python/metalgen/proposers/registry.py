"""From a model's name to its proposer; each is imported only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from metalgen.proposers.protocol import Proposer

if TYPE_CHECKING:
    from metalgen.proposers.prompts import Prompts

DEFAULT_OPENAI_MODEL = "gpt-6.2-sol"


def default_model(environment: Mapping[str, str] = os.environ) -> str:
    """`builtin` where no OPENAI_API_KEY is set, else OPENAI_MODEL or this release's default."""
    if not environment.get("OPENAI_API_KEY"):
        return "builtin"
    return environment.get("OPENAI_MODEL") or DEFAULT_OPENAI_MODEL


def make_proposer(
    model: str, base_url: str | None = None, *, prompts: Prompts | None = None
) -> Proposer:
    """The proposer called `model`.

    `builtin` is metalgen's own template proposer; `scripted:PATH` replays replies from a file or
    a folder; every other name is asked for at an OpenAI-compatible service: `base_url`, else the
    provider that models.json has for it, else OPENAI_BASE_URL, else OpenAI's own. `prompts` are
    what it is sent. Raises ProviderError where credentials are missing.
    """
    if model == "builtin":
        from metalgen.proposers.builtin import BuiltinProposer

        return BuiltinProposer()
    if model.startswith("scripted:"):
        from metalgen.proposers.scripted import ScriptedProposer

        return ScriptedProposer.from_path(Path(model.removeprefix("scripted:")))
    from metalgen.proposers.openai import OpenAIProposer

    return OpenAIProposer(model=model, base_url=base_url, prompts=prompts)

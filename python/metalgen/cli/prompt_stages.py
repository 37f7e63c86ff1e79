"""Made-up attempts for `metalgen prompt --stage`, from templates/prompts/stages.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metalgen import resources
from metalgen.proposers import Accepted, Attempt, Rejected, Reply, Shared

if TYPE_CHECKING:
    from metalgen.proposers.prompts import Picture


@dataclass(frozen=True, slots=True)
class SampleProfile:
    """A profile's place."""

    text: str
    pictures: tuple[Picture, ...] = ()


def sample_attempt(stage: str) -> Attempt:
    """An attempt that ended in `stage`: a kind of rejection, or accepted, hints, shared."""
    plain = _samples()
    reply = Reply(plain["reply"])
    if stage in plain["rejected"]:
        return Attempt(reply, Rejected(**plain["rejected"][stage]))
    values = {**plain["accepted"], "notes": tuple(plain["accepted"]["notes"])}
    accepted = Accepted(**values)
    shared = Shared(**plain["shared"], verdict=accepted)
    return Attempt(
        reply,
        accepted,
        hints=plain["hints"] if stage == "hints" else None,
        shared=shared if stage == "shared" else None,
    )


def sample_profile() -> SampleProfile:
    """What stands for a profile's text."""
    return SampleProfile(str(_samples()["profile"]))


def _samples() -> dict[str, Any]:
    path = resources.templates() / "prompts" / "stages.json"
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return plain

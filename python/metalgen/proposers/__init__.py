"""Who writes candidates: the protocol they share, and the model names that lead to them."""

from metalgen.proposers.protocol import (
    Accepted,
    Attempt,
    Chat,
    Conversational,
    Fastest,
    Priced,
    Proposer,
    Rejected,
    Reply,
    Shared,
    Stage,
    Verdict,
    fastest_of,
)
from metalgen.proposers.registry import default_model, make_proposer

__all__ = [
    "Accepted",
    "Attempt",
    "Chat",
    "Conversational",
    "Fastest",
    "Priced",
    "Proposer",
    "Rejected",
    "Reply",
    "Shared",
    "Stage",
    "Verdict",
    "default_model",
    "fastest_of",
    "make_proposer",
]

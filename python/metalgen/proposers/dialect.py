"""How a request is worded for a service, and how to word it otherwise after a refusal.

Services that speak the chat completions API differ in what they take: some models know no system
role, some want `max_completion_tokens` and others `max_tokens`, some refuse a temperature or
pictures.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metalgen.proposers.prompts import Message

# Who gives the instructions, in the order in which services are tried; "user" puts them at the
# head of the first question.
_ROLES = ("system", "developer", "user")
_LIMITS = ("max_completion_tokens", "max_tokens")
_REFUSAL = re.compile(
    r"support|unknown|unrecogni[sz]ed|unexpected|invalid|not (allowed|permitted|enabled)"
    r"|extra (inputs|fields)|\bonly\b",
    re.IGNORECASE,
)
_ROLE = re.compile(r"\b(roles?|system|developer)\b", re.IGNORECASE)
_PICTURE = re.compile(r"image|vision|multi-?modal|content (type|must be a string)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to word requests; `limit` is the name of the limit to the answer's tokens."""

    role: str = _ROLES[0]
    limit: str | None = None
    dropped: frozenset[str] = frozenset()
    pictures: bool = True

    def messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The conversation as it is sent."""
        first, *rest = messages
        if first.role != "system":
            return [self._plain(message) for message in messages]
        if self.role != "user":
            return [{**self._plain(first), "role": self.role}, *map(self._plain, rest)]
        question = replace(rest[0], content=f"{first.content}\n{rest[0].content}")
        return [self._plain(message) for message in (question, *rest[1:])]

    def parameters(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What is sent besides model and messages."""
        named = {self._name(name): value for name, value in wanted.items()}
        return {name: value for name, value in named.items() if name not in self.dropped}

    def after(self, refusal: str, sent: Mapping[str, Any]) -> Dialect | None:
        """Another wording that avoids what a service refused; None where there is none.

        `sent` are the parameters of the refused request. Every change is made once, so that asking
        again ends.
        """
        # OpenAI files every complaint under this type, whatever it is about.
        refusal = refusal.replace("invalid_request_error", "")
        if not _REFUSAL.search(refusal):
            return None
        for name in sent:
            if re.search(rf"\b{re.escape(name)}\b", refusal):
                return self._without(name)
        if self.pictures and _PICTURE.search(refusal):
            return replace(self, pictures=False)
        if _ROLE.search(refusal) and self.role != _ROLES[-1]:
            return replace(self, role=_ROLES[_ROLES.index(self.role) + 1])
        return None

    def _plain(self, message: Message) -> dict[str, Any]:
        """A message as the API has it, pictures within it as data URLs."""
        if not message.pictures or not self.pictures:
            return {"role": message.role, "content": message.content}
        parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
        for picture in message.pictures:
            address = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": address}})
        return {"role": message.role, "content": parts}

    def _name(self, name: str) -> str:
        return self.limit if name in _LIMITS and self.limit is not None else name

    def _without(self, name: str) -> Dialect:
        if name in _LIMITS and self.limit is None:
            return replace(self, limit=_LIMITS[1 - _LIMITS.index(name)])
        return replace(self, dropped=self.dropped | {name})

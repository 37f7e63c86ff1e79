"""Where a model is asked: its address, the name it has there, the key, and the price."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metalgen.errors import ProviderError
from metalgen.proposers.dialect import Dialect
from metalgen.proposers.models import Model, Price, Provider, read_registry
from metalgen.proposers.prompts import Message

_KEY = "OPENAI_API_KEY"
_ADDRESS = "OPENAI_BASE_URL"


@dataclass(frozen=True, slots=True)
class Service:
    """A model at a service; `base_url` None is OpenAI's own."""

    model: str
    provider_name: str
    base_url: str | None = None
    key_variable: str = _KEY
    needs_key: bool = True
    request: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    known: Model | None = None

    def key(self, environment: Mapping[str, str]) -> str:
        """The key to send; ProviderError where one is needed and not set."""
        key = environment.get(self.key_variable)
        if not key and self.needs_key:
            raise ProviderError(
                f"no API key for model '{self.model}': set {self.key_variable}, give the "
                f"--base-url of a service of your own, or use --model builtin"
            )
        return key or "none"


def find_service(
    model: str, base_url: str | None = None, environment: Mapping[str, str] = os.environ
) -> Service:
    """The service that answers for `model`.

    `base_url` comes first, for every name; then the registry's endpoint; then OPENAI_BASE_URL and
    OpenAI. OPENAI_BASE_URL also stands in for OpenAI's endpoint, whose key it shares. A key is
    sent only to the service it belongs to, and prices hold only there.
    """
    known = read_registry(environment).find(model)
    if base_url is None and known is not None:
        provider = read_registry(environment).provider_of(known)
        if provider.key_variable != _KEY or not environment.get(_ADDRESS):
            return _at_its_provider(model, known, provider)
    address = base_url or environment.get(_ADDRESS) or None
    return Service(model, model, address, needs_key=address is None)


def request_body(service: Service, dialect: Dialect, messages: Sequence[Message]) -> dict[str, Any]:
    """What is sent: the model's name there, the conversation, further parameters."""
    return {
        "model": service.provider_name,
        "messages": dialect.messages(messages),
        **dialect.parameters(service.request),
    }


def _at_its_provider(model: str, known: Model, provider: Provider) -> Service:
    return Service(
        model=model,
        provider_name=known.provider_name,
        base_url=provider.endpoint,
        key_variable=provider.key_variable,
        request=known.request,
        price=known.price,
        known=known,
    )

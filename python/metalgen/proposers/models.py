"""The models that metalgen knows: where they are asked, with which key, what they cost.

The list is models.json beside this file. A file of the same form that METALGEN_MODELS names adds to
it, and replaces what has the same name: for models of one's own, and for newer prices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, ValidationError

from metalgen.errors import ToolchainError

VARIABLE = "METALGEN_MODELS"
_OWN = Path(__file__).with_name("models.json")


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Frozen):
    """US dollars per million tokens, and where that was read."""

    input: NonNegativeFloat
    output: NonNegativeFloat
    source: str
    read: date
    as_of: str | None = None  # the date that the source gives itself
    note: str = ""

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """What a reply costs, in US dollars."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


class Provider(_Frozen):
    """A service that speaks the chat completions API."""

    endpoint: str
    key_variable: str


class Model(_Frozen):
    """A model: `name` is metalgen's, `provider_name` its service's; unknown figures are None."""

    name: str
    provider: str
    provider_name: str
    context: int | None = None
    vision: bool | None = None
    retires: date | None = None  # when the provider switched it off, or will
    request: dict[str, Any] = {}  # what else its requests need, such as max_tokens
    price: Price | None = None

    @property
    def is_retired(self) -> bool:
        """Whether its provider no longer serves it."""
        return self.retires is not None and self.retires <= date.today()


class Registry(_Frozen):
    """Models and their providers."""

    about: str = ""
    providers: dict[str, Provider] = {}
    models: tuple[Model, ...] = ()

    def find(self, name: str) -> Model | None:
        """The model of that name, or that its provider calls so."""
        for model in self.models:
            if name in (model.name, model.provider_name):
                return model
        return None

    def provider_of(self, model: Model) -> Provider:
        """Where a model is asked."""
        return self.providers[model.provider]

    def with_others(self, other: Registry) -> Registry:
        """These models and `other`'s, which win."""
        names = {model.name for model in other.models}
        kept = [model for model in self.models if model.name not in names]
        return Registry(
            about=self.about,
            providers={**self.providers, **other.providers},
            models=(*kept, *other.models),
        )


def read_registry(environment: Mapping[str, str] = os.environ) -> Registry:
    """metalgen's models and the user's own; ToolchainError for a file that cannot be used."""
    registry = _read(_OWN)
    if environment.get(VARIABLE):
        path = Path(environment[VARIABLE])
        registry = registry.with_others(_read(path))
        for model in registry.models:
            if model.provider not in registry.providers:
                raise ToolchainError(
                    f"{VARIABLE}: '{path}': model '{model.name}' names provider "
                    f"'{model.provider}', which is not among its providers"
                )
    return registry


def _read(path: Path) -> Registry:
    try:
        return Registry.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ToolchainError(
            f"{VARIABLE}: cannot read '{path}': {error.strerror}; name a file or unset it"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ToolchainError(f"{VARIABLE}: '{path}': {where}: {first['msg'].lower()}") from error

"""`metalgen models`: the models that metalgen knows, what they cost, and which can be asked now."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from metalgen.proposers.models import Model, Registry


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything known, with the sources of prices.")
    ] = False,
) -> None:
    """List the models that metalgen knows and say for which a key is set.

    Any other model can be named too: it is asked at --base-url or OPENAI_BASE_URL. A file that
    METALGEN_MODELS names adds models and newer prices.
    """
    from metalgen.proposers.models import read_registry

    registry = read_registry()
    if as_json:
        listed = [_as_json(registry, model) for model in registry.models]
        print(json.dumps({"about": registry.about, "models": listed}, indent=2))
        return
    console = Console()
    console.print(_table(registry))
    for line in (
        "",
        _keys(registry),
        "prices are US dollars per million tokens, read where and when --json says",
        "any other model: --base-url ADDRESS, or OPENAI_BASE_URL; without a key: --model builtin",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _has_key(registry: Registry, model: Model) -> bool:
    return bool(os.environ.get(registry.provider_of(model).key_variable))


def _as_json(registry: Registry, model: Model) -> dict[str, Any]:
    provider = registry.provider_of(model)
    return {
        **model.model_dump(mode="json"),
        "endpoint": provider.endpoint,
        "key_variable": provider.key_variable,
        "has_key": _has_key(registry, model),
        "retired": model.is_retired,
    }


def _table(registry: Registry) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns are enough
    for name in ("model", "provider", "key"):
        table.add_column(name, no_wrap=True)
    for name in ("context", "vision", "input", "output"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("retires", no_wrap=True)
    for model in registry.models:
        table.add_row(
            escape(model.name),
            escape(model.provider),
            "set" if _has_key(registry, model) else "no",
            "?" if model.context is None else f"{model.context // 1000}k",
            {True: "yes", False: "no", None: "?"}[model.vision],
            "?" if model.price is None else f"{model.price.input:.2f}",
            "?" if model.price is None else f"{model.price.output:.2f}",
            "" if model.retires is None else _lifetime(model),
        )
    return table


def _keys(registry: Registry) -> str:
    names = sorted({provider.key_variable for provider in registry.providers.values()})
    states = [f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in names]
    return "keys: " + ", ".join(states)


def _lifetime(model: Model) -> str:
    return f"gone {model.retires}" if model.is_retired else f"{model.retires}"

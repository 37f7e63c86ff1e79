"""Options that several commands share: a dataclass whose fields are options of their own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer is to see it: for each parameter that is a dataclass its fields."""
    hints = get_type_hints(command, include_extras=True)
    given = inspect.signature(command).parameters.values()
    groups = {each.name: hints[each.name] for each in given if is_dataclass(hints[each.name])}

    @functools.wraps(command)
    def grouped(**options: Any) -> None:
        for name, group in groups.items():
            values = {field.name: options.pop(field.name) for field in fields(group)}
            options[name] = group(**values)
        command(**options)

    shown: list[inspect.Parameter] = []
    for parameter in given:
        if parameter.name in groups:
            shown += _parameters_of(groups[parameter.name])
        else:
            annotation = hints[parameter.name]
            shown.append(parameter.replace(annotation=annotation, kind=parameter.KEYWORD_ONLY))
    grouped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    grouped.__annotations__ = {each.name: each.annotation for each in shown}
    return grouped


def _parameters_of(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=hints[field.name],
        )

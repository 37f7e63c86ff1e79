"""The table of strategies, metal/strategies.json: ways to compute an operator, and when they fit.

The optimiser makes its offers from it, prompts tell language models of it, and docs list it.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from metalgen import resources
from metalgen.errors import LaunchError
from metalgen.kernel_table import families

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"(\w+) (==|!=|<=|>=|<|>) (\d+|[a-z_]+)")
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Operator(_Strict):
    """What is computed; `sizes` are the names that conditions may use, and what each means."""

    about: Text
    sizes: dict[str, Text] = Field(min_length=1)


class Strategy(_Strict):
    """One way to compute an operator, tried where all of `when` holds.

    A condition compares a size with a number or with another size: "groups == channels".
    `families` are those of metal/parameters.json whose variants it runs.
    """

    name: Text
    operator: Text
    when: Annotated[tuple[str, ...], Field(strict=False)]
    families: Annotated[tuple[str, ...], Field(strict=False)]
    text: Text

    @field_validator("when")
    @classmethod
    def _conditions(cls, when: tuple[str, ...]) -> tuple[str, ...]:
        for condition in when:
            if _CONDITION.fullmatch(condition) is None:
                raise ValueError(f"expected a condition such as 'stride == 1', found {condition!r}")
        return when

    @field_validator("families")
    @classmethod
    def _known_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(names) - families().keys()):
            raise ValueError(f"no kernel family {unknown[0]!r} in metal/parameters.json")
        return names

    @property
    def names(self) -> set[str]:
        """The sizes that its conditions need."""
        parts = [_parts(condition) for condition in self.when]
        return {name for left, _, right in parts for name in (left, right) if not name.isdigit()}

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether it is worth trying for a problem of these sizes."""
        return all(_holds(condition, sizes) for condition in self.when)


class StrategyTable(_Strict):
    """Operators by name, and their strategies in the order in which they are tried."""

    operators: dict[str, Operator]
    strategies: Annotated[tuple[Strategy, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _fits_together(self) -> StrategyTable:
        seen: set[tuple[str, str]] = set()
        for each in self.strategies:
            if each.operator not in self.operators:
                raise ValueError(f"strategy {each.name!r}: no operator {each.operator!r}")
            if unknown := sorted(each.names - self.operators[each.operator].sizes.keys()):
                raise ValueError(f"strategy {each.name!r}: {each.operator} has no {unknown[0]!r}")
            if (each.operator, each.name) in seen:
                raise ValueError(f"strategy {each.name!r} of {each.operator} is there twice")
            seen.add((each.operator, each.name))
        return self


def parse_strategies(text: str | bytes) -> StrategyTable:
    """Read the table; LaunchError names the first faulty place."""
    try:
        return StrategyTable.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LaunchError(f"strategies {where}: {first['msg'].lower()}") from None


@functools.cache
def strategy_table() -> StrategyTable:
    """The table that metalgen ships."""
    return parse_strategies((resources.metal_sources() / "strategies.json").read_bytes())


def strategies_for(name: str, sizes: Mapping[str, int]) -> tuple[Strategy, ...]:
    """The strategies of an operator that are worth trying, in the table's order."""
    return tuple(each for each in strategies_of([name]) if each.fits(sizes))


def strategies_of(operators: Collection[str]) -> tuple[Strategy, ...]:
    """All strategies of these operators."""
    return tuple(each for each in strategy_table().strategies if each.operator in operators)


def _parts(condition: str) -> tuple[str, str, str]:
    match = _CONDITION.fullmatch(condition)
    assert match is not None  # validated
    left, compare, right = match.groups()
    return left, compare, right


def _holds(condition: str, sizes: Mapping[str, int]) -> bool:
    left, compare, right = _parts(condition)
    return _COMPARE[compare](sizes[left], int(right) if right.isdigit() else sizes[right])

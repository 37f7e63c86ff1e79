"""Renders the kernel templates under templates/kernels/."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import jinja2

from metalgen.templating import environment

_USES = re.compile(r"^// uses: (.*)$", re.MULTILINE)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return environment("kernels", keep_trailing_newline=True)


def render(template: str, **values: Any) -> str:
    """The text of `template`.metal.j2 with `values`; an undefined name in it is an error."""
    return _environment().get_template(f"{template}.metal.j2").render(**values)


def helper_functions(names: set[str]) -> str:
    """The functions of templates/kernels/functions that `names` and they themselves use."""
    ordered: list[str] = []

    def add(name: str) -> None:
        if name in ordered:
            return
        source = _function(name)
        for needed in _needs(source):
            add(needed)
        ordered.append(name)

    for name in sorted(names):
        add(name)
    return "\n".join(_USES.sub("", _function(name)).strip() + "\n" for name in ordered)


def _function(name: str) -> str:
    return _environment().get_template(f"functions/{name}.metal.j2").render()


def _needs(source: str) -> list[str]:
    match = _USES.search(source)
    return match[1].replace(",", " ").split() if match else []


def indented(lines: list[str], depth: int = 1) -> str:
    """Statements at a block's depth, two spaces each."""
    return "\n".join("  " * depth + line for line in lines)

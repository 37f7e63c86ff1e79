"""Adds metadata nodes to a module's text."""

from __future__ import annotations

import re

from metalgen.software.ir.model import Module

_NUMBER = re.compile(r"^!(\d+) = ")


def add_node(module: Module, text: str) -> str:
    """Append the node `text` and return its name; `!SELF` in it stands for the node itself."""
    numbers = [int(m[1]) for line in module.footer if (m := _NUMBER.match(line))]
    name = f"!{max(numbers, default=-1) + 1}"
    module.footer.append(f"{name} = {text.replace('!SELF', name)}")
    return name

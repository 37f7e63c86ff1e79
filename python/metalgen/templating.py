"""The one way in which metalgen's templates are read: no name may be undefined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from metalgen import resources


def environment(
    folder: str = "",
    *,
    before: Sequence[Path] = (),
    html: bool = False,
    keep_trailing_newline: bool = False,
) -> jinja2.Environment:
    """Renders what lies in `folder` of metalgen's templates; files in `before` replace theirs."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*before, resources.templates() / folder]),
        undefined=jinja2.StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=keep_trailing_newline,
    )

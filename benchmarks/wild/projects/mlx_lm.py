"""mlx-lm: kernels of its models, which MLX completes and compiles when they are first called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.mlx_kernels import MLX_METAL, Typing, custom_kernels
from wild.project import Package, Project, Source

_SSM = Typing(arrays=dict.fromkeys(("X", "B", "C", "D", "dt"), "half") | {"A_log": "float"})
_TYPINGS = {"^ssm_kernel$": _SSM}


def _sources(root: Path) -> Iterator[Source]:
    return custom_kernels(root / "mlx-lm/mlx_lm", root, _TYPINGS)


PROJECT = Project("mlx-lm", (Package("pypi", "mlx-lm", "0.32.2"), MLX_METAL), _sources)

"""mlx-mfa: kernels for attention and convolutions in Python; those of its C++ are put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.mlx_kernels import MLX_METAL, Typing, custom_kernels
from wild.project import Package, Project, Source

_CACHE = dict.fromkeys(("Kout", "Vout", "v_pool"), "bfloat16_t")
_PACKED = {"k_pool": "uint8_t", "k_scales": "float", "centroids": "half"}
_TYPINGS = {"^tq_decode.*bfloat": Typing(arrays=_CACHE | _PACKED)}


def _sources(root: Path) -> Iterator[Source]:
    return custom_kernels(root / "mlx-mfa/mlx_mfa", root, _TYPINGS)


PROJECT = Project("mlx-mfa", (Package("pypi-source", "mlx-mfa", "2.64.0"), MLX_METAL), _sources)

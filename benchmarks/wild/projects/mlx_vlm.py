"""mlx-vlm: kernels of its models, its compressed caches and its verifiers of drafts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.mlx_kernels import MLX_METAL, Typing, custom_kernels
from wild.project import Package, Project, Source

_FLOATS = ("mixes", "scale", "base", "post", "comb", "sums", "maxs")
_PIXELS = dict.fromkeys(("Y", "U", "V", "rgb"), "uint8_t") | {"coeff": "int"}
_TYPINGS = {
    "yuv_to_rgb": Typing(arrays=_PIXELS),
    "hc_.*norm|ragged_sdpa_2p|sinkhorn": Typing(arrays=dict.fromkeys(_FLOATS, "float")),
    "masked_qargmax|llguidance": Typing(arrays={"mask": "int"}),
    "1bit_qm": Typing(arrays={"weight": "uint32_t"}),
    "pack_lowbit": Typing(arrays=dict.fromkeys(("values", "packed", "out"), "uint32_t")),
    "^ssm_kernel$": Typing(
        arrays=dict.fromkeys(("X", "B", "C", "D", "dt"), "half") | {"A_log": "float"}
    ),
}


def _sources(root: Path) -> Iterator[Source]:
    return custom_kernels(root / "mlx-vlm/mlx_vlm", root, _TYPINGS)


PROJECT = Project("mlx-vlm", (Package("pypi", "mlx-vlm", "0.7.10"), MLX_METAL), _sources)

"""mlx-audio: kernels of its models, which MLX completes and compiles when they are first called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.mlx_kernels import MLX_METAL, Typing, custom_kernels
from wild.project import Package, Project, Source

_ARRAYS = dict.fromkeys(("X", "B", "C", "D", "dt", "decay"), "half")
_TYPINGS = {
    "^ssm_kernel$": Typing(arrays=_ARRAYS | {"A_log": "float"}),
    "^ssm_initial_kernel$": Typing(arrays=_ARRAYS | {"sequence_length": "int"}),
    "^lstm$": Typing(scalars=dict.fromkeys(("hidden_size", "time_step", "num_time_steps"), "int")),
    "phonon": Typing(
        arrays=dict.fromkeys(("quint5_q", "base_q", "residual_q"), "uint8_t"),
        scalars={"in_features": "int"},
    ),
}


def _sources(root: Path) -> Iterator[Source]:
    return custom_kernels(root / "mlx-audio/mlx_audio", root, _TYPINGS)


PROJECT = Project("mlx-audio", (Package("pypi", "mlx-audio", "0.6.2"), MLX_METAL), _sources)

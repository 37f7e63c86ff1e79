"""Prepares modules for torch.export where export would fix sizes that need not be fixed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.export.decomp_utils import CustomDecompTable
from torch.nn.modules.instancenorm import _InstanceNorm


class AnyChannels(nn.Module):
    """Instance normalisation without weights: it takes any number of channels.

    PyTorch's own module compares the channels with `num_features` only to warn, which would make
    export keep that one number.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, value: Tensor) -> Tensor:
        """Each channel of each example with mean 0 and variance 1."""
        return torch.nn.functional.instance_norm(value, eps=self.eps)


class AnyLength(nn.Module):
    """Max pooling of lines as that of planes with one row: export fixes the length of lines."""

    def __init__(self, pool: nn.MaxPool1d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, value: Tensor) -> Tensor:
        """The largest entries along the last dimension."""
        pool = self.pool
        planes = torch.nn.functional.max_pool2d(
            value.unsqueeze(-2),
            (1, _only(pool.kernel_size)),
            (1, _only(pool.stride)),
            (0, _only(pool.padding)),
            (1, _only(pool.dilation)),
            pool.ceil_mode,
        )
        return planes.squeeze(-2)


def _only(setting: int | tuple[int, ...]) -> int:
    return setting if isinstance(setting, int) else setting[0]


def exportable(module: nn.Module) -> nn.Module:
    """The module, or a copy of it whose parts leave sizes open."""
    if all(_opened(part) is part for part in module.modules()):
        return module
    clone = _opened(copy.deepcopy(module))
    for parent in list(clone.modules()):
        if isinstance(parent, AnyLength):
            continue
        for name, part in list(parent.named_children()):
            setattr(parent, name, _opened(part))
    return clone


def _opened(module: nn.Module) -> nn.Module:
    """The module's stand-in, or the module itself where export needs none."""
    if isinstance(module, nn.MaxPool1d) and not module.return_indices:
        return AnyLength(module)
    if not isinstance(module, _InstanceNorm):
        return module
    fixed = module.weight is not None or module.running_mean is not None
    return module if fixed else AnyChannels(module.eps)


def decompositions() -> CustomDecompTable:
    """Core ATen, and beyond it what core ATen leaves whole but has simple parts."""
    table = torch.export.default_decompositions()
    aten = torch.ops.aten
    resampling = [
        aten.upsample_nearest1d.vec,
        aten.upsample_nearest2d.vec,
        aten.upsample_nearest3d.vec,
        aten.upsample_bilinear2d.vec,
        aten.upsample_linear1d.vec,
        aten.upsample_trilinear3d.vec,
        aten.upsample_bicubic2d.vec,
    ]
    table.update(torch._decomp.get_decompositions(resampling))  # type: ignore[no-untyped-call]
    return table

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


def exportable(module: nn.Module) -> nn.Module:
    """The module, or a copy of it whose parts leave sizes open."""
    if not any(_is_open(part) for part in module.modules()):
        return module
    clone = copy.deepcopy(module)
    if isinstance(clone, _InstanceNorm):
        return AnyChannels(clone.eps)
    for parent in list(clone.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, _InstanceNorm) and _is_open(part):
                setattr(parent, name, AnyChannels(part.eps))
    return clone


def _is_open(module: nn.Module) -> bool:
    if not isinstance(module, _InstanceNorm):
        return False
    return module.weight is None and module.running_mean is None


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

"""Memory with guard zones: whoever reads or writes beyond a tensor's ends is found out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

# Enough on both sides for some rows or threadgroups too many; whole pages, so alignment is kept.
GUARD_BYTES = 1 << 16
# As float32 NaN and 1.5e16, as float16 NaN and 203; as integers -1 and 0x5A5A...; both bools.
POISONS = (0xFF, 0x5A)


@dataclass
class GuardedMemory:
    """Hands out tensors between two guard zones of NaN, each filled with one of the POISONS."""

    poison: int
    _blocks: list[tuple[Tensor, int, str]] = field(default_factory=list)

    def allocate(
        self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """A contiguous tensor that holds poison."""
        count = 1
        for size in shape:
            count *= size
        used = count * dtype.itemsize
        room = -(-used // 64) * 64
        block = torch.empty(room + 2 * GUARD_BYTES, dtype=torch.uint8, device=device)
        block[:GUARD_BYTES] = 0xFF
        block[GUARD_BYTES + used :] = 0xFF
        inner = block[GUARD_BYTES : GUARD_BYTES + used]
        inner.fill_(self.poison & 1 if dtype == torch.bool else self.poison)
        self._blocks.append((block, used, name))
        return inner.view(dtype).reshape(shape)

    def copy(self, tensor: Tensor, name: str) -> Tensor:
        """A contiguous copy between guards."""
        copy = self.allocate(name, tuple(tensor.shape), tensor.dtype, tensor.device)
        return copy.copy_(tensor)

    def overrun(self) -> str | None:
        """What was written outside of any tensor, if anything was."""
        for block, used, name in self._blocks:
            for zone, side in (
                (block[:GUARD_BYTES], "before the start"),
                (block[GUARD_BYTES + used :], "past the end"),
            ):
                if bool((zone != 0xFF).any()):
                    return f"wrote {side} of '{name}'"
        return None

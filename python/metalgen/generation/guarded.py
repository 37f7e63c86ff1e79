"""Memory with guard zones: whoever reads or writes beyond a tensor's ends is found out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

# Enough on both sides for some rows or threadgroups too many; whole pages, so alignment is kept.
GUARD_BYTES = 1 << 16
# As float32 NaN and 1.5e16, as float16 NaN and 203; as integers -1 and 0x5A5A...; both bools.
POISONS = (0xFF, 0x5A)
# What is read is guarded by NaN, which spoils every result that it gets into. What is written has
# another guard: a kernel that goes too far in both would else write the NaN that was there before.
_READ_GUARD, _WRITE_GUARD = 0xFF, 0x5C


class _Block(NamedTuple):
    memory: Tensor
    used: int
    guard: int
    name: str


@dataclass
class GuardedMemory:
    """Hands out tensors between two guard zones; those to be written hold one of the POISONS."""

    poison: int
    _blocks: list[_Block] = field(default_factory=list)

    def allocate(
        self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """A contiguous tensor that holds poison."""
        tensor = self._guarded(name, shape, dtype, device, _WRITE_GUARD)
        poison = self.poison & 1 if dtype == torch.bool else self.poison
        tensor.reshape(-1).view(torch.uint8).fill_(poison)
        return tensor

    def copy(self, tensor: Tensor, name: str) -> Tensor:
        """A contiguous copy, to be read."""
        copy = self._guarded(name, tuple(tensor.shape), tensor.dtype, tensor.device, _READ_GUARD)
        return copy.copy_(tensor)

    def _guarded(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        guard: int,
    ) -> Tensor:
        count = 1
        for size in shape:
            count *= size
        used = count * dtype.itemsize
        room = -(-used // 64) * 64
        memory = torch.empty(room + 2 * GUARD_BYTES, dtype=torch.uint8, device=device)
        memory[:GUARD_BYTES] = guard
        memory[GUARD_BYTES + used :] = guard
        self._blocks.append(_Block(memory, used, guard, name))
        return memory[GUARD_BYTES : GUARD_BYTES + used].view(dtype).reshape(shape)

    def overrun(self) -> str | None:
        """What was written outside of any tensor, if anything was."""
        for memory, used, guard, name in self._blocks:
            for zone, side in (
                (memory[:GUARD_BYTES], "before the start"),
                (memory[GUARD_BYTES + used :], "past the end"),
            ):
                if bool((zone != guard).any()):
                    return f"wrote {side} of '{name}'"
        return None

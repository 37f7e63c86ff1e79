"""The selective scan of state-space models."""

from __future__ import annotations

import struct

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import (
    DEVICES,
    DTYPES,
    check_dtype,
    check_same_device,
    check_shape,
    check_tensors,
)
from metalgen.ops.gradients import differentiate
from metalgen.ops.layouts import memory_of
from metalgen.ops.library import SIMDGROUP, kernel_of
from metalgen.ops.winners import choose

MOST_STATES = 256  # of a channel, as kStates in metal/scan.metal


def selective_scan(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor | None = None,
    gate: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """h_t = exp(δ_t A) h_(t-1) + δ_t B_t u_t, y_t = C_t h_t + skip u_t, times silu(gate_t).

    u, delta and gate are (batch, channels, length); a (channels, states); b and c (batch, states,
    length) or (batch, groups, states, length); skip and delta_bias (channels,); initial, h before
    the first moment, (batch, channels, states). δ is delta + delta_bias, through softplus where
    asked. Gives y as u is and the last h in float32. a, skip, delta_bias and initial may be
    float32 beside narrower tensors. Any strides. Gu and Dao, "Mamba" (2023). Raises LaunchError.
    """
    check_tensors("selective_scan", u=u, delta=delta, b=b, c=c, gate=gate)
    if u.dim() != 3 or a.dim() != 2 or a.shape[0] != u.shape[1]:
        found = f"{tuple(u.shape)} and {tuple(a.shape)}"
        raise LaunchError(
            f"selective_scan: expected u (batch, channels, length) and a (channels, states), "
            f"found {found}"
        )
    batch, channels, length = u.shape
    states = a.shape[1]
    if not 1 <= states <= MOST_STATES:
        raise LaunchError(f"selective_scan: expected 1 to {MOST_STATES} states, found {states}")
    check_shape("selective_scan", "delta", delta, u.shape)
    check_shape("selective_scan", "gate", gate, u.shape)
    shapes = {"a": a.shape, "skip": (channels,), "delta_bias": (channels,)}
    shapes["initial"] = (batch, channels, states)
    for name, tensor in (
        ("a", a),
        ("skip", skip),
        ("delta_bias", delta_bias),
        ("initial", initial),
    ):
        if tensor is not None:
            check_dtype("selective_scan", name, tensor, tuple(DTYPES))
            check_same_device("selective_scan", name, tensor, u)
            check_shape("selective_scan", name, tensor, shapes[name])
    b, c = (_grouped(name, t, batch, states, length, channels) for name, t in (("b", b), ("c", c)))
    y, last = _selective_scan(u, delta, a, b, c, skip, gate, delta_bias, delta_softplus, initial)
    return y, last


def _grouped(name: str, x: Tensor, batch: int, states: int, length: int, channels: int) -> Tensor:
    whole = x.unsqueeze(1) if x.dim() == 3 else x
    wanted = (batch, states, length)
    fits = whole.dim() == 4 and (whole.shape[0], *whole.shape[2:]) == wanted
    if not fits or whole.shape[1] == 0 or channels % whole.shape[1]:
        raise LaunchError(
            f"selective_scan: expected {name} (batch, groups, states, length) of {wanted} with "
            f"groups that divide {channels} channels, found {tuple(x.shape)}"
        )
    return whole


@torch.library.custom_op("metalgen::selective_scan", mutates_args=(), device_types=DEVICES)
def _selective_scan(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial: Tensor | None,
) -> tuple[Tensor, Tensor]:
    y, last = _empty_results(u, a)
    batch, channels, length = u.shape
    if y.numel() == 0:
        return y, last.zero_() if initial is None else last.copy_(initial)
    variant = choose("selective_scan", u, (length,))
    steps = [*u.stride(), *delta.stride(), *(gate.stride() if gate is not None else (0, 0, 0))]
    steps += [*b.stride(), *c.stride()]
    sizes = (channels, length, a.shape[1], channels // b.shape[1])
    kernel_of("selective_scan", variant, u)(
        memory_of(u),
        memory_of(delta),
        _wide(a),
        memory_of(b),
        memory_of(c),
        _wide(skip),
        None if gate is None else memory_of(gate),
        _wide(delta_bias),
        _wide(initial),
        y,
        last,
        struct.pack("<4I17Q", *sizes, *steps),
        threadgroups=(channels, batch),
        group_size=(SIMDGROUP, 1),
        constants={
            "has_skip": skip is not None,
            "has_gate": gate is not None,
            "has_delta_bias": delta_bias is not None,
            "has_initial": initial is not None,
            "is_softplus": delta_softplus,
        },
    )
    return y, last


def _wide(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.float().contiguous()


def _empty_results(u: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    last = u.new_empty((u.shape[0], u.shape[1], a.shape[1]), dtype=torch.float32)
    return torch.empty_like(u, memory_format=torch.contiguous_format), last


@_selective_scan.register_fake
def _(u: Tensor, delta: Tensor, a: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    return _empty_results(u, a)


def scan_formula(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The same by PyTorch, one moment after the other; float64 stays float64."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    step = delta.to(dtype)
    if delta_bias is not None:
        step = step + delta_bias.to(dtype)[:, None]
    if delta_softplus:
        step = functional.softplus(step)
    share = u.shape[1] // b.shape[1]
    wide_b, wide_c = (t.to(dtype).repeat_interleave(share, 1) for t in (b, c))
    h = u.new_zeros((*u.shape[:2], a.shape[1]), dtype=dtype)
    h = h if initial is None else h + initial
    results = []
    for t in range(u.shape[2]):
        now = step[:, :, t, None]
        h = torch.exp(now * a.to(dtype)) * h + now * wide_b[..., t] * u[:, :, t, None].to(dtype)
        results.append((h * wide_c[..., t]).sum(-1))
    y = torch.stack(results, -1) if results else u.to(dtype)
    if skip is not None:
        y = y + skip.to(dtype)[:, None] * u
    if gate is not None:
        y = y * functional.silu(gate.to(dtype))
    return y.to(u.dtype), h.to(dtype)


differentiate(_selective_scan, scan_formula)

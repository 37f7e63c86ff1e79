"""PyTorch's own Metal kernels of optimizers and of gradient scaling, beside PyTorch.

They take up to 32 tensors at a time: an argument buffer leads to them, and each threadgroup is told
which 65536 elements of which tensor are its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from apple_cases import assert_close
from samples_of import every
from test_apple_torch import NAMES, library
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
TOLERANCE = {F32: 5e-6, F16: 8e-3, BF16: 6e-2}  # each intermediate is rounded
CHUNK, MOST = 65536, 32  # elements of a threadgroup, tensors and threadgroups of a launch
SIZES = [(7, 11), (CHUNK + 321,), (1,)]  # the second needs two threadgroups


def launch(name: str, tensors: Sequence[Sequence[Tensor]], *scalars: object) -> None:
    """One launch over lists of tensors; the first list says all of their sizes."""
    addresses = [padded([tensor.data_ptr() for tensor in held], 0) for held in tensors]
    dispatch(name, tensors[0], torch.tensor(addresses), *scalars)


def dispatch(name: str, tensors: Sequence[Tensor], pointers: object, *rest: object) -> None:
    """`pointers` to the tensors, then what says which threadgroup does what, then the rest."""
    sizes = [tensor.numel() for tensor in tensors]
    chunks = [(i, at) for i, size in enumerate(sizes) for at in range(-(-size // CHUNK))]
    metadata = [padded(numbers, 0) for numbers in (sizes, *zip(*chunks, strict=True))]
    run = getattr(library(), name)
    run(pointers, metadata, *rest, threadgroups=len(chunks), group_size=256)


def padded(values: Sequence[object], value: object) -> list[object]:
    return [*values, *[value] * (MOST - len(values))]


def normal(dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(size).to(dtype) for size in SIZES]


def positive(dtype: torch.dtype) -> list[Tensor]:
    return [(torch.rand(size) + 0.1).to(dtype) for size in SIZES]


def wide(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers in float32: PyTorch's side computes in it, as the kernels do."""
    return [tensor.to(F32, copy=True) for tensor in tensors]


def compare(
    found: Sequence[Sequence[Tensor]], expected: Sequence[Sequence[Tensor]], dtype: torch.dtype
) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b.to(dtype), TOLERANCE[dtype])


PAIRS = [(F32, F32), (F32, F16), (F16, F32), (F16, F16), (F32, BF16), (BF16, F32), (BF16, BF16)]
ADAM = [
    (name, amsgrad, *types)
    for name in ("adam", "adamw")
    for amsgrad in (False, True)
    for types in PAIRS
]


@pytest.mark.parametrize(("name", "amsgrad", "dtype", "step_dtype"), every(5, ADAM))
def test_adam_and_adamw(name, amsgrad, dtype, step_dtype):
    params, grads, means = normal(dtype), normal(dtype), normal(dtype)
    squares, largest = positive(dtype), positive(dtype) if amsgrad else []
    steps = [torch.tensor(2.0, dtype=step_dtype) for _ in params]
    held = [wide(tensors) for tensors in (params, grads, means, squares, largest, steps)]
    numbers = {"lr": 0.5, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1, "eps": 1e-3}
    function = {"adam": adam, "adamw": adamw}[name]
    function(*held, foreach=False, amsgrad=amsgrad, maximize=amsgrad, **numbers)
    for step in steps:
        step += 1
    lists = [params, grads, means, squares, *([largest] if amsgrad else []), steps]
    kernel = f"fused_{name}{'_amsgrad' * amsgrad}_{NAMES[dtype]}_{NAMES[step_dtype]}"
    launch(kernel, lists, *numbers.values(), int(amsgrad))
    compare([params, means, squares, largest], [held[i] for i in (0, 2, 3, 4)], dtype)
    assert all(torch.equal(a.float(), b) for a, b in zip(grads, held[1], strict=True))


SGD = [
    (momentum, dtype, *flags)
    for dtype in NAMES
    for momentum, *flags in (
        (0.0, False, False, False),
        (0.0, False, True, False),
        (0.9, False, False, False),
        (0.9, True, True, False),
        (0.9, True, False, True),
    )
]


@pytest.mark.parametrize(("momentum", "dtype", "nesterov", "maximize", "first"), every(5, SGD))
def test_stochastic_gradient_descent(momentum, dtype, nesterov, maximize, first):
    params, grads, buffers = normal(dtype), normal(dtype), normal(dtype)
    held = [wide(tensors) for tensors in (params, grads)]
    kept = [None if first else buffer.to(F32, copy=True) for buffer in buffers]
    dampening, decay, lr = 0.0 if nesterov else 0.3, 0.1, 0.5
    numbers = {"weight_decay": decay, "momentum": momentum, "lr": lr, "dampening": dampening}
    kept = kept if momentum else [None] * len(params)
    sgd(*held, kept, **numbers, nesterov=nesterov, maximize=maximize, foreach=False)
    if momentum:
        flags = int(nesterov), int(maximize), int(first)
        scalars = decay, momentum, lr, dampening, *flags
        launch(f"fused_sgd_momentum_{NAMES[dtype]}", [params, grads, buffers], *scalars)
        compare([params, buffers], [held[0], kept], dtype)
    else:
        launch(f"fused_sgd_{NAMES[dtype]}", [params, grads], decay, lr, int(maximize))
        compare([params], [held[0]], dtype)


by_type = pytest.mark.parametrize("dtype", NAMES)


@pytest.mark.parametrize("infinite", [False, True])
@by_type
def test_gradients_are_unscaled_and_searched_for_infinities(dtype, infinite):
    grads = normal(dtype)
    if infinite:
        grads[1][CHUNK + 5] = torch.inf
    expected = [tensor * 0.25 for tensor in grads]
    single, found = grads[0].clone(), torch.zeros(1)
    name = f"ampNonFiniteCheckAndUnscale_{NAMES[dtype]}"
    dispatch(name, grads, [padded(grads, None)], found, 0.25)
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))
    assert found.item() == infinite
    run = getattr(library(), f"ampNonFiniteCheckAndUnscaleSingle_{NAMES[dtype]}")
    run(single, found.zero_(), 0.25, threads=single.numel())
    assert torch.equal(single, expected[0])
    assert found.item() == 0


@pytest.mark.parametrize(("overflow", "tracker"), [(0.0, 0), (0.0, 4), (1.0, 3)])
@by_type
def test_the_scale_grows_after_some_steps_and_shrinks_at_once(dtype, overflow, tracker):
    scale, steps = torch.tensor([8.0]).to(dtype), torch.tensor([tracker], dtype=torch.int32)
    found = torch.tensor([overflow])
    wide_scale, wide_steps = scale.to(F32, copy=True), steps.clone()
    torch._amp_update_scale_(wide_scale, wide_steps, found, 2.0, 0.5, 5)
    run = getattr(library(), f"ampUpdateScale_{NAMES[dtype]}")
    run(scale, steps, found, 2.0, 0.5, 5, threads=1)
    assert torch.equal(scale, wide_scale.to(dtype))
    assert torch.equal(steps, wide_steps)

"""Resizing, losses, padding and index maps in models: regions with open sizes, as eager."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import (
    cross_entropy,
    interpolate,
    layer_norm,
    log_softmax,
    nll_loss,
    pad,
    pixel_shuffle,
    rms_norm,
)

from metalgen.optimize import Backend
from metalgen.optimize.means import Means


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    torch.manual_seed(0)


def logits(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape), torch.randint(0, shape[1], (shape[0], *shape[2:]))]


LINE, PLANE, SPACE = (2, 3, 9), (2, 3, 6, 7), (1, 2, 3, 4, 5)
RESIZES = {
    "nearest line": (LINE, {"size": 15}),
    "linear line": (LINE, {"size": 4, "mode": "linear"}),
    "nearest plane": (PLANE, {"size": (11, 4)}),
    "exact plane": (PLANE, {"size": (11, 4), "mode": "nearest-exact"}),
    "bilinear plane": (PLANE, {"size": (11, 4), "mode": "bilinear"}),
    "bicubic plane": (PLANE, {"size": (3, 15), "mode": "bicubic"}),
    "nearest space": (SPACE, {"size": (5, 7, 6)}),
    "trilinear space": (SPACE, {"size": (5, 3, 6), "mode": "trilinear"}),
}
LOSSES = {
    "mean": (logits(6, 5), {}),
    "sum, an index ignored": (logits(6, 5), {"reduction": "sum", "ignore_index": 2}),
    "none, weighted": (logits(6, 5), {"reduction": "none", "weight": torch.rand(5)}),
    "mean, weighted, smoothed, ignored": (
        logits(6, 5),
        {"weight": torch.rand(5), "label_smoothing": 0.1, "ignore_index": 1},
    ),
    "planes": (logits(2, 5, 3, 4), {"label_smoothing": 0.2}),
    "probabilities": ([torch.randn(6, 5), torch.randn(6, 5).softmax(1)], {}),
}
OTHERS = {
    "negative log likelihood": (
        lambda x, target: nll_loss(log_softmax(x, 1), target),
        logits(6, 5),
    ),
    "residual and layer norm": (
        lambda x, y, w: (x + y, layer_norm(x + y, (32,), w, w)),
        [torch.randn(4, 32), torch.randn(4, 32), torch.rand(32)],
    ),
    "residual and rms norm": (
        lambda x, y, w: (x + y, rms_norm(x + y, (32,), w)),
        [torch.randn(4, 32), torch.randn(4, 32), torch.rand(32)],
    ),
    "concat and split": (
        lambda x, y: torch.cat([p * 2 for p in torch.cat([x, y], 1).chunk(3, 1)][::-1]).mT.relu(),
        [torch.randn(4, 3), torch.randn(4, 6)],
    ),
    "pad": (lambda x: pad(pad(x, (1, 2, 3, 0), value=1.5), (-1, 0)) * 2, [torch.randn(PLANE)]),
    "pad by mirror": (lambda x: pad(x, (1, 2, 3, 0), mode="reflect") * 2, [torch.randn(PLANE)]),
    "transposes": (
        lambda x: (x.permute(2, 0, 3, 1).flatten(1, 2) * 2).unflatten(1, (2, 7)).mT.sum(-1),
        [torch.randn(PLANE)],
    ),
    "stack, roll, flip, tile": (
        lambda x: torch.stack([x.roll(1, -1), x.flip(2)], 1).tile(1, 1, 1, 2, 1) + 1,
        [torch.randn(PLANE)],
    ),
    "pixel shuffle": (lambda x: pixel_shuffle(x, 2) * 2, [torch.randn(1, 8, 2, 4)]),
}


def assert_in_kernels(function, inputs):
    backend = Backend(Means("metal"))
    with torch.no_grad():
        found = torch.compile(function, backend=backend, dynamic=True)(*inputs)
        expected = function(*inputs)
    torch.testing.assert_close(found, expected)
    if isinstance(expected, Tensor):
        assert found.stride() == expected.stride()
    report = backend.report
    assert report.regions
    assert all(region.choice == "metal" for region in report.regions), str(report)
    left = {name for graph in report.graphs for name, reason in graph.left if "view" not in reason}
    assert not left, str(report)


@pytest.mark.parametrize("name", RESIZES)
def test_resizes_are_computed_by_kernels(name):
    shape, options = RESIZES[name]
    assert_in_kernels(lambda x: interpolate(x, **options) * 2, [torch.randn(shape)])


@pytest.mark.parametrize("name", LOSSES)
def test_cross_entropies_are_computed_by_kernels(name):
    inputs, options = LOSSES[name]
    assert_in_kernels(lambda x, target: cross_entropy(x, target, **options), inputs)


@pytest.mark.parametrize("name", OTHERS)
def test_index_maps_and_what_follows_them_are_computed_by_kernels(name):
    assert_in_kernels(*OTHERS[name])


@pytest.mark.parametrize("options", [{"align_corners": True}, {"antialias": True}], ids=str)
def test_other_resizes_are_right_with_part_of_them_in_aten(options):
    x = torch.randn(PLANE)
    backend = Backend(Means("metal"))

    def resize(x: Tensor) -> Tensor:
        return interpolate(x, (3, 15), mode="bilinear", **options)

    with torch.no_grad():
        found = torch.compile(resize, backend=backend, dynamic=True)(x)
    torch.testing.assert_close(found, resize(x))

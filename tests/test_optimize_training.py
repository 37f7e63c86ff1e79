"""Training through regions: gradients, losses and statistics are those of eager."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import metalgen


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    torch.manual_seed(0)


class Block(nn.Module):
    """Attention, norms and a feed-forward part around residuals."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.project(self.first(x)).view(batch, length, 3, 2, width // 2)
        mixed = scaled_dot_product_attention(*heads.permute(2, 0, 3, 1, 4).unbind(0))
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return (x + self.feed(self.second(x))).mean(1)


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Conv2d(8, 4, 3), nn.Flatten(), nn.LazyLinear(5))


MODELS = {
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.LayerNorm(24), nn.Linear(24, 5)),
        (6, 12),
    ),
    "attention": (Block, (3, 7, 16)),
    "convolutions with batch norm": (convolutions, (4, 3, 10, 12)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = MODELS[name]
    model, x = make(), torch.randn(shape)
    model(x)  # lazy layers learn their sizes
    return model.train(), x


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    return cross_entropy(out, torch.arange(len(out)) % out.shape[1])


@pytest.mark.parametrize("name", MODELS)
def test_training_steps_agree_with_eagers_through_forward_and_backward_kernels(name):
    model, x = made(name)
    twin = copy.deepcopy(model)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    steps = [torch.optim.SGD(m.parameters(), 0.1, momentum=0.9) for m in (model, twin)]
    for _ in range(4):
        losses = []
        for module, step in zip((fast, twin), steps, strict=True):
            step.zero_grad()
            losses.append(loss_of(module, x))
            losses[-1].backward()
            step.step()
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)
    for (key, ours), theirs in zip(
        model.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=key)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    forward, backward = vars(fast)["metal_report"].graphs
    for graph in (forward, backward):
        assert any(region.choice == "metal" for region in graph.regions), str(graph)
        assert not [region.reason for region in graph.regions if "wrong" in region.reason]


def test_gradients_of_inputs_and_of_gradients_are_right():
    """The second by eager, which AOTAutograd's backward graph does not allow."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    x = torch.randn(5, 4, requires_grad=True)
    for create in (False, True):
        ours, theirs = (
            torch.autograd.grad(m(x).square().sum(), x, create_graph=create)[0]
            for m in (fast, model)
        )
        torch.testing.assert_close(ours, theirs)
    second = [
        torch.autograd.grad(g.square().sum(), [x, *model.parameters()], allow_unused=True)
        for g in (
            torch.autograd.grad(m(x).square().sum(), x, create_graph=True)[0] for m in (fast, model)
        )
    ]
    for ours, theirs in zip(*second, strict=True):
        torch.testing.assert_close(ours, theirs)
    out = fast(x).sum()
    out.backward(retain_graph=True)
    first = x.grad.clone()
    out.backward()
    torch.testing.assert_close(x.grad, 2 * first)


def test_dropout_is_drawn_anew_and_keeps_the_mean_and_batch_statistics_are_counted_once():
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Dropout(0.5)).train()
    with torch.no_grad():
        nn.init.eye_(model[0].weight)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    x = torch.randn(256, 64)
    twin = copy.deepcopy(model)
    one, other = fast(x), fast(x)
    twin(x)
    assert not torch.equal(one, other)
    kept = (one != 0).float().mean().item()
    assert abs(kept - 0.5) < 0.02
    torch.testing.assert_close(one[one != 0], 2 * twin[1](twin[0](x))[one != 0])
    assert model[1].num_batches_tracked == 2
    one.sum().backward()
    assert model[0].weight.grad.isfinite().all()


def test_eager_is_kept_where_it_is_faster_forward_and_backward():
    model = nn.Linear(3, 2)
    fast = metalgen.optimize_for_metal(model)
    fast(torch.randn(2, 3)).sum().backward()
    forward = vars(fast)["metal_report"].graphs[0]
    assert forward.eager_us is not None
    assert (forward.choice == "eager") == (forward.compiled_us >= forward.eager_us * 0.98)

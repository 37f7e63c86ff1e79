"""Tensors that do not lie in their own order: read and written as they lie, without copies."""

import pytest
import torch
from region_cases import cases_of, report_after
from torch import nn

from metalgen.optimize.contenders import offers
from metalgen.optimize.memory_order import in_memory_order, inverse, order_of

LAST = torch.channels_last


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.zeros(2, 3, 4, 5), None),
        (torch.zeros(2, 3, 4, 5).to(memory_format=LAST), (0, 2, 3, 1)),
        (torch.zeros(2, 3).t(), (1, 0)),
        (torch.zeros(2, 3, 4).permute(2, 0, 1), (1, 2, 0)),
        (torch.zeros(2, 1, 4).transpose(0, 1), None),
        (torch.zeros(4, 1).expand(4, 5), None),
        (torch.zeros(6, 8).t()[::2], None),
        (torch.zeros(0, 3).t(), None),
        (torch.zeros(3), None),
        (3, None),
    ],
)
def test_the_order_of_memory_is_told_for_dense_tensors(tensor, expected):
    found = order_of(tensor, is_dense=True)
    assert found == expected
    if found is not None:
        assert tensor.permute(found).is_contiguous()
        assert tensor.permute(found).permute(inverse(found)).stride() == tensor.stride()


def blocks():
    norm = nn.BatchNorm2d(16)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    yield nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), norm, nn.ReLU())
    yield nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.GELU())
    yield nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.SiLU())
    yield nn.Sequential(nn.Hardswish(), nn.AvgPool2d(2))


@pytest.mark.parametrize("block", [*blocks()], ids=["1x1", "3x3", "depthwise", "pointwise"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_channels_last_goes_in_and_comes_out_without_a_copy(block, dynamic):
    model = block.eval().to(memory_format=LAST)
    x = torch.randn(2, 8, 6, 7).to(memory_format=LAST)
    for case in cases_of(model, x, dynamic=dynamic):
        orders = in_memory_order(case.region).orders
        for order, value in zip(orders.inputs, case.arguments, strict=True):
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                assert value.permute(order or tuple(range(value.dim()))).is_contiguous()
        assert all(order == (0, 2, 3, 1) for order in orders.outputs)
        for offer in offers(case.region):
            made = offer.make()
            assert case.wrong(made) is None, offer.name
            (result,) = made.run(case.arguments)
            assert result.is_contiguous(memory_format=LAST)


def test_a_channels_last_bottleneck_is_one_launch():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12)

        def forward(self, x, residual):
            return torch.relu(self.norm(self.layer(x)) + residual)

    x, residual = (torch.randn(2, c, 5, 7).to(memory_format=LAST) for c in (8, 12))
    for dynamic in (False, True):
        (case,) = cases_of(Block().eval(), x, residual, dynamic=dynamic)
        made = {offer.name: offer.make() for offer in offers(case.region)}
        chosen = made["1x1 convolution as gemm, channels last"]
        assert chosen.kernels == 1
        assert case.wrong(chosen) is None


def test_an_elementwise_region_writes_channels_last_in_one_launch():
    model = nn.Sequential(nn.Hardswish(), nn.Tanh()).eval()
    (case,) = cases_of(model, torch.randn(2, 8, 6, 7).to(memory_format=LAST))
    (made,) = (offer.make() for offer in offers(case.region))
    assert made.kernels == 1
    (result,) = made.run(case.arguments)
    assert result._base is not None  # a view of what the kernel wrote, not a copy of it


def test_inputs_that_lie_otherwise_than_when_captured_are_right():
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()).eval()
    _, optimized = report_after(model, x := torch.randn(1, 4, 6, 6))
    with torch.no_grad():
        for given in (x.to(memory_format=LAST), x.expand(3, 4, 6, 6), x[:, :, ::1, 1:]):
            torch.testing.assert_close(optimized(given), model(given), rtol=1e-4, atol=1e-5)


def test_a_transposed_linear_layer_reads_its_input_in_place():
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 10)

        def forward(self, x):
            return self.layer(x.t())

    (case,) = cases_of(Transposed().eval(), torch.randn(12, 9))
    made = {offer.name: offer.make() for offer in offers(case.region)}
    assert made["gemm"].kernels == 1
    assert all(case.wrong(each) is None for each in made.values())

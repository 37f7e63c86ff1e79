"""The operations inside torch: opcheck, export, torch.compile, gradients."""

import copy

import pytest
import torch
from torch import nn

from metalgen import ops
from metalgen.ops.references import REFERENCES
from metalgen.ops.sample_table import samples

OPERATORS = torch.ops.metalgen
Q = ops.quantize(torch.randn(6, 16), 4, 8)
PLANES = torch.randn(1, 4, 6, 6)
HEADS = torch.randn(1, 2, 5, 8)
SIGNAL = torch.randn(1, 2, 6)

CALLS = {
    "fused_gemm": (torch.randn(5, 8), torch.randn(9, 8).T, torch.randn(9), 2, torch.randn(5, 9)),
    "softmax": (torch.randn(4, 6).T, False),
    "rms_norm": (torch.randn(4, 6), torch.randn(6), 1e-6),
    "add_rms_norm": (torch.randn(4, 6), torch.randn(4, 6), torch.randn(6), 1e-6),
    "add_layer_norm": (
        torch.randn(4, 6), torch.randn(4, 6), torch.randn(6), torch.randn(6), 1e-5,
    ),
    "layer_norm": (torch.randn(4, 6), torch.randn(6), None, 1e-5),
    "group_norm": (PLANES, 2, torch.randn(4), None, 1e-5),
    "batch_norm": (PLANES, None, None, torch.randn(4), torch.randn(4), 1e-5),
    "activation": (torch.randn(4, 6).T, 2),
    "gated": (torch.randn(4, 6), torch.randn(4, 6), 5),
    "reduce": (torch.randn(4, 6), 6, 0, 0),
    "conv2d": (PLANES, torch.randn(3, 4, 3, 3), torch.randn(3), [1, 1, 1, 1, 1, 1], 1, 1, None),
    "conv3d": (
        torch.randn(1, 2, 4, 4, 4), torch.randn(3, 2, 2, 3, 3), torch.randn(3),
        [1, 1, 1, 0, 1, 1, 1, 1, 1], 1, 1, None,
    ),
    "winograd_conv2d": (PLANES, torch.randn(3, 4, 3, 3), torch.randn(3), [1, 1], 1, None),
    "pool2d": (PLANES, True, [3, 3, 2, 2, 2, 2, 0, 0, 1, 1], True),
    "adaptive_pool2d": (PLANES, False, [2, 3]),
    "attention": (HEADS, HEADS.clone(), HEADS.clone(), torch.ones(5, 5).tril() > 0, False, 0.5),
    "rope": (HEADS, torch.randn(5, 2), torch.randn(5, 2), False),
    "embedding": (torch.tensor([[1, 0, 2]]), torch.randn(3, 4)),
    "selective_scan": (
        SIGNAL, SIGNAL.abs(), -torch.rand(2, 3), torch.randn(1, 1, 3, 6), torch.randn(1, 1, 3, 6),
        torch.randn(2), None, None, True, None,
    ),
    "quantized_linear": (torch.randn(5, 16), Q.packed, Q.scales, Q.offsets, 4, None, 1, None),
}  # fmt: skip


def is_differentiable(argument):
    return isinstance(argument, torch.Tensor) and argument.is_floating_point()


def test_every_operator_is_checked():
    every = torch._C._dispatch_get_all_op_names()
    ours = {name.removeprefix("metalgen::") for name in every if name.startswith("metalgen::")}
    assert set(CALLS) == ours


@pytest.mark.parametrize("name", CALLS)
def test_operators_pass_opcheck_with_gradients(name):
    leaves = tuple(
        a.detach().clone().requires_grad_() if is_differentiable(a) else a for a in CALLS[name]
    )
    torch.library.opcheck(getattr(OPERATORS, name).default, leaves)


def first(name):
    """Its first sample with elements; PyTorch has no gradients of statistics that were kept."""
    return next(
        s
        for s in samples(name)
        if 0 not in s.given[0].shape and not (name == "batch_norm" and len(s.given) > 1)
    )


# A quantised weight has no gradient of its own.
FIRST = [first(name) for name in REFERENCES if name != "quantized_linear"]


@pytest.mark.parametrize("sample", FIRST, ids=lambda sample: sample.operation)
def test_gradients_are_those_of_pytorch(sample):
    arguments = sample.make()
    ours = [a.clone().requires_grad_() if is_differentiable(a) else a for a in arguments]
    theirs = [a.double().requires_grad_() if is_differentiable(a) else a for a in arguments]
    found, expected = sample.run(ours)[0], sample.eager(theirs)[0]
    weights = torch.randn(found.shape)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for one, truth in zip(ours, theirs, strict=True):
        if is_differentiable(one) and truth.grad is not None:
            torch.testing.assert_close(one.grad.double(), truth.grad, rtol=1e-3, atol=1e-4)


def test_a_fused_gemm_has_gradients_through_activation_bias_and_broadcast_batches():
    a, b, bias = torch.randn(3, 1, 5, 4), torch.randn(2, 4, 6), torch.randn(6)
    residual = torch.randn(3, 2, 5, 6)
    ours = [t.clone().requires_grad_() for t in (a, b, bias, residual)]
    theirs = [t.double().requires_grad_() for t in (a, b, bias, residual)]
    ops.fused_gemm(*ours[:3], "gelu", ours[3]).square().sum().backward()
    REFERENCES["fused_gemm"](*theirs[:3], "gelu", theirs[3]).square().sum().backward()
    for one, truth in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad.double(), truth.grad, rtol=1e-4, atol=1e-4)


class Block(nn.Module):
    """A transformer's block out of metalgen's operations."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.up = nn.Linear(16, 40)
        self.down = nn.Linear(20, 16)
        self.norm = nn.Parameter(torch.ones(16))

    def forward(self, x, cosine, sine):
        heads = ops.linear(ops.rms_norm(x, self.norm), self.qkv.weight, self.qkv.bias)
        q, k, v = heads.view(*x.shape[:2], 3, 2, 8).permute(2, 0, 3, 1, 4)
        q, k = ops.rope(q, cosine, sine), ops.rope(k, cosine, sine)
        y = ops.scaled_dot_product_attention(q, k, v, causal=True)
        x = x + y.transpose(1, 2).flatten(2)
        gate, value = ops.linear(x, self.up.weight, self.up.bias).chunk(2, -1)
        return ops.linear(ops.swiglu(gate, value), self.down.weight, self.down.bias, residual=x)


def test_operations_export_into_one_program_of_any_length():
    block, x = Block(), torch.randn(2, 7, 16)
    angles = ops.rope_angles(7, 8)
    length = torch.export.Dim("length", min=2, max=64)
    shapes = ({1: length}, {0: length}, {0: length})
    program = torch.export.export(block, (x, *angles), dynamic_shapes=shapes)
    longer = (torch.randn(2, 9, 16), *ops.rope_angles(9, 8))
    torch.testing.assert_close(program.module()(*longer), block(*longer))


def test_operations_train_inside_a_compiled_graph():
    block, x = Block(), torch.randn(2, 7, 16)
    angles = ops.rope_angles(7, 8)
    compiled = torch.compile(copy.deepcopy(block), backend="aot_eager", fullgraph=True)
    for module in (block, compiled):
        module(x, *angles).square().sum().backward()
    torch.testing.assert_close(compiled.qkv.weight.grad, block.qkv.weight.grad)


@pytest.mark.parametrize("sample", FIRST, ids=lambda sample: sample.operation)
def test_operations_run_on_meta_shapes_alone(sample):
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        arguments = tuple(mode.from_tensor(a) for a in sample.make())
        shapes = [tuple(result.shape) for result in sample.run(arguments)]
    assert shapes == [tuple(result.shape) for result in sample.run(sample.make())]

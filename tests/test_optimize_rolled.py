"""Loops over a sequence that capture unrolled are found and computed by one kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

import metalgen
from metalgen.errors import UnsupportedError
from metalgen.optimize.rolled.kernel import body_of, rollable_loops
from metalgen.optimize.rolled.recognise import find_loops, select_from_wholes
from metalgen.proposers.builtin.loop_form import LoopForm
from metalgen.proposers.builtin.loop_verify import verify_loops
from metalgen.proposers.builtin.unrolled import loop_kernels


def running_sum(x: Tensor) -> Tensor:
    total = x[:, 0]
    sums = [total]
    for t in range(1, x.shape[1]):
        total = total + x[:, t]
        sums.append(total)
    return torch.stack(sums, dim=1)


def backwards(x: Tensor) -> Tensor:
    state, entries = torch.zeros_like(x[0]), []
    for t in reversed(range(x.shape[0])):
        state = torch.tanh(0.5 * state) + x[t]
        entries.insert(0, state)
    return torch.stack(entries)


def smoothed(x: Tensor) -> Tensor:
    state, entries = torch.zeros_like(x[:, :1]), []
    for t in range(x.shape[1]):
        state = 0.9 * state + 0.1 * x[:, t : t + 1]
        entries.append(state)
    return torch.cat(entries, dim=1)


def gated(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two states; what a step gives is computed before the states change."""
    cell, state, entries = torch.ones_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
    for now in x.unbind(1):
        gate = torch.sigmoid(now + state)
        entries.append(state * gate)
        cell = gate * cell + (1 - gate) * now
        state = torch.tanh(cell) * gate
    return torch.stack(entries, dim=1), state, cell


class SelectiveScan(nn.Module):
    """A state of rows that every step reduces."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.rand(6, 5))

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        decay = torch.exp(-torch.abs(x).unsqueeze(-1) * self.decay)
        state, entries = torch.zeros_like(decay[:, 0]), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + x[:, t].unsqueeze(-1)
            entries.append((state * c[:, t].unsqueeze(1)).sum(-1))
        return torch.stack(entries, dim=1), state


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor) -> object:
        return self.function(*given)


def graph_of(function: Callable[..., object], *given: Tensor) -> GraphModule:
    module = make_fx(function, tracing_mode="fake", decomposition_table=_TABLE)(*given)
    select_from_wholes(module.graph)
    return module


_TABLE = torch._decomp.get_decompositions([torch.ops.aten.stack.default])


CASES = {
    "running sum": (Function(running_sum), ((3, 12, 7),)),
    "backwards": (Function(backwards), ((10, 4, 5),)),
    "slices joined": (Function(smoothed), ((2, 8, 7),)),
    "two states": (Function(gated), ((2, 9, 7),)),
    "selective scan": (SelectiveScan(), ((2, 9, 6), (2, 9, 5))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loop_over_a_sequence_becomes_one_kernel_and_gives_what_eager_gives(name):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, shapes = CASES[name]
    given = [torch.randn(shape) for shape in shapes]
    fast = metalgen.optimize_for_metal(model.eval(), policy="metal")
    with torch.no_grad():
        torch.testing.assert_close(fast(*given), model(*given), rtol=1e-4, atol=1e-5)
    (graph,) = fast.metal_report.graphs
    (loop,) = [region for region in graph.regions if "cat" in region.operators]
    assert (loop.choice, loop.kernels) == ("metal", 1), str(fast.metal_report)
    assert "in order:" in loop.stages["loops"]


def test_a_loop_has_the_same_kernel_for_other_lengths_but_for_the_number_of_steps():
    texts = []
    for length in (5, 50):
        (loop,) = find_loops(graph_of(running_sum, torch.randn(3, length, 7)).graph)
        assert (loop.steps, len(loop.peeled)) == (length - 1, 1)
        texts.append([str(node.target) for node in loop.body])
    assert texts[0] == texts[1]


def product_in_the_step(x: Tensor, w: Tensor) -> Tensor:
    state, entries = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        state = torch.tanh(x[:, t] + state @ w)
        entries.append(state)
    return torch.stack(entries, dim=1)


def step_read_outside(x: Tensor) -> tuple[Tensor, Tensor]:
    sums = running_sum(x)
    total = x[:, 0]
    entries = [total]
    for t in range(1, x.shape[1]):
        total = total + x[:, t]
        entries.append(total)
    return sums, torch.stack(entries, dim=1) * entries[3].unsqueeze(1)


def differing_steps(x: Tensor) -> Tensor:
    state, entries = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        state = 0.5 * state + (x[:, t] if t % 2 else x[:, t].sin())
        entries.append(state)
    return torch.stack(entries, dim=1)


def test_a_step_with_a_matrix_product_is_compiled_once_and_launched_for_each_step():
    torch._dynamo.reset()
    torch.manual_seed(0)
    x, w = torch.randn(2, 20, 4), torch.randn(4, 4)
    model = Function(product_in_the_step).eval()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    with torch.no_grad():
        torch.testing.assert_close(fast(x, w), model(x, w), rtol=1e-4, atol=1e-5)
    (graph,) = fast.metal_report.graphs
    (loop,) = [region for region in graph.regions if "cat" in region.operators]
    assert loop.choice == "metal", str(fast.metal_report)
    assert loop.kernels % 20 == 0


def test_a_few_steps_with_matrix_products_are_left_to_the_templates():
    graph = graph_of(product_in_the_step, torch.randn(2, 6, 4), torch.randn(4, 4)).graph
    assert len(find_loops(graph)) == 1
    assert rollable_loops(graph) == []


def test_a_step_that_others_read_and_steps_that_differ_are_no_loops():
    (loop,) = find_loops(graph_of(step_read_outside, torch.randn(2, 6, 4)).graph)
    assert loop.joined.name == "cat"  # the first, whose steps nobody else reads
    assert find_loops(graph_of(differing_steps, torch.randn(2, 6, 4)).graph) == []


@pytest.fixture
def form() -> LoopForm:
    (loop,) = find_loops(graph_of(running_sum, torch.randn(3, 12, 7)).graph)
    return loop_kernels(body_of(loop), (), [loop.joined.name]).loops


def test_a_recurrence_whose_state_is_not_set_or_whose_steps_store_the_same_place_is_refused(form):
    verify_loops(form)
    (nest,) = form.nests
    with pytest.raises(UnsupportedError, match="reads 'cat_state0', which is not in memory yet"):
        verify_loops(replace(form, nests=(replace(nest, before=nest.before[1:]),)))
    with pytest.raises(UnsupportedError, match="nothing writes cat_state0_next"):
        verify_loops(replace(form, nests=(replace(nest, statements=nest.statements[:1]),)))
    assert nest.steps is not None
    store = nest.statements[0]
    assert store.target is not None
    fixed = replace(store, target=store.target.replace({nest.steps: nest.steps.extent * 0}))
    with pytest.raises(UnsupportedError, match="written twice, by all iterations of step"):
        verify_loops(replace(form, nests=(replace(nest, statements=(fixed, nest.statements[1])),)))

"""Sizes that change from call to call, several threads, models that are changed after a first call.

Nothing may be compiled for a size that fits a graph which is there: neither by Dynamo, which is
asked how many graphs it made, nor as Metal.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from region_contenders import InAten, captured
from torch import Tensor, nn
from torch._dynamo.utils import counters

import metalgen
from metalgen.optimize import Backend
from metalgen.optimize.contender import Offer
from metalgen.optimize.contenders import templates
from metalgen.optimize.means import Means
from metalgen.optimize.region import Region
from metalgen.optimize.report import RegionReport

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.models.catalogue import EXAMPLES


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    counters.clear()


class Attend(nn.Module):
    """Self-attention over sequences of any length, a residual and a norm."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.project, self.norm = nn.Linear(width, 3 * width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).chunk(3, -1)
        return self.norm(x + torch.softmax(query @ key.transpose(1, 2), -1) @ value)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.LayerNorm(24), nn.Linear(24, 8)).eval()


def compiled_so_far(fast: nn.Module) -> tuple[int, int, int]:
    """Graphs that Dynamo made, graphs that came to the backend, contenders that were made."""
    report = vars(fast)["metal_report"]
    return counters["stats"]["unique_graphs"], len(report.graphs), report.compilations


def with_templates_alone(model: nn.Module, policy: str) -> nn.Module:
    """As `optimize_for_metal`, with one contender a region, which is quicker."""
    backend = Backend(Means(policy), sources=(templates,))
    compiled = torch.compile(model, backend=backend, dynamic=True)
    vars(compiled)["metal_report"] = backend.report
    return compiled


def same(fast: nn.Module, model: nn.Module, *inputs: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(fast(*inputs), model(*inputs))


@pytest.mark.parametrize("policy", ["metal", "fastest"])
def test_other_batch_sizes_and_lengths_compile_nothing(policy):
    model = Attend().eval()
    fast = with_templates_alone(model, policy)
    same(fast, model, torch.randn(2, 6, 16))
    first = compiled_so_far(fast)
    assert first[:2] == (1, 1)
    for batch, length in ((3, 6), (2, 7), (5, 33), (4, 64), (2, 2)):
        same(fast, model, torch.randn(batch, length, 16))
    assert compiled_so_far(fast) == first
    (graph,) = fast.metal_report.graphs
    assert len(graph.classes) == 5  # 3 and 4 rows differ, 2 × 6 and 2 × 7 do not


def test_a_batch_of_one_and_an_empty_one_are_a_graph_of_their_own_each_and_no_more():
    model = mlp()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    same(fast, model, torch.randn(4, 16))
    for _ in range(2):
        same(fast, model, torch.randn(1, 16))
        same(fast, model, torch.randn(0, 16))
        same(fast, model, torch.randn(9, 16))
    assert compiled_so_far(fast)[0] <= 3


def test_sizes_marked_as_dynamic_are_open_from_the_first_call():
    model = mlp()
    fast = torch.compile(model, backend="metalgen", options={"policy": "metal"})
    x = torch.randn(4, 16)
    torch._dynamo.mark_dynamic(x, 0)
    same(fast, model, x)
    for rows in (7, 130):
        same(fast, model, torch.randn(rows, 16))
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.filterwarnings("ignore")  # of what transformers deprecates
@pytest.mark.parametrize("policy", ["metal", "fastest"])
def test_decoding_with_a_growing_cache_compiles_nothing_after_the_first_token(policy):
    (example,) = (each for each in EXAMPLES if each.name == "gpt2")
    model, inputs = example.make(True)
    model.eval()
    fast = with_templates_alone(model, policy)
    keys, values = inputs["keys"], inputs["values"]
    counts = []
    with torch.no_grad():
        for _ in range(9):
            expected, *_ = model(token=inputs["token"], keys=keys, values=values)
            found, keys, values = fast(token=inputs["token"], keys=keys, values=values)
            torch.testing.assert_close(found, expected)
            counts.append(compiled_so_far(fast))
    assert keys.shape[3] == 10 + 9
    assert counts[-1] == counts[0]
    assert not counters["graph_break"]


@pytest.mark.parametrize("policy", ["metal", "fastest"])
def test_threads_that_call_first_at_the_same_time_share_one_compilation(policy):
    model = mlp()
    fast = metalgen.optimize_for_metal(model, policy=policy)
    inputs = [torch.randn(rows, 16) for rows in (4, 4, 7, 12)]
    results: list[Tensor | BaseException] = [RuntimeError("did not run")] * len(inputs)
    barrier = threading.Barrier(len(inputs))

    def call(number: int) -> None:
        try:
            barrier.wait(60)
            for _ in range(3):
                with torch.no_grad():
                    results[number] = fast(inputs[number])
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    with torch.no_grad():
        for result, x in zip(results, inputs, strict=True):
            torch.testing.assert_close(result, model(x))
    assert compiled_so_far(fast)[:2] == (1, 1)


def test_what_is_timed_is_alone_though_two_models_are_called_at_once():
    graph = captured(lambda x: (x + 1,), torch.ones(3))
    inside: list[str] = []
    overlaps: list[list[str]] = []

    class Watching(InAten):
        def run_in(self, allocate, arguments):
            inside.append(self.name)
            overlaps.append(list(inside))
            results = super().run_in(allocate, arguments)
            inside.remove(self.name)
            return results

    names = ("one", "other", "third")
    regions = [
        Region(
            graph,
            [Offer(name, lambda name=name: Watching(graph.module, name))],
            Means(policy="metal"),
            RegionReport("region_0", ("add",)),
        )
        for name in names
    ]
    barrier = threading.Barrier(len(regions))

    def call(region):
        barrier.wait(60)
        region(torch.ones(3))

    threads = [threading.Thread(target=call, args=(region,)) for region in regions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert {name for each in overlaps for name in each} == set(names)
    assert all(len(each) == 1 for each in overlaps)


def test_where_eager_is_chosen_calls_go_straight_to_the_model():
    model, x = nn.Sequential(nn.Linear(16, 8), nn.Tanh()).eval(), torch.randn(4, 16)
    fast = metalgen.optimize_for_metal(model, budget_s=0)  # so that nothing gets kernels
    for _ in range(2):
        same(fast, model, x)
    calls = []
    model[1].register_forward_hook(lambda *given: calls.append(torch.compiler.is_compiling()))
    made = compiled_so_far(fast)
    with torch.no_grad():
        fast(x)
    assert calls == [False]  # Dynamo would have captured anew for the hook
    assert compiled_so_far(fast) == made
    with torch.no_grad():
        model[0].weight.mul_(2)
    same(fast, model, x)
    same(fast, model, torch.randn(9, 16))


def test_hooks_of_what_goes_straight_to_the_model_are_called():
    model, x = nn.Linear(16, 8).eval(), torch.randn(4, 16)
    fast = metalgen.optimize_for_metal(model, budget_s=0)
    for _ in range(2):
        same(fast, model, x)
    fast.register_forward_hook(lambda module, inputs, result: -result)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), -model(x))


def test_a_model_moved_to_a_device_without_metal_runs_there_and_comes_back():
    model = mlp()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    x = torch.randn(4, 16)
    same(fast, model, x)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("meta")
    with torch.no_grad():
        assert fast(x.to("meta")).device.type == "meta"
    report = fast.metal_report
    assert report.graphs[-1].choice == "eager"
    assert {why for _, why in report.graphs[-1].left} == {"on meta, where there is no Metal"}
    model.to_empty(device="cpu").load_state_dict({n: 2 * v for n, v in state.items()})
    same(fast, model, x)


def test_a_dtype_that_comes_back_finds_its_kernels_again():
    model = mlp()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    x = torch.randn(4, 16)
    same(fast, model, x)
    model.half()
    with torch.no_grad():
        assert fast(x.half()).dtype == torch.float16
    made = compiled_so_far(fast)
    assert made[0] == 2
    model.float()
    same(fast, model, x)
    assert compiled_so_far(fast) == made


def test_a_checkpoint_loaded_after_the_first_call_is_used():
    model, other = mlp(), mlp()
    fast = metalgen.optimize_for_metal(model, policy="metal")
    x = torch.randn(4, 16)
    same(fast, model, x)
    made = compiled_so_far(fast)
    model.load_state_dict(other.state_dict())
    same(fast, other, x)
    model.load_state_dict(mlp().state_dict(), assign=True)
    same(fast, model, x)
    assert compiled_so_far(fast) == made

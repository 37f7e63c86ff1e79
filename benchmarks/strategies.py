"""Strategies for convolutions and products side by side: each beside ATen and the templates.

Usage: python benchmarks/strategies.py [--only TEXT] [--dtype float32] [--device cpu] [--threads N]
                                       [--rounds 9] [--cpu-time]

Every contender is held against float64 before it is timed; one that is wrong is named, not timed.
Ratios below 1 are faster. The least of several rounds counts, in which all take turns.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from metalgen.device import settle, synchronize
from metalgen.errors import MetalgenError
from metalgen.ops.winners import device_name
from metalgen.optimize.contender import Contender, RegionGraph
from metalgen.optimize.contenders import templates
from metalgen.optimize.region_check import Expected, wrong_result
from metalgen.optimize.strategies import strategies

ATEN = torch.ops.aten


@dataclass(frozen=True)
class Problem:
    """A function of ATen operators on an input, weights and perhaps a bias, of these shapes."""

    name: str
    function: Callable[..., torch.Tensor]
    shapes: tuple[tuple[int, ...], ...]
    terms: int  # of each sum


def convolution(
    name: str,
    x: tuple[int, ...],
    outputs: int,
    kernel: Sequence[int],
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Problem:
    """A convolution with bias and ReLU."""
    rank = len(kernel)

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        sizes = [stride] * rank, [padding] * rank, [1] * rank
        return torch.relu(
            ATEN.convolution(x, weight, bias, *sizes, False, [0] * rank, groups)  # type: ignore[arg-type]
        )

    weight = (outputs, x[1] // groups, *kernel)
    return Problem(name, run, (x, weight, (outputs,)), math.prod(weight[1:]))


def product(name: str, m: int, n: int, k: int) -> Problem:
    """A linear layer with GELU."""

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return ATEN.gelu(ATEN.addmm(bias, x, weight.t()))

    return Problem(name, run, ((m, k), (n, k), (n,)), k)


def batched(name: str, batch: int, m: int, n: int, k: int) -> Problem:
    """Products of many small matrices."""
    return Problem(name, ATEN.bmm, ((batch, m, k), (batch, k, n)), k)


PROBLEMS = (
    convolution("3x3, 64 to 64, 56x56", (1, 64, 56, 56), 64, (3, 3), padding=1),
    convolution("3x3, 128 to 128, 28x28", (1, 128, 28, 28), 128, (3, 3), padding=1),
    convolution("3x3, 256 to 256, 14x14", (1, 256, 14, 14), 256, (3, 3), padding=1),
    convolution("3x3 by 2, 64 to 128, 56x56", (1, 64, 56, 56), 128, (3, 3), stride=2, padding=1),
    convolution("7x7 by 2, 3 to 64, 224x224", (1, 3, 224, 224), 64, (7, 7), stride=2, padding=3),
    convolution("1x1, 256 to 64, 56x56", (1, 256, 56, 56), 64, (1, 1)),
    convolution("depthwise 3x3, 128, 56x56", (1, 128, 56, 56), 128, (3, 3), padding=1, groups=128),
    convolution("1D 5, 64 to 64, 2048", (4, 64, 2048), 64, (5,), padding=2),
    convolution("3D 3x3x3, 16 to 32, 16x28x28", (1, 16, 16, 28, 28), 32, (3, 3, 3), padding=1),
    product("512 x 512 x 512", 512, 512, 512),
    product("128 x 768 x 3072", 128, 768, 3072),
    product("16 x 64 x 8192", 16, 64, 8192),
    product("1 x 4096 x 4096", 1, 4096, 4096),
    batched("48 of 128 x 128 x 64", 48, 128, 128, 64),
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="problems whose name holds this text")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "mps"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--cpu-time", action="store_true", help="of the processor, for machines that are busy"
    )
    chosen = parser.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    dtype = getattr(torch, chosen.dtype)
    torch.set_num_threads(chosen.threads)
    os.environ["METALGEN_NUM_THREADS"] = str(chosen.threads)
    print(f"{device_name(chosen.device)}, {chosen.dtype}, torch {torch.__version__}")
    print(f"{'':<36}{'contender':<28}{'us':>10}{'to ATen':>9}{'to templates':>14}")
    for problem in PROBLEMS:
        if chosen.only in problem.name:
            found = rows(problem, dtype, chosen.device, rounds=chosen.rounds, clock=clock)
            for row in found:
                print(row, flush=True)


@torch.no_grad()
def rows(
    problem: Problem,
    dtype: torch.dtype,
    device: str,
    *,
    rounds: int,
    clock: Callable[[], float],
) -> Iterator[str]:
    """A line for ATen and one for each contender."""
    torch.manual_seed(0)
    x, weight, *rest = (torch.randn(shape) for shape in problem.shapes)
    # As layers initialise theirs: results are of the size of inputs.
    given = (x, weight / math.sqrt(problem.terms), *rest)
    arguments = tuple(value.to(device, dtype) for value in given)
    module = make_fx(lambda *given: (problem.function(*given),), tracing_mode="fake")(*arguments)
    names = [node.name for node in module.graph.find_nodes(op="placeholder")]
    region = RegionGraph(module, frozenset(names[1:]), device)
    expected = Expected.of(region, arguments)
    right: dict[str, Contender] = {}
    for offer in (*templates(region), *strategies(region)):
        try:
            made = offer.make()
            wrong = wrong_result(made, arguments, expected)
        except MetalgenError as error:
            wrong = str(error)
        if wrong is None:
            right[offer.name] = made
        else:
            yield f"{problem.name:<36}{offer.name:<28}  {wrong}"
    runs: dict[str, Any] = {
        name: lambda made=made: made.run(arguments) for name, made in right.items()
    }
    us = best_us({"ATen": lambda: module(*arguments), **runs}, device, rounds, clock)
    for name, taken in us.items():
        beside = f"{taken / us['templates']:>14.2f}" if "templates" in us else ""
        title = problem.name if name == "ATen" else ""
        yield f"{title:<36}{name:<28}{taken:>10.0f}{taken / us['ATen']:>9.2f}{beside}"


def best_us(
    runs: Mapping[str, Callable[[], object]], device: str, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The least microseconds of each, called in turns so that a slow moment strikes all alike."""
    settle()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            started = clock()
            run()
            synchronize(device)
            times[name].append(clock() - started)
    return {name: min(taken[1:]) * 1e6 for name, taken in times.items()}


if __name__ == "__main__":
    main()

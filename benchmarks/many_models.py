"""Many small models of transformers, random weights, through metalgen and held against eager.

    python benchmarks/many_models.py [NAME ...] [--jobs N] [--dtype float32|float16|bfloat16]

Each model runs in a process of its own under `policy="metal"`, for two sizes of inputs. `s` are
the seconds of both calls, capture and kernels included; `worst` is the largest difference from
eager as a part of the largest element of that result.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import transformers
from many_models_catalogue import MODELS, make
from torch import Tensor, nn
from torch._dynamo.utils import counters

import metalgen

HEADS = ("model", "s", "worst", "FLOPs", "operators", "graphs", "breaks", "before", "after")


def tensors(value: object) -> Iterator[Tensor]:
    """All tensors that a model returned, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, transformers.utils.ModelOutput):
        yield from tensors(value.to_tuple())
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors(each)


def difference(found: Tensor, expected: Tensor) -> float:
    """Infinite where the results are not of one kind."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if not expected.is_floating_point():
        return 0.0 if torch.equal(found, expected) else float("inf")
    same = torch.isclose(found, expected, rtol=0, atol=0, equal_nan=True)
    gap = (found.double() - expected.double()).masked_fill(same, 0).abs()
    if gap.isnan().any():
        return float("inf")
    largest = expected.double().nan_to_num(0, 0, 0).abs().max() if expected.numel() else 1
    return float(gap.max() / max(float(largest), 1e-30)) if gap.numel() else 0.0


def prepared(name: str, dtype: torch.dtype) -> tuple[nn.Module, Sequence[dict[str, Any]]]:
    """The model in eval mode and two sets of inputs, floating point in `dtype`."""
    torch.manual_seed(0)
    model, inputs = make(name)
    model.config.use_cache = False
    for parameter in model.parameters():
        if parameter.dim() == 1:  # scales of 1 and biases of 0 hide mistakes
            nn.init.uniform_(parameter, 0.5, 1.5)
    cast = [{k: v.to(dtype) if v.is_floating_point() else v for k, v in i.items()} for i in inputs]
    return model.eval().to(dtype), cast


def measure(name: str, dtype: torch.dtype) -> tuple[object, ...]:
    """One line of the table."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(2)
    model, inputs = prepared(name, dtype)
    fast = metalgen.optimize_for_metal(model, policy="metal")
    seconds, worst = 0.0, 0.0
    with torch.no_grad():
        for each in inputs:
            expected, started = list(tensors(model(**each))), time.perf_counter()
            found = list(tensors(fast(**each)))
            seconds += time.perf_counter() - started
            gaps = (difference(*pair) for pair in zip(found, expected, strict=True))
            worst = max((worst, *gaps))
    report = fast.metal_report
    breaks = sum(counters["graph_break"].values())
    shares = f"{report.flops_share:.1%}", f"{report.operators_share:.1%}"
    graphs = len(report.graphs)
    return name, f"{seconds:.1f}", f"{worst:.1e}", *shares, graphs, breaks, *report.launches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - MODELS.keys():
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {chosen.dtype}")
    print("  ".join(f"{head:>12}" for head in HEADS))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        dtype = getattr(torch, chosen.dtype)
        runs = {name: pool.submit(measure, name, dtype) for name in chosen.names or MODELS}
        for name, run in runs.items():
            try:
                cells: Sequence[object] = run.result()
            except Exception as error:  # the table goes on
                lines = str(error).splitlines() or [""]
                cells = name, f"{type(error).__name__}: {lines[0]}"
            print("  ".join(f"{cell!s:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())

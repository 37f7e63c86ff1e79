"""Random kernels compute on the software device what NumPy makes of the same statements.

METALGEN_RANDOM_KERNELS=N tries N kernels, other ones every time; without it the same few are tried.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy_kernels import component_names, random_kernel, same
from numpy_tallies import first_tallies
from numpy_threads import GEOMETRIES

from metalgen import load_metallib
from metalgen.compiler import CompileOptions, compile_source

MORE = int(os.environ.get("METALGEN_RANDOM_KERNELS", "0"))
# Fast maths may reorder what NumPy does in order.
OPTIONS = CompileOptions(math="safe")


def run(source, geometry, values):
    kernel = load_metallib(compile_source(source, options=OPTIONS)).kernel("random_kernel")
    results = torch.full((len(values), len(component_names())), 77, dtype=torch.int32)
    threads, group_size = geometry.threads, geometry.group_size
    tallies = torch.from_numpy(first_tallies().view(np.int64))
    given = torch.from_numpy(values)
    kernel(given, results, 0, tallies, threads=threads, group_size=group_size)
    return results.numpy().view(np.uint32), tallies.numpy().view(np.uint64)


@settings(
    max_examples=MORE or 25,
    derandomize=not MORE,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.randoms(use_true_random=False), st.sampled_from(GEOMETRIES), st.integers(0, 9))
def test_random_kernels_compute_what_numpy_computes(random, geometry, seed):
    kernel = random_kernel(random)
    count = geometry.threads[0] * geometry.threads[1]
    values = np.random.default_rng(seed).integers(-100, 100, count, dtype=np.int32)
    expected, expected_tallies = kernel.expected(geometry, values)
    found, tallies = run(kernel.source, geometry, values)
    wrong = np.argwhere(~same(found, expected))
    where = [(int(thread), component_names()[word]) for thread, word in wrong[:6]]
    assert not where, f"{geometry}, seed {seed}: (thread, variable) {where}\n{kernel.source}"
    wrong = np.argwhere(tallies != expected_tallies).tolist()
    assert not wrong, f"{geometry}, seed {seed}: (tally, place) {wrong}\n{kernel.source}"

"""TorchInductor's Metal backend: PyTorch's sample inputs of every operator, against eager.

The backend is registered for the CPU, so that torch.compile runs it here as it would on a Mac.
"""

from __future__ import annotations

import itertools
import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from metalgen.compiler import CompileOptions
from wild.generated import generated
from wild.generators.results import TOLERANCES, Results

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
HEADERS = Path(torch.__file__).parent / "include"
# torch.mps.compile_shader compiles without fast maths.
OPTIONS = CompileOptions(math="safe")
PROJECT = generated("TorchInductor", (), OPTIONS, (HEADERS,))
_ERROR_BUFFER_BYTES = 4 + 30 * (128 + 128 + 252)  # c10/metal/error.h
# Random numbers differ from those of the CPU; the others call libraries alone.
_LEFT_OUT = ("empty", "new_empty", "rand", "normal", "uniform", "exponential", "cauchy",
             "geometric", "dropout", "multinomial", "bernoulli", "rrelu", "log_normal", "fft",
             "linalg", "lu", "qr", "cholesky", "svd", "eig", "sparse", "stft", "istft", "item",
             "jiterator", "_refs", "nonzero", "unique", "cdist", "geqrf", "ormqr", "lobpcg",
             "pca_lowrank", "triangular_solve")  # fmt: skip


def run(results: Results, _: Path, *, samples: int = 2, types: tuple[Any, ...] = TYPES) -> None:
    """Compile `samples` of the sample inputs of each operator in each of `types`."""
    warnings.filterwarnings("ignore")
    _register(results)
    for operator in _operators():
        for dtype in types:
            for sample in _samples(operator, dtype, samples):
                _check(results, operator, dtype, sample)


def _register(results: Results) -> None:
    import torch._inductor.codegen.common as common
    from torch._inductor import config
    from torch._inductor.codegen.mps import MetalScheduling
    from torch._inductor.codegen.wrapper import PythonWrapperCodegen
    from torch._inductor.runtime import runtime_utils

    common.init_backend_registration()
    common.register_backend_for_device("cpu", MetalScheduling, PythonWrapperCodegen)
    config.cpu_backend = "mps"  # type: ignore[assignment]
    config.compile_threads = 1
    config.force_disable_caches = True
    config.fallback_random = True

    def compile_shader(source: str) -> types.SimpleNamespace:
        library = results.library(source, OPTIONS, (HEADERS,))
        kernels = {name: _bound(library.kernel(name)) for name in library.names}
        return types.SimpleNamespace(**kernels)

    runtime_utils.compile_mps_shader = compile_shader


def _bound(kernel: Callable[..., None]) -> Callable[..., None]:
    """The kernel as torch's own library calls it: any strides, and a buffer for errors."""

    def call(*arguments: Any, error_buf_idx: int | None = None, **sizes: Any) -> None:
        given = [_flat(a) if isinstance(a, torch.Tensor) else a for a in arguments]
        if error_buf_idx is not None:
            given.insert(error_buf_idx, torch.zeros(_ERROR_BUFFER_BYTES, dtype=torch.uint8))
        kernel(*given, **sizes)

    return call


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_contiguous():
        return tensor
    reach = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.as_strided((reach,), (1,))


def _operators() -> Iterator[Any]:
    if "expecttest" not in sys.modules:  # torch.testing wants its name alone
        module = types.ModuleType("expecttest")
        module.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        sys.modules["expecttest"] = module
    from torch.testing._internal.common_methods_invocations import op_db

    for operator in op_db:
        if not any(operator.name.startswith(w) or f".{w}" in operator.name for w in _LEFT_OUT):
            yield operator


def _samples(operator: Any, dtype: torch.dtype, count: int) -> list[Any]:
    if dtype not in operator.supported_dtypes("cpu"):
        return []
    try:
        made = list(itertools.islice(operator.sample_inputs("cpu", dtype), count * 6))
    except (NotImplementedError, RuntimeError):  # some want another device or library
        return []
    return made[:: max(1, len(made) // count)][:count]


def _check(results: Results, operator: Any, dtype: torch.dtype, sample: Any) -> None:
    def call(x: Any, *arguments: Any, **named: Any) -> Any:
        return operator.op(x, *arguments, **named)

    given = (sample.input, *sample.args)
    try:
        expected = call(*given, **sample.kwargs)
    except Exception:  # what eager refuses is no case
        return
    torch._dynamo.reset()
    compiled = torch.compile(call, dynamic=False)
    name = f"{operator.name} {operator.variant_test_name} {str(dtype)[6:]}"
    tolerance = TOLERANCES.get(dtype, TOLERANCES[torch.float32])
    before = len(results.sources)
    results.check(name, lambda: compiled(*given, **sample.kwargs), expected, tolerance)
    if len(results.sources) == before:  # ATen computed it
        results.right -= 1

"""Apple's quantised products that also take a scale for all of a matrix, beside PyTorch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from apple_cases import FLOATS, Launch, apple, assert_close, run
from samples_of import every
from test_apple_quantized import NAMES, Mode, gathered, matrix
from test_apple_quantized_forms import ENCODED, GLOBAL, by_experts
from torch import Tensor

MODES = [Mode("nvfp4", 16, 4), Mode("mxfp8", 32, 8)]
BLOCKS = "bm_16_bn_32_bk_32_wm_1_wn_2"
FACTORS = torch.tensor([1.0, 2.0, 0.5, 4.0])  # of the matrices, where a product chooses among them
# What the names of kernels say behind the mode, around type and mode.
FORMS = {
    "qvm": ["qvm_{}_batch_0_hgs"],
    "qmm_t": ["qmm_t_{}_alN_true_batch_0_hgs", "qmm_t_{}_alN_false_batch_0_hgs"],
    "gather qmv": ["gather_qmv_{}_hgs"],
    "gather qmv_fast": ["gather_qmv_fast_{}_hgs"],
    "gather qvm": ["gather_qvm_{}_hgs"],
    "gather qmm_t": ["gather_qmm_t_{}_alN_true_hgs", "gather_qmm_t_{}_alN_false_hgs"],
    "gather qmm_n": ["gather_qmm_n_{}_hgs"],
    "experts nt": [f"gather_qmm_rhs_nt_{{}}_{BLOCKS}_hgs"],
    "experts nn": [f"gather_qmm_rhs_nn_{{}}_{BLOCKS}_hgs"],
}
CASES = [
    (form, name, mode, dtype)
    for form, names in FORMS.items()
    for name in names
    for mode in MODES
    for dtype in FLOATS
    if form != "qmm_t" or (mode.name == "nvfp4" and dtype == torch.bfloat16)  # the only ones
]


def scaled(form: str, mode: Mode, dtype: torch.dtype) -> Launch:
    """The launch without such a scale, and what becomes of it."""
    kind, _, which = form.rpartition(" ")
    place, chosen = 2, torch.zeros(1, dtype=torch.int64)
    if kind == "gather":
        launch = gathered(mode, dtype, which)
        chosen = launch.arguments[5]
    elif kind == "experts":
        launch = by_experts(mode, dtype, which == "nt")
        place, starts = 3, launch.arguments[4]
        chosen = torch.searchsorted(starts, torch.arange(40), right=True) - 1
    else:
        launch = matrix(mode, dtype, which)
    ((output, unscaled),) = launch.expected.items()
    factors = FACTORS[chosen.long()].view(-1, *[1] * (unscaled.dim() - 1))
    expected: Tensor = (unscaled.float() * factors / ENCODED).to(dtype)
    arguments = {**launch.arguments, place: GLOBAL * FACTORS}
    return replace(launch, arguments=arguments, expected={output: expected})


@pytest.mark.parametrize(
    ("form", "name", "mode", "dtype"),
    every(19, CASES),
)
def test_products_with_a_scale_for_all_of_a_matrix(form, name, mode, dtype):
    launch = scaled(form, mode, dtype)
    kernel = f"{mode.name}_{name.format(f'{NAMES[dtype]}_{mode.stem}')}"
    for index, result in run(apple(), kernel, launch).items():
        assert_close(result, launch.expected[index], launch.tolerance * 4)

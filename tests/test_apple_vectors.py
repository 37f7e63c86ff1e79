"""Apple's products of matrices and vectors, and ours beside them."""

from __future__ import annotations

import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels, listed, named
from apple_products import BLOCK, TOLERANCE, masks, product, some, spread


def vector_arguments(
    matrix: torch.Tensor, vector: torch.Tensor, inputs: int, outputs: int
) -> dict[int, object]:
    """Two in a batch, densely."""
    return {
        0: matrix,
        1: vector,
        4: inputs,
        5: outputs,
        6: matrix.shape[-1],
        9: 1,
        10: listed([2], torch.int32),
        11: listed([inputs]),
        12: listed([matrix.shape[-1] * matrix.shape[-2]]),
    }


def gemv(dtype: torch.dtype, rows: int, group: tuple[int, ...], *, axpby: bool = False) -> Launch:
    inputs, outputs = 150, 70
    matrix, vector = some(dtype, 2, outputs, inputs), some(dtype, 2, inputs)
    expected = product(matrix, vector[..., None])[..., 0]
    arguments = vector_arguments(matrix, vector, inputs, outputs)
    if axpby:
        bias = some(dtype, 2, outputs)
        arguments |= {2: bias, 7: 0.5, 8: 2.0, 13: listed([outputs]), 14: 1}
        expected = (0.5 * (matrix.float() @ vector.float()[..., None])[..., 0] + 2 * bias).to(dtype)
    return Launch(
        arguments,
        {3: expected},
        groups=(-(-outputs // rows), 1, 2),
        group_size=group,
        tolerance=TOLERANCE[dtype],
    )


def gemv_transposed(dtype: torch.dtype, columns: int, group: tuple[int, ...]) -> Launch:
    inputs, outputs = 150, 70
    matrix, vector = some(dtype, 2, inputs, outputs), some(dtype, 2, inputs)
    return Launch(
        vector_arguments(matrix, vector, inputs, outputs),
        {3: product(vector[:, None], matrix)[:, 0]},
        groups=(-(-outputs // columns), 1, 2),
        group_size=group,
        tolerance=TOLERANCE[dtype],
    )


def gemv_gathered(dtype: torch.dtype, transposed: bool) -> Launch:
    inputs, outputs = 150, 72
    shape = (inputs, outputs) if transposed else (outputs, inputs)
    matrices, vectors = some(dtype, 4, *shape), some(dtype, 3, inputs)
    of_vector, of_matrix = listed([2, 0, 1], torch.int32), listed([3, 3, 0], torch.int32)
    chosen = matrices[of_matrix.long()]
    chosen = chosen.mT if transposed else chosen
    expected = product(chosen, vectors[of_vector.long()][..., None])[..., 0]
    arguments = {
        0: matrices,
        1: vectors,
        4: inputs,
        5: outputs,
        6: shape[1],
        9: 1,
        10: listed([3], torch.int32),
        11: listed([1, 1]),
        12: 1,
        13: listed([3], torch.int32),
        14: listed([inputs]),
        15: 1,
        16: listed([4], torch.int32),
        17: listed([inputs * outputs]),
        18: of_vector,
        19: of_matrix,
    }
    # Columns of 2 x 4 x 4, or rows of 4 x 4.
    groups, group = ((3, 1, 3), (32, 2, 1)) if transposed else ((5, 1, 3), (32, 1, 4))
    return Launch(
        arguments, {3: expected}, groups=groups, group_size=group, tolerance=TOLERANCE[dtype]
    )


def gemv_masked(dtype: torch.dtype, mask: torch.dtype, transposed: bool) -> Launch:
    """Blocks of 32 by 32 that are left out, or scaled."""
    inputs, outputs = 3 * BLOCK, 2 * BLOCK
    shape = (inputs, outputs) if transposed else (outputs, inputs)
    matrix, vector = some(dtype, *shape), some(dtype, inputs)
    of_output, of_vector = masks(mask, 2), masks(mask, 3)
    of_matrix = masks(mask, *(size // BLOCK for size in shape))
    seen = matrix.float() * spread(of_matrix)
    seen = seen.T if transposed else seen
    expected = (seen @ (vector.float() * spread(of_vector))) * spread(of_output)
    arguments = {
        0: matrix,
        1: vector,
        4: inputs,
        5: outputs,
        6: shape[1],
        9: 1,
        10: listed([1], torch.int32),
        11: listed([0]),
        12: listed([0]),
        20: of_output,
        21: of_matrix,
        22: of_vector,
        23: listed([1, 1, 1, of_matrix.shape[1], 1, 1], torch.int32),
        24: listed([0, 0, 0]),
    }
    return Launch(
        arguments,
        {3: expected.to(dtype)},
        groups=(2, 1, 1),
        group_size=(32, 2, 1) if transposed else (32, 1, 2),
        tolerance=TOLERANCE[dtype],
    )


def gemv_wide(dtype: torch.dtype) -> Launch:
    inputs, outputs, vectors = 256, 70, 7
    matrix, given = some(dtype, outputs, inputs), some(dtype, vectors, inputs)
    arguments = {
        0: matrix,
        1: given,
        4: inputs,
        5: outputs,
        6: vectors,
        7: inputs,
        8: inputs,
        11: 1,
        12: listed([1], torch.int32),
        13: listed([0]),
        14: listed([0]),
    }
    return Launch(
        arguments,
        {3: product(given, matrix.T)},
        groups=(2, -(-outputs // 4), 1),
        group_size=(32, 2, 1),
        constants={"gemv_wide_has_batch": False, "gemv_wide_do_axpby": False},
        tolerance=TOLERANCE[dtype],
    )


def gemv_wide_gathered(dtype: torch.dtype) -> Launch:
    """Seven vectors of each of three batches, times one of four matrices."""
    inputs, outputs, vectors = 256, 70, 7
    matrices, given = some(dtype, 4, outputs, inputs), some(dtype, 3, vectors, inputs)
    of_vector, of_matrix = listed([2, 0, 1], torch.int32), listed([3, 3, 0], torch.int32)
    numbers = {4: inputs, 5: outputs, 6: vectors, 7: inputs, 8: inputs}
    batches = {
        11: 1,
        12: listed([3], torch.int32),
        13: listed([1, 1]),
        14: 1,
        15: listed([3], torch.int32),
        16: listed([vectors * inputs]),
        17: 1,
        18: listed([4], torch.int32),
        19: listed([outputs * inputs]),
        20: of_vector,
        21: of_matrix,
    }
    return Launch(
        {0: matrices, 1: given, 2: given, **numbers, **batches},
        {3: product(given[of_vector.long()], matrices[of_matrix.long()].mT)},
        groups=(2, -(-outputs // 4), 3),
        group_size=(32, 2, 1),
        constants={"gemv_wide_do_axpby": False},
        tolerance=TOLERANCE[dtype],
    )


def vector_cases() -> dict[str, Case]:
    cases = {}
    for dtype in FLOATS:
        type_, name = METAL[dtype], named(dtype)
        for axpby in (False, True):
            cases[f"gemv_{name}_bm4_bn1_sm1_sn32_tm4_tn4_nc0_axpby{int(axpby)}"] = Case(
                f"gemv<{type_}, 4, 1, 1, 32, 4, 4, false, {str(axpby).lower()}>",
                lambda d=dtype, a=axpby: gemv(d, 16, (32, 1, 4), axpby=a),
            )
        cases[f"gemv_{name}_bm1_bn8_sm1_sn32_tm4_tn4_nc1_axpby0"] = Case(
            f"gemv<{type_}, 1, 8, 1, 32, 4, 4, true, false>",
            lambda d=dtype: gemv(d, 4, (32, 8, 1)),
        )
        cases[f"gemv_t_{name}_bm1_bn2_sm8_sn4_tm4_tn4_nc0_axpby0"] = Case(
            f"gemv_t<{type_}, 1, 2, 8, 4, 4, 4, false, false>",
            lambda d=dtype: gemv_transposed(d, 32, (32, 2, 1)),
        )
        cases[f"gemv_gather_{name}_bm4_bn1_sm1_sn32_tm4_tn4"] = Case(
            f"gemv_gather<{type_}, 4, 1, 1, 32, 4, 4>", lambda d=dtype: gemv_gathered(d, False)
        )
        cases[f"gemv_t_gather_{name}_bm1_bn2_sm8_sn4_tm4_tn4"] = Case(
            f"gemv_t_gather<{type_}, 1, 2, 8, 4, 4, 4>", lambda d=dtype: gemv_gathered(d, True)
        )
        if dtype != torch.float32:
            cases[f"gemv_wide_{name}_nv4_kl16"] = Case(
                f"gemv_wide<{type_}, 4, 16>", lambda d=dtype: gemv_wide(d)
            )
            cases[f"gemv_wide_gather_{name}_nv4_kl16"] = Case(
                f"gemv_wide_gather<{type_}, 4, 16>", lambda d=dtype: gemv_wide_gathered(d)
            )
    return cases


def masked_cases() -> dict[str, Case]:
    cases = {}
    for dtype in FLOATS:
        type_, name = METAL[dtype], named(dtype)
        for mask in (torch.bool, dtype):
            for letter, template, tiles, numbers in (
                ("", "gemv_masked", "bm2_bn1_sm4_sn8_tm4_tn4", "2, 1, 4, 8, 4, 4"),
                ("t_", "gemv_t_masked", "bm1_bn2_sm8_sn4_tm4_tn4", "1, 2, 8, 4, 4, 4"),
            ):
                kinds = f"{type_}, {METAL[mask]}, {METAL[mask]}"
                cases[
                    f"gemv_{letter}outmask_{named(mask)}_opmask_{named(mask)}_{name}_{tiles}_nc0"
                ] = Case(
                    f"{template}<{kinds}, {numbers}, false>",
                    lambda d=dtype, m=mask, t=bool(letter): gemv_masked(d, m, t),
                )
    return cases


FAMILIES = {
    "gemv": Family(["utils.h", "steel/utils.h", "gemv.h"], vector_cases(), one_in=5),
    "gemv masked": Family(["utils.h", "gemv_masked.h"], masked_cases(), one_in=5),
}


@kernels(FAMILIES)
def test_apples_kernel_multiplies_as_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)

"""Rows of a table by index."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, DTYPES, check_dtype, check_same_device, check_tensors
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import ceil_div, kernel_named

_INDICES = {torch.int32: "int32", torch.int64: "int64"}


def embedding(indices: Tensor, table: Tensor) -> Tensor:
    """table[indices]: indices (...) of int32 or int64, table (rows, e), to (..., e).

    Raises LaunchError, on cpu also for an index that the table does not have; on mps, where looking
    would mean to wait for the GPU, such an index gives a row of NaN.
    """
    check_tensors("embedding", table=table)
    check_dtype("embedding", "indices", indices, tuple(_INDICES))
    check_same_device("embedding", "indices", indices, table)
    if table.dim() != 2:
        raise LaunchError(f"embedding: expected a table (rows, e), found {tuple(table.shape)}")
    result: Tensor = _embedding(indices, table)
    return result


@torch.library.custom_op("metalgen::embedding", mutates_args=(), device_types=DEVICES)
def _embedding(indices: Tensor, table: Tensor) -> Tensor:
    rows, columns = table.shape
    result = table.new_empty((*indices.shape, columns))
    if indices.numel() > 0 and indices.device.type == "cpu":
        least, most = (int(bound) for bound in torch.aminmax(indices))
        if least < 0 or most >= rows:
            wrong = least if least < 0 else most
            raise LaunchError(f"embedding: expected indices from 0 to {rows - 1}, found {wrong}")
    if result.numel() == 0:
        return result
    name = f"embedding_{DTYPES[table.dtype]}_{_INDICES[indices.dtype]}"
    kernel_named(name)(
        indices.contiguous(),
        table.contiguous(),
        result,
        columns,
        rows,
        threads=(ceil_div(columns, 4), indices.numel()),
        group_size=(min(64, ceil_div(columns, 4)), min(4, indices.numel())),
    )
    return result


@_embedding.register_fake
def _(indices: Tensor, table: Tensor) -> Tensor:
    return table.new_empty((*indices.shape, table.shape[1]))


differentiate(_embedding, functional.embedding)

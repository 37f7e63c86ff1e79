"""Runs saved ML programs operation by operation, as MIL's documentation defines them.

Core ML runs on a Mac alone. This reads the same package that a Mac would load, program and weights,
and computes it with PyTorch's functions: what the conversion made can be held against ATen here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_DTYPES = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool}
_ALONE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
}
_PAIRS: Mapping[str, Callable[[Any, Any], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "pow": torch.pow,
}


def load(model: Any) -> Callable[[dict[str, Any]], dict[str, np.ndarray]]:
    """What runs a converted model, read back from its weights' file and its specification."""
    from coremltools.converters.mil.frontend.milproto import load as milproto

    spec = model.get_spec()
    program = milproto.load(spec, spec.specificationVersion, str(Path(model.weights_dir)))
    function = program.functions["main"]

    def predict(given: dict[str, Any]) -> dict[str, np.ndarray]:
        assert given.keys() == set(function.inputs)
        for name, variable in function.inputs.items():
            assert tuple(given[name].shape) == tuple(variable.shape), name
        values = {name: torch.from_numpy(array) for name, array in given.items()}
        for operation in function.operations:
            if operation.op_type != "const":
                read = {key: _read(each, values) for key, each in operation.inputs.items()}
                values[operation.outputs[0].name] = _result(operation.op_type, read)
        return {each.name: values[each.name].numpy() for each in function.outputs}

    return predict


def operations(model: Any) -> list[str]:
    """The program's operations, in order, constants left out."""
    (block,) = model.get_spec().mlProgram.functions["main"].block_specializations.values()
    return [each.type for each in block.operations if each.type != "const"]


def _read(variable: Any, values: Mapping[str, Tensor]) -> Any:
    if isinstance(variable, tuple | list):
        return [_read(each, values) for each in variable]
    if variable is None:
        return None
    if variable.name in values:
        return values[variable.name]
    constant = variable.val
    if isinstance(constant, np.ndarray) and constant.dtype.kind == "f":
        return torch.from_numpy(np.array(constant))
    if isinstance(constant, np.ndarray):
        return constant.tolist()
    return constant.item() if isinstance(constant, np.generic) else constant


def _result(kind: str, read: dict[str, Any]) -> Tensor:
    x = read.get("x")
    if kind in _ALONE:
        return _ALONE[kind](x)
    if kind in _PAIRS:
        return _PAIRS[kind](x, read["y"])
    return globals()[f"_{kind}"](x, read)


def _cast(x: Tensor, read: dict[str, Any]) -> Tensor:
    return x.to(_DTYPES[read["dtype"]])


def _linear(x: Tensor, read: dict[str, Any]) -> Tensor:
    return functional.linear(x, read["weight"], read.get("bias"))


def _matmul(x: Tensor, read: dict[str, Any]) -> Tensor:
    y = read["y"]
    left = x.transpose(-1, -2) if read.get("transpose_x") else x
    return left @ (y.transpose(-1, -2) if read.get("transpose_y") else y)


def _conv(x: Tensor, read: dict[str, Any]) -> Tensor:
    assert read["pad_type"] == "custom"
    pads = read["pad"]
    both = zip(pads[::2], pads[1::2], strict=True)
    around = [size for pair in reversed(list(both)) for size in pair]
    convolve = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[x.dim()]
    padded = functional.pad(x, around)
    options = read["strides"], 0, read["dilations"], read["groups"]
    return convolve(padded, read["weight"], read.get("bias"), *options)


def _gelu(x: Tensor, read: dict[str, Any]) -> Tensor:
    return functional.gelu(
        x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[read["mode"]]
    )


def _softmax(x: Tensor, read: dict[str, Any]) -> Tensor:
    return torch.softmax(x, read["axis"])


def _reshape(x: Tensor, read: dict[str, Any]) -> Tensor:
    return x.reshape(tuple(read["shape"]))


def _transpose(x: Tensor, read: dict[str, Any]) -> Tensor:
    return x.permute(tuple(read["perm"]))


def _expand_dims(x: Tensor, read: dict[str, Any]) -> Tensor:
    for axis in sorted(read["axes"]):
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, read: dict[str, Any]) -> Tensor:
    return x.squeeze(tuple(read["axes"]))


def _reduce_mean(x: Tensor, read: dict[str, Any]) -> Tensor:
    return x.mean(tuple(read["axes"]), keepdim=read["keep_dims"])


def _layer_norm(x: Tensor, read: dict[str, Any]) -> Tensor:
    shape = [x.shape[axis] for axis in read["axes"]]
    return functional.layer_norm(x, shape, read.get("gamma"), read.get("beta"), read["epsilon"])


def _batch_norm(x: Tensor, read: dict[str, Any]) -> Tensor:
    scale, shift = read.get("gamma"), read.get("beta")
    return functional.batch_norm(
        x, read["mean"], read["variance"], scale, shift, eps=read["epsilon"]
    )


def _gather(x: Tensor, read: dict[str, Any]) -> Tensor:
    indices = torch.as_tensor(read["indices"]).long()
    found = torch.index_select(x, read["axis"], indices.reshape(-1))
    shape = x.shape[: read["axis"]] + indices.shape + x.shape[read["axis"] + 1 :]
    return found.reshape(shape)

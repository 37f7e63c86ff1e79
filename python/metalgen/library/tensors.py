"""Where a tensor's memory lies, as the native core names it on each device."""

from __future__ import annotations

from torch import Tensor

from metalgen import _core
from metalgen.device import DeviceType
from metalgen.errors import LaunchError
from metalgen.library.parameter import Parameter

# Where tensors without elements are bound: kernels may not read them, but compilers may touch them.
_EMPTY = _core.software_device(1).allocate(4096)


def tensor_source(parameter: Parameter, tensor: Tensor, device: DeviceType) -> _core.Source:
    """The tensor's first element: an address on cpu, an MTLBuffer and a byte offset on mps.

    Raises LaunchError for tensors that the parameter cannot take.
    """
    try:
        parameter.check(tensor, device)
        offset = int(tensor.storage_offset()) * tensor.element_size()
        start = offset if device == "mps" else tensor.data_ptr()
        handle = tensor.untyped_storage().data_ptr()
    except RuntimeError as error:  # torch's, of tensors that have no memory
        reason = str(error).splitlines()[0]
        raise LaunchError(
            f"{parameter}: expected a tensor with memory of its own: {reason}"
        ) from None
    if tensor.numel() == 0:
        # An offset may not reach the end of an MTLBuffer.
        return _EMPTY.handle if device == "cpu" else (handle, 0)
    if handle == 0:
        raise LaunchError(f"{parameter}: the tensor's memory has been freed")
    if start & parameter.misalignment:
        raise parameter.misaligned()
    return start if device == "cpu" else (handle, start)

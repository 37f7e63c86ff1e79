"""From lazily evaluated outputs to the source and launch plan of a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.arrange import arranged
from metalgen.proposers.builtin.emit_elementwise import elementwise_kernel
from metalgen.proposers.builtin.emit_product import product_kernel
from metalgen.proposers.builtin.emit_recurrence import recurrence_kernel
from metalgen.proposers.builtin.emit_rows import rows_kernel
from metalgen.proposers.builtin.emit_scan import scan_kernel
from metalgen.proposers.builtin.expressions import STORAGE_TYPES, Constant, compute_type
from metalgen.proposers.builtin.fuse import Fusion
from metalgen.proposers.builtin.indexing import product
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.loop_build import loop_form
from metalgen.proposers.builtin.loop_form import Buffer, LoopForm
from metalgen.proposers.builtin.loop_verify import verify_loops
from metalgen.proposers.builtin.naming import identifier, name_tensors
from metalgen.proposers.builtin.render import helper_functions
from metalgen.proposers.builtin.schedule import scheduled
from metalgen.proposers.builtin.sizes import plan_expression
from metalgen.proposers.builtin.tensors import Tensor
from metalgen.proposers.builtin.text import literal_text
from metalgen.proposers.builtin.variants import Variant

MAX_STEPS = 256
MAX_BUFFERS = 31
MAX_ELEMENTS = 2**31
_PASSES = (arranged, scheduled)
_EMITTERS = {
    "elementwise": elementwise_kernel,
    "rows": rows_kernel,
    "product": product_kernel,
    "scan": scan_kernel,
    "recurrence": recurrence_kernel,
}


@dataclass(frozen=True)
class Assembly:
    """A candidate's parts and a few words about it."""

    source: str
    plan: dict[str, Any]
    summary: str
    loops: LoopForm


def assemble(outputs: Sequence[Tensor], variant: Variant) -> Assembly:
    """Fuse, write every kernel, and lay out the plan; UnsupportedError where a limit is passed."""
    fusion = Fusion(outputs, fuse=variant.fuse)
    _check_sizes(fusion.memory.order)
    if len(fusion.groups) > MAX_STEPS:
        raise UnsupportedError(
            f"not supported: {len(fusion.groups)} kernels would be needed, a plan holds"
            f" {MAX_STEPS} steps (an unrolled loop? it must be one operator)"
        )
    name_tensors(fusion.memory.order)
    return assembled(loop_form(fusion, [output.name for output in outputs]))


def assembled(form: LoopForm) -> Assembly:
    """Source and plan of a loop form as it was made."""
    loops = lowered(form)
    kernels = emitted(loops)
    return Assembly(_source(kernels), _plan(loops, kernels), _summary(kernels), loops)


def lowered(form: LoopForm) -> LoopForm:
    """The form after all passes, verified before and after each."""
    verify_loops(form)
    for change in _PASSES:
        form = change(form)
        verify_loops(form)
    return form


def emitted(form: LoopForm) -> list[Kernel]:
    """A kernel for each nest."""
    kernels = [_EMITTERS[nest.kind](Draft(nest, form.buffers)) for nest in form.nests]
    for kernel in kernels:
        if len(kernel.step["args"]) > MAX_BUFFERS:
            raise UnsupportedError(
                f"not supported: kernel '{kernel.name}' would need {len(kernel.step['args'])}"
                f" buffers, Metal has {MAX_BUFFERS}"
            )
    return kernels


def _check_sizes(tensors: Sequence[Tensor]) -> None:
    """Indices are 32-bit in the kernels, as GPUs compute them fastest."""
    for tensor in tensors:
        if product(tensor.shape).hint >= MAX_ELEMENTS:
            raise UnsupportedError(
                f"not supported: '{tensor.name}' has {product(tensor.shape).hint} elements;"
                f" kernels index with 32 bits, so up to {MAX_ELEMENTS - 1}"
            )


def _source(kernels: Sequence[Kernel]) -> str:
    helpers = {name for kernel in kernels for name in kernel.helpers}
    tables = {table.name: table for kernel in kernels for table in kernel.tables}
    parts = ["#include <metal_stdlib>\nusing namespace metal;\n"]
    parts += [_table(table) for table in tables.values()]
    if helpers:
        parts.append(helper_functions(helpers))
    parts += [kernel.source.strip() + "\n" for kernel in kernels]
    return "\n".join(parts)


def _table(table: Buffer) -> str:
    type_ = compute_type(table.dtype)
    storage = STORAGE_TYPES[table.dtype]
    values = ", ".join(literal_text(Constant(type_, value))[0] for value in table.values)
    return f"constant {storage} {identifier(table.name)}[] = {{{values}}};\n"


def _plan(form: LoopForm, kernels: Sequence[Kernel]) -> dict[str, Any]:
    between = (buffer for buffer in form.buffers.values() if buffer.role == "between")
    return {
        "buffers": {buffer.name: _allocation(buffer) for buffer in between},
        "outputs": {name: _allocation(form.buffers[name]) for name in form.outputs},
        "steps": [kernel.step for kernel in kernels],
    }


def _allocation(buffer: Buffer) -> dict[str, Any]:
    dtype = str(buffer.dtype).removeprefix("torch.")
    return {"dtype": dtype, "shape": [plan_expression(size) for size in buffer.shape or ()]}


def _summary(kernels: Sequence[Kernel]) -> str:
    names = ", ".join(f"`{kernel.name}`" for kernel in kernels[:6])
    more = f" and {len(kernels) - 6} more" if len(kernels) > 6 else ""
    return f"{len(kernels)} kernel{'s' if len(kernels) != 1 else ''} ({names}{more})"

"""Say what is wrong with an output in words that help to repair the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from metalgen.generation.overall import overall_mismatch
from metalgen.generation.tolerance import allowed_error

_STRIDES = (2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a candidate with what it should have been; all on the CPU."""

    name: str
    got: Tensor
    eager: Tensor  # in the dtype the candidate must have
    precise: Tensor  # float64, or whole numbers
    unwritten: Tensor | None = None  # bool per element: still holds the poison
    moved: Tensor | None = None  # how far `precise` moves when the inputs do, by rounding


def find_mismatch(output: Output) -> str | None:
    """None where the output is right, else one line that says how it is wrong."""
    got, eager = output.got, output.eager
    if got.dtype != eager.dtype:
        return f"output '{output.name}' is {_dtype(got)}, expected {_dtype(eager)}"
    if got.shape != eager.shape:
        return f"output '{output.name}' has shape {list(got.shape)}, expected {list(eager.shape)}"
    wrong, allowed = _wrong_elements(output)
    count = int(wrong.sum())
    if count == 0:
        return overall_mismatch(output.name, got, eager, output.precise, output.moved)
    total = got.numel()
    if output.unwritten is not None and (missed := int((output.unwritten & wrong).sum())):
        where = _first_hint(_places(output.unwritten & wrong)) if missed < total else ""
        return f"output '{output.name}' was never written ({missed} of {total} elements){where}"
    worst = _worst(output, wrong, allowed)
    hints = "".join(f"; {hint}" for hint in _hints(output, wrong))
    return f"output '{output.name}': {count} of {total} elements are wrong; {worst}{hints}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _wrong_elements(output: Output) -> tuple[Tensor, Tensor]:
    """Which elements are wrong, and how far each may be off."""
    got, precise = output.got, output.precise
    if not output.eager.is_floating_point():
        wrong = got != output.eager
        if output.moved is not None:  # what rounding decides (an argmax of near equals) is excused
            wrong &= output.moved == 0
        return wrong, torch.zeros(())
    allowed = allowed_error(precise, output.eager, output.moved)
    far = (got.double() - precise).abs() > allowed
    # Infinities and NaN are right exactly where eager has the same.
    special = ~(got.isfinite() & output.eager.isfinite() & precise.isfinite())
    same = (got == output.eager) | (got.isnan() & output.eager.isnan())
    return torch.where(special, ~same, far), allowed


def _worst(output: Output, wrong: Tensor, allowed: Tensor) -> str:
    if not output.eager.is_floating_point():
        index = tuple(int(i) for i in wrong.nonzero()[0])
        got, expected = output.got[index].item(), output.eager[index].item()
        return f"the first at {list(index)}: got {got}, expected {expected}"
    error = (output.got.double() - output.precise).abs().nan_to_num(torch.inf, posinf=torch.inf)
    error = torch.where(wrong, error, -1.0)
    index = _unravel(int(error.reshape(-1).argmax()), tuple(error.shape))
    got, expected = float(output.got[index]), float(output.precise[index])
    absolute = float(error[index])
    relative = absolute / abs(expected) if expected else torch.inf
    return (
        f"the worst at {list(index)}: got {got:.6g}, expected {expected:.6g}"
        f" (absolute error {absolute:.3g}, relative {relative:.3g}, allowed"
        f" {float(allowed[index]):.3g})"
    )


def _unravel(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index: list[int] = []
    for size in reversed(shape):
        flat, position = divmod(flat, size)
        index.append(position)
    return tuple(reversed(index))


def _first_hint(hints: Iterator[str]) -> str:
    return next((f"; {hint}" for hint in hints), "")


def _hints(output: Output, wrong: Tensor) -> Iterator[str]:
    """What the errors have in common."""
    yield from _of_values(output, wrong)
    if _is_transposed(output):
        yield "the transposed output matches"
    if not bool(wrong.all()):
        yield from _places(wrong)


def _of_values(output: Output, wrong: Tensor) -> Iterator[str]:
    got, precise = output.got, output.precise
    if bool((got == 0).all()):
        yield "all elements are zero"
        return
    if got.numel() > 1 and bool((got == got.reshape(-1)[0]).all()):
        yield f"all elements are {got.reshape(-1)[0].item():.6g}"
        return
    if not got.is_floating_point():
        return
    if (count := int((wrong & got.isnan()).sum())) > 0:
        yield f"{count} are NaN"
    elif (count := int((wrong & got.isinf()).sum())) > 0:
        yield f"{count} are infinite"
    elif int(wrong.sum()) > 1:
        yield from _proportion(got.double()[wrong], precise[wrong])


def _proportion(got: Tensor, expected: Tensor) -> Iterator[str]:
    """A common factor or difference of the wrong elements."""
    factors = (got / expected)[expected != 0]
    if factors.numel() > 1 and _is_common(factors):
        yield f"each wrong element is {float(factors.mean()):.6g} times what is expected"
    elif _is_common(got - expected):
        yield f"each wrong element is off by {float((got - expected).mean()):.6g}"


def _is_common(values: Tensor) -> bool:
    mean = values.mean()
    spread = (values - mean).abs().max()
    return bool(spread <= 1e-3 * mean.abs()) and bool(mean.isfinite())


def _is_transposed(output: Output) -> bool:
    got, precise = output.got, output.precise
    if got.ndim < 2 or not got.is_floating_point() or 1 in got.shape[-2:]:
        return False
    rows, columns = got.shape[-2:]
    flipped = got.reshape(*got.shape[:-2], columns, rows).transpose(-1, -2)
    error = (flipped.double() - precise).abs()
    return bool((error <= allowed_error(precise, output.eager, output.moved)).all())


def _places(wrong: Tensor) -> Iterator[str]:
    """Along which dimension the wrong elements keep to one part: an end, or every n-th index."""
    for dimension in range(wrong.ndim):
        size = wrong.shape[dimension]
        others = [axis for axis in range(wrong.ndim) if axis != dimension]
        affected = wrong.any(dim=others) if others else wrong
        indices = affected.nonzero().reshape(-1)
        if size < 2 or len(indices) in (0, size):
            continue
        if found := _pattern([int(i) for i in indices[:100_000]], size):
            yield f"only {found} of dimension {dimension} (size {size})"
            return


def _pattern(indices: list[int], size: int) -> str | None:
    first, last = indices[0], indices[-1]
    if len(indices) == 1:
        return f"index {first}"
    if len(indices) == last - first + 1:
        if last == size - 1:
            return f"indices >= {first}"
        return f"indices < {last + 1}" if first == 0 else f"indices {first} to {last}"
    for stride in reversed(_STRIDES):
        residues = {index % stride for index in indices}
        if len(residues) == 1 and len(indices) == len(range(first, size, stride)):
            return f"indices i with i % {stride} == {first % stride}"
    return None

"""What a strategy adds to a region's plan: buffers, and launches of the library's kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from metalgen.kernel_table import Variant, family
from metalgen.ops.arguments import DTYPES
from metalgen.ops.winners import choose
from metalgen.proposers.builtin.indexing import Index, product
from metalgen.proposers.builtin.sizes import plan_expression

SIMDGROUP = 32
Sized = int | Index


@dataclass
class Steps:
    """Launches in order; a plan's JSON objects."""

    prefix: str  # of the names of buffers
    buffers: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def buffer(self, name: str, dtype: str, *shape: Sized) -> str:
        """Declares a buffer and returns its name."""
        name = f"{self.prefix}_{name}"
        self.buffers[name] = {"dtype": dtype, "shape": [number(size) for size in shape]}
        return name

    def launch(
        self,
        kernel: str,
        args: list[Any],
        *,
        group_size: list[int],
        threads: list[Sized] | None = None,
        threadgroups: list[Any] | None = None,
        constants: Mapping[str, bool] | None = None,
    ) -> None:
        """Adds a launch; sizes are whole numbers or indices."""
        step: dict[str, Any] = {"kernel": kernel, "args": args, "group_size": group_size}
        if threads is not None:
            step["threads"] = [number(size) for size in threads]
        else:
            step["threadgroups"] = [number(size) for size in threadgroups or []]
        if constants:
            step["constants"] = {name: int(value) for name, value in constants.items()}
        self.steps.append(step)


@dataclass(frozen=True)
class Following:
    """What a kernel applies to its sums, as the plan names it; it writes `result`, in order."""

    result: str
    bias: str | None
    residual: str | None
    activation: int
    dtype: torch.dtype

    @property
    def flags(self) -> dict[str, bool]:
        """The function constants that say what there is."""
        return {"has_bias": self.bias is not None, "has_residual": self.residual is not None}

    @property
    def given(self) -> list[str]:
        """Bias and residual; a plan names something even where a kernel has no such argument."""
        return [self.bias or self.result, self.residual or self.result]

    def kernel(self, family_name: str, variant: Variant | None, **more: str) -> str:
        """The name of a family's kernel for the dtype."""
        instance = "" if variant is None else variant.instance
        pattern = family(family_name).kernel
        return pattern.format(dtype=DTYPES[self.dtype], variant=instance, **more)


def chosen(family_name: str, like: torch.Tensor, sizes: tuple[Index, ...]) -> Variant:
    """The variant that won for problems of about these sizes, else the table's default."""
    return choose(family_name, like, tuple(size.hint for size in sizes))


def number(size: Any) -> int | str:
    """A size as a plan writes it."""
    return plan_expression(size) if isinstance(size, Index) else size


def struct(*members: tuple[str, Any]) -> dict[str, Any]:
    """A struct's members, each with its Metal type."""
    return {"struct": [{kind: _members(value)} for kind, value in members]}


def _members(value: Any) -> Any:
    return [number(each) for each in value] if isinstance(value, list) else number(value)


def covering(size: Index, step: int) -> int | str:
    """How many steps cover a size."""
    if size.constant is not None:
        return -(-size.constant // step)
    return f"ceil_div({plan_expression(size)}, {step})"


def times(*sizes: Index) -> Index:
    """All sizes multiplied."""
    return product(sizes)

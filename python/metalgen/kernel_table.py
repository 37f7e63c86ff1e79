"""The table of what can be tuned, metal/parameters.json: kernel families and their variants.

The kernels' instances (`metalgen.ops.instances`), the operations, the tuner, prompts and tests all
read it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metalgen import resources
from metalgen.errors import LaunchError


@dataclass(frozen=True, slots=True)
class Variant:
    """One choice of a family's parameters."""

    name: str
    instance: str  # what distinguishes the compiled kernel; empty where nothing does
    values: Mapping[str, int]

    def __getitem__(self, parameter: str) -> int:
        return self.values[parameter]


@dataclass(frozen=True, slots=True)
class Family:
    """Kernels that share their parameters."""

    name: str
    kind: str  # what it computes, in the prompts' words: product, convolution, attention ...
    about: str
    source: str  # a file in metal/
    kernel: str  # pattern of its kernels' names: {dtype}, {variant}, {operation}, {bits}
    parameters: Mapping[str, str]  # what each means
    launch: tuple[str, ...]  # parameters that are no part of the compiled kernel
    sizes: tuple[str, ...]  # what a problem's shape consists of, and variants are chosen by
    fits: str | None  # a parameter, and a size, that a variant must not fall short of
    variants: tuple[Variant, ...]
    default: Mapping[str, str]  # names of variants by the tensors' device type

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises LaunchError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.variants)
        raise LaunchError(f"no variant {name!r} of {self.name}; expected one of {known}")

    def fitting(self, sizes: Sequence[int]) -> tuple[Variant, ...]:
        """The variants that can run a problem of these sizes: the tightest fit, if it matters."""
        if self.fits is None:
            return self.variants
        needed = sizes[self.sizes.index(self.fits)]
        bounds = [variant[self.fits] for variant in self.variants if variant[self.fits] >= needed]
        if not bounds:
            most = max(variant[self.fits] for variant in self.variants)
            raise LaunchError(f"{self.name}: expected {self.fits} up to {most}, found {needed}")
        return tuple(v for v in self.variants if v[self.fits] == min(bounds))

    def default_for(self, device_type: str, sizes: Sequence[int]) -> Variant:
        """The variant for problems that were never tuned."""
        fitting = self.fitting(sizes)
        wanted = self.default.get(device_type)
        return next((variant for variant in fitting if variant.name == wanted), fitting[0])

    def choices(self) -> dict[str, tuple[int, ...]]:
        """The values that each parameter has among the variants, in rising order."""
        return {
            name: tuple(sorted({variant[name] for variant in self.variants}))
            for name in self.parameters
        }

    @property
    def compiled(self) -> tuple[str, ...]:
        """The parameters that kernels are compiled for."""
        return tuple(name for name in self.parameters if name not in self.launch)

    def instances(self) -> dict[str, tuple[int, ...]]:
        """The compiled kernels: names to template arguments."""
        return {v.instance: tuple(v[name] for name in self.compiled) for v in self.variants}


@functools.cache
def families() -> Mapping[str, Family]:
    """All families by name."""
    table = json.loads((resources.metal_sources() / "parameters.json").read_text())
    return {name: _family(name, entry) for name, entry in table.items()}


def families_of(kinds: Collection[str]) -> list[Family]:
    """The families that compute one of these kinds, in the table's order."""
    return [family for family in families().values() if family.kind in kinds]


def family(name: str) -> Family:
    """The family of that name; raises LaunchError where there is none."""
    found = families().get(name)
    if found is None:
        raise LaunchError(f"no kernel family {name!r}; expected one of {', '.join(families())}")
    return found


def _family(name: str, entry: Mapping[str, Any]) -> Family:
    parameters, launch = entry["parameters"], tuple(entry.get("launch", ()))
    has_instances = any(parameter not in launch for parameter in parameters)
    pattern = entry.get("instance", entry["name"]) if has_instances else ""

    def variant(values: Sequence[int]) -> Variant:
        named = dict(zip(parameters, values, strict=True))
        return Variant(entry["name"].format(**named), pattern.format(**named), named)

    return Family(
        name=name,
        kind=entry["kind"],
        about=entry["about"],
        source=entry["source"],
        kernel=entry["kernel"],
        parameters=parameters,
        launch=launch,
        sizes=tuple(entry["sizes"]),
        fits=entry.get("fits"),
        variants=tuple(variant(values) for values in entry["variants"]),
        default=entry.get("default", {}),
    )

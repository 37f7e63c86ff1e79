"""Gives every tensor that kernels compute a name of its own, usable in launch plans and MSL."""

from __future__ import annotations

import re
from collections.abc import Iterable

from metalgen.proposers.builtin.forms import FORMS
from metalgen.proposers.builtin.tensors import Stored, Tensor

# Words that cannot name a variable in MSL, or that the templates use themselves.
_RESERVED = frozenset(
    re.findall(r"[a-z_0-9]+", " ".join(form.text for form in FORMS.values()))
) | frozenset(
    """
    kernel device constant thread threadgroup vertex fragment half float int uint long short
    char bool bfloat uchar ushort ulong void struct class enum union template typename using
    namespace const constexpr static inline if else for while do switch case break continue
    return sizeof true false auto register volatile signed unsigned double this new delete
    operator private protected public virtual friend goto default extern mutable explicit exp
    log sqrt rsqrt sin cos tan tanh pow floor ceil abs fabs min max fma sign select clamp relu
    sigmoid gelu gelu_tanh silu softplus entry line layer group carry running lost total
    step_sum add_exactly and or not xor metal sampler texture array vec position lane row column
    rows columns plane simdgroup simdgroups thread_id threads partial all any mix step length
    distance dot cross normalize saturate fract trunc rint round assert import export packed
    ptrdiff_t size_t main i j k x_ y_ value best tile_a tile_b sums depth first first_row
    first_column left_value right_values
    """.split()
)


def identifier(name: str) -> str:
    """`name` as a variable's name in MSL."""
    word = "".join(letter if letter.isalnum() else "_" for letter in name)
    word = word if word[:1].isalpha() or word[:1] == "_" else f"_{word}"
    return f"{word}_" if word in _RESERVED else word


class Names:
    """Hands out identifiers, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, wanted: str) -> str:
        """`wanted`, with a number behind it where it is taken."""
        name = base = identifier(wanted.strip("_") or "value")
        count = 1
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def release(self, names: Iterable[str]) -> None:
        """Names whose block has ended."""
        self._taken.difference_update(names)


def name_tensors(order: Iterable[Tensor]) -> None:
    """Renames computed tensors so that no two share a name, nor one with an input or parameter."""
    tensors = list(order)
    stored = [tensor for tensor in tensors if isinstance(tensor, Stored)]
    names = Names(name for tensor in stored for name in (tensor.plan_name, identifier(tensor.name)))
    for tensor in tensors:
        if not isinstance(tensor, Stored):
            tensor.name = names.fresh(tensor.name)

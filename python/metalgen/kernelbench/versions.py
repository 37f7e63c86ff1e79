"""Which version of KernelBench this is, told by the sizes that problems' files hold."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from metalgen.kernelbench.collection import Entry
from metalgen.kernelbench.sizes import sizes_of

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Version:
    """A version's name, `v0`, `v0.1`, `mixed` or `unknown`, and what it was told by.

    `agreeing` of the `known` problems whose sizes are known have that version's.
    """

    name: str
    agreeing: int
    known: int

    def __str__(self) -> str:
        if not self.known:
            return "unknown version: none of the problems that tell versions apart is here"
        told_by = f"{self.agreeing} of {self.known} problems that tell versions apart"
        if self.name == "unknown":
            return f"unknown version: the sizes of all {self.known} problems that tell are others"
        return f"{self.name}, by the sizes of {told_by}"


def recognise(entries: Iterable[Entry]) -> Version:
    """The version that most of the telling problems agree on; mixed where some say another."""
    votes: Counter[str] = Counter()
    known = 0
    for entry in entries:
        if entry.id in _landmarks():
            known += 1
            version = version_of(entry)
            if version is not None:
                votes[version] += 1
    if not votes:
        return Version("unknown", 0, known)
    (name, agreeing), *others = votes.most_common()
    return Version("mixed" if others else name, agreeing, known)


def version_of(entry: Entry) -> str | None:
    """Whose sizes one problem has, where those are known."""
    found = {size.name: size.value for size in sizes_of(entry.code)}
    for version, sizes in _landmarks().get(entry.id, {}).items():
        if all(found.get(name) == value for name, value in sizes.items()):
            return version
    return None


def known_sizes(entry: Entry, version: str) -> Sizes | None:
    """The sizes that a problem has in a version, where they are known."""
    return _landmarks().get(entry.id, {}).get(version)


@functools.cache
def _landmarks() -> Mapping[str, Mapping[str, Sizes]]:
    text = Path(__file__).with_name("versions.json").read_text(encoding="utf-8")
    problems: dict[str, dict[str, dict[str, int]]] = json.loads(text)["problems"]
    return problems

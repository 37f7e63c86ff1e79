"""The front end's own refusals, collected to be shown together with clang's."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Complaint:
    """One error at an offset of the preprocessed text."""

    offset: int
    message: str


@dataclass
class Complaints:
    """Errors found so far."""

    found: list[Complaint] = field(default_factory=list)

    def add(self, offset: int, message: str) -> None:
        """Report `message` at `offset`; once is enough."""
        complaint = Complaint(offset, message)
        if complaint not in self.found:
            self.found.append(complaint)

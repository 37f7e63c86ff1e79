"""What a run leaves for users beside its store: every attempt as text, and the best candidate.

    DIR/run.sqlite          the run itself: everything below can be made from it (metalgen.runs)
    DIR/attempts.jsonl      one line per attempt: model, reply, verdict, timing, tokens; and one
                            per model that gave up: why
    DIR/best/               kernels.metal, kernels.metallib, plan.json, model_new.py, manifest.json

A study of several problems has the last two in a folder per problem. Files appear whole or not at
all, so that a run that is interrupted leaves a directory that can be used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metalgen.files import write_whole

FILES = ("kernels.metal", "kernels.metallib", "plan.json", "model_new.py", "manifest.json")


def sha256(text: str | bytes) -> str:
    """Hexadecimal hash of a text."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


class RunDirectory:
    """One run's directory, made when the first thing is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def best(self) -> Path:
        """Where the best candidate lies."""
        return self.path / "best"

    def begin(self, attempts: Sequence[Mapping[str, Any]] = ()) -> None:
        """Make the directory, with the attempts that the run has already."""
        self.path.mkdir(parents=True, exist_ok=True)
        if attempts or (self.path / "attempts.jsonl").exists():
            lines = "".join(json.dumps(attempt) + "\n" for attempt in attempts)
            write_whole(self.path / "attempts.jsonl", lines.encode())

    def append(self, attempt: Mapping[str, Any]) -> None:
        """Add one attempt."""
        with (self.path / "attempts.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(attempt) + "\n")

    def keep(self, files: Mapping[str, str | bytes]) -> None:
        """Make these files the best candidate, replacing an earlier one all at once."""
        fresh = Path(tempfile.mkdtemp(prefix=".best-", dir=self.path))
        old = self.path / f"{fresh.name}.old"
        try:
            for name, content in files.items():
                _write(fresh / name, content)
            fresh.chmod(0o755)
            if self.best.exists():
                self.best.replace(old)
            fresh.replace(self.best)
        finally:
            # Interrupted between the two renames: the earlier candidate comes back.
            if old.exists() and not self.best.exists():
                old.replace(self.best)
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(fresh, ignore_errors=True)


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""Writes the LLVM IR of each stage of a translation into METALGEN_DUMP_IR, for debugging."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Dump:
    """Where one kernel's stages go; nowhere without a directory."""

    kernel: str
    directory: Path | None

    @classmethod
    def of(cls, kernel: str) -> Dump:
        directory = os.environ.get("METALGEN_DUMP_IR")
        return cls(kernel, Path(directory) if directory else None)

    @property
    def enabled(self) -> bool:
        return self.directory is not None

    def write(self, stage: str, text: str) -> None:
        """Keep `text` as KERNEL.STAGE.ll, replacing what an earlier translation left."""
        if self.directory is None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]", "_", self.kernel)[:120]
        path = self.directory / f"{name}.{stage}.{'s' if stage == 'assembly' else 'll'}"
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)

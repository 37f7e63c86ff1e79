"""CUDA references: what jobs with that context are given besides the problem."""

from __future__ import annotations

from pathlib import Path

from metalgen.errors import ProblemError

SUFFIXES = (".cu", ".cuh", ".py")


def cuda_reference(path: Path, name: str, folder: Path | None) -> str | None:
    """A CUDA implementation of the problem at `path`; None where there is none.

    `folder` holds files named as the problems' are; without one, a .cu beside the problem counts.
    """
    places = [path.with_suffix(".cu")]
    if folder is not None:
        stems = dict.fromkeys((name, path.stem))
        places = [folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
    for place in places:
        if place.is_file():
            return _read(place)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"cannot read the CUDA reference '{path}': {error}") from error

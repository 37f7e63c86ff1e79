"""Translate a sample of Apple's kernels: how many, of which families, how fast, and what fails.

    python benchmarks/translate_apple_kernels.py MLX.METALLIB [--step 50] [--strands thread]

The metallib is in PyPI's mlx-metal wheel for macOS, at mlx/lib/mlx.metallib.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from metalgen.air import KernelInfo, Metallib
from metalgen.errors import MetalgenError
from metalgen.software import translate


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kernel: the processor time it took, why it failed, whether it runs by thread."""

    kernel: str
    seconds: float
    failure: str
    by_thread: bool


class _Fallbacks(logging.Handler):
    """Counts the kernels that could not run as whole SIMD-groups."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.reasons: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.reasons[str(record.args[1]) if isinstance(record.args, tuple) else ""] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metallib")
    parser.add_argument("--step", type=int, default=50)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--strands", choices=["simdgroup", "thread"], default="simdgroup")
    options = parser.parse_args()
    fallbacks = _Fallbacks()
    logger = logging.getLogger("metalgen.software")
    logger.addHandler(fallbacks)
    logger.setLevel(logging.DEBUG)
    metallib = Metallib.open(options.metallib)
    names = list(metallib.names)[options.start :: options.step]
    with tempfile.TemporaryDirectory() as nothing_kept:
        os.environ["METALGEN_CACHE_DIR"] = nothing_kept
        attempt(metallib, "v_Expfloat32float32", options.strands, fallbacks)  # builds the runtime
        outcomes = [attempt(metallib, name, options.strands, fallbacks) for name in names]
    report(outcomes, fallbacks)


def attempt(metallib: Metallib, name: str, strands: str, fallbacks: _Fallbacks) -> Outcome:
    constants = neutral_constants(metallib.kernel(name))
    before = fallbacks.reasons.total()
    start = time.process_time()
    failure = ""
    try:
        translate(
            metallib.bitcode(name),
            name,
            constants,
            strands="thread" if strands == "thread" else "simdgroup",
        )
    except MetalgenError as error:
        failure = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    return Outcome(name, seconds, failure, fallbacks.reasons.total() > before)


def neutral_constants(info: KernelInfo) -> dict[int | str, int | float | bool]:
    """No feature that a flag switches on, and one of everything that is counted."""
    return {c.index: c.type_name != "bool" for c in info.constants}


def family(kernel: str) -> str:
    """The first words of a name, without types, sizes and operations."""
    bare = re.split(r"_?(?:b?float|complex|u?int|bool)", kernel)[0]
    words = [word.rstrip("0123456789") for word in bare.split("_") if word[:1].islower()]
    return "_".join(words[:2])


def report(outcomes: Sequence[Outcome], fallbacks: _Fallbacks) -> None:
    families: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        families[family(outcome.kernel)].append(outcome)
    print(
        f"{'family':20} {'kernels':>7} {'failed':>6} {'threads':>7} {'median s':>8} {'worst s':>8}"
    )
    for name, members in sorted(families.items(), key=lambda item: -len(item[1])):
        print(row(name, members))
    print(row("all", outcomes))
    for title, causes in (
        ("failed", Counter(o.failure for o in outcomes if o.failure)),
        ("ran thread by thread", fallbacks.reasons),
    ):
        for cause, count in causes.most_common():
            print(f"{title}: {count} x {cause}")


def row(name: str, members: Sequence[Outcome]) -> str:
    seconds = [outcome.seconds for outcome in members]
    failed = sum(bool(outcome.failure) for outcome in members)
    by_thread = sum(outcome.by_thread for outcome in members)
    return (
        f"{name:20} {len(members):7} {failed:6} {by_thread:7} "
        f"{statistics.median(seconds):8.3f} {max(seconds):8.3f}"
    )


if __name__ == "__main__":
    main()

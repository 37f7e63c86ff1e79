"""How long it takes to look into a large metallib: by default Apple's of the mlx-metal wheel.

python benchmarks/inspect_speed.py [METALLIB]; without one, that which the tests fetched is used.
"""

from __future__ import annotations

import operator
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metalgen.air import Metallib
from metalgen.air.survey import survey
from metalgen.cache import cache_directory


@contextmanager
def row(label: str) -> Iterator[None]:
    """Print how long the block took."""
    started, cpu = time.perf_counter(), time.process_time()
    yield
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{label:<44}{elapsed * 1e3:>12.2f}{cpu * 1e3:>12.2f}")


def chosen_file() -> Path:
    """The file named on the command line, or the newest that the tests fetched."""
    if sys.argv[1:]:
        return Path(sys.argv[1])
    fetched = sorted(cache_directory().glob("mlx-*.metallib"))
    if not fetched:
        sys.exit("no metallib: name one, or run tests/test_inspect.py, which fetches Apple's")
    return fetched[-1]


def main() -> None:
    """Print one table."""
    path = chosen_file()
    cores = os.cpu_count() or 1
    name: Callable[[object], str] = operator.attrgetter("name")
    print(f"{platform.processor() or platform.machine()}, {cores} cores, Python {sys.version[:6]}")
    print(f"{path.name}, {path.stat().st_size / 1e6:.0f} MB")
    print(f"{'':<44}{'ms':>12}{'CPU ms':>12}")
    with row("open"):
        metallib = Metallib.open(path)
    with row(f"names of all {len(Metallib.open(path).names)} kernels"):
        names = metallib.names
    with row("the first kernel described"):
        metallib.kernel(names[len(names) // 2])
    with row("bitcode of all, checksums verified"):
        for function in metallib.functions():
            assert function.bitcode
    with row("all kernels described, one process"):
        list(survey(metallib, names, name, processes=1))
    with row(f"all kernels described, {cores} processes"):
        list(survey(metallib, names, name, processes=cores))


if __name__ == "__main__":
    main()

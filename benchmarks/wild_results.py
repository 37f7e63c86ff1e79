"""Run Metal that other compilers write on the software device, and compare what it computes.

    python benchmarks/wild_results.py FOLDER [GENERATOR ...] [--failures]

Packages are fetched into FOLDER; the sources that were written stay there, where
`wild_sources.py` finds them. "not generated" are cases that the generator itself refuses.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import pkgutil
import sys
import time
from pathlib import Path
from types import ModuleType

import wild.generators
from wild.fetch import folder
from wild.generated import SOURCES
from wild.generators.results import Results

HEADS = ("generator", "sources", "right", "wrong", "refused", "not generated", "s")


def generators() -> dict[str, ModuleType]:
    """By name, in order."""
    modules = (
        importlib.import_module(f"wild.generators.{module.name}")
        for module in pkgutil.iter_modules(wild.generators.__path__)
    )
    return {each.PROJECT.name: each for each in modules if hasattr(each, "PROJECT")}


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("generators", nargs="*", metavar="GENERATOR")
    parser.add_argument("--failures", action="store_true", help="print each case that failed")
    return parser.parse_args()


def main() -> int:
    """Print the table; 1 if a result was wrong or a source refused."""
    given, known = arguments(), generators()
    if unknown := set(given.generators) - set(known):
        print(f"unknown generators: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return 2
    logging.disable(logging.CRITICAL)  # generators tell at length what they cannot
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS), flush=True)
    is_right = True
    for name in given.generators or known:
        started = time.perf_counter()
        packages = folder(known[name].PROJECT, given.folder)
        results = Results(packages / SOURCES)
        known[name].run(results, packages)
        counts = (len(results.sources), results.right, len(results.wrong), len(results.refused),
                  len(results.not_generated), round(time.perf_counter() - started))  # fmt: skip
        print("| " + " | ".join((name, *map(str, counts))) + " |", flush=True)
        if given.failures:
            print(*results.wrong, *results.refused, *results.not_generated, sep="\n")
        is_right = is_right and not results.wrong and not results.refused
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())

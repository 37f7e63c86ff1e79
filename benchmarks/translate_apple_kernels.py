"""Translate every kernel that Apple's compiler made: how many, of which families, what fails.

    python benchmarks/translate_apple_kernels.py FILE... [--json RESULTS] [--shard 1/4] [--step 50]

A FILE is a metallib, a library that holds metallibs, or a wheel that holds either: PyPI's mlx-metal
(mlx/lib/mlx.metallib) and torch (torch/lib/libtorch_cpu.dylib) for macOS. Each kernel is translated
for SIMD-groups that lie in rows and for any others, with every flag among its function constants
off and, where it has flags, on. With --json a line is written per translation; started again with
the same file, only what is missing is done.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from apple_kernels import family, metallibs, unpack
from worker_pool import Lost, Pool

from metalgen.air import KernelInfo, Metallib
from metalgen.errors import MetalgenError, UnsupportedError
from metalgen.software import Strands, Variant, translate

VARIANTS: tuple[Variant, ...] = ("rows", "any")
Key = tuple[str, str, str, bool, str]  # library, kernel, variant, flags, strands
_TENSORS = "Metal 4"  # what the message names that a kernel of tensor operations is refused with


@dataclass(frozen=True, slots=True)
class Task:
    """One translation of one kernel of the metallib at `offset` of a file."""

    file: str
    offset: int
    kernel: str
    variant: Variant
    flags: bool
    strands: Strands

    @property
    def key(self) -> Key:
        return (Path(self.file).name, self.kernel, self.variant, self.flags, self.strands)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one translation; seconds are of processor time."""

    library: str
    kernel: str
    variant: str
    flags: bool
    strands: str
    seconds: float = 0.0
    failure: str = ""
    unsupported: bool = False  # the failure is of the type for what is valid but cannot run yet
    by_thread: str = ""  # why it does not run as whole SIMD-groups
    has_flags: bool = False

    @property
    def key(self) -> Key:
        return (self.library, self.kernel, self.variant, self.flags, self.strands)


class _Fallbacks(logging.Handler):
    """Notes why kernels do not run as whole SIMD-groups."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reasons.append(str(record.args[1]) if isinstance(record.args, tuple) else "")


def main() -> None:
    options = parsed_options()
    with ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["METALGEN_CACHE_DIR"] = str(here / "cache")
        files = [file for path in options.files for file in unpack(path, here)]
        libraries = list(metallibs(files))
        known = {outcome.key: outcome for outcome in read_outcomes(options.json)}
        log = stack.enter_context(options.json.open("a")) if options.json else None
        run = Run(options, known, log, time.monotonic())
        run.all(translations(libraries, options, flags=False))
        flagged = {(o.library, o.kernel) for o in run.outcomes if o.has_flags}
        on = translations(libraries, options, flags=True)
        run.all(task for task in on if task.key[:2] in flagged)
    report(run.outcomes, time.monotonic() - run.started, options.jobs)


def parsed_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="keep results here, and go on from there")
    parser.add_argument("--shard", default="1/1", help="I/N: the Ith of N equal parts")
    parser.add_argument("--step", type=int, default=1, help="every Nth kernel only")
    parser.add_argument("--only", default="", help="only kernels whose name contains this")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--strands", choices=["simdgroup", "thread"], default="simdgroup")
    parser.add_argument("--limit", type=float, default=300, help="seconds a translation may take")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds in all")
    return parser.parse_args()


def translations(
    libraries: Sequence[Metallib], options: argparse.Namespace, *, flags: bool
) -> Iterator[Task]:
    """The shard's tasks."""
    index, count = (int(part) for part in options.shard.split("/"))
    for variant in options.variants:
        for library in libraries:
            assert library.path is not None
            names = [name for name in library.names if options.only in name]
            for name in names[:: options.step][index - 1 :: count]:
                yield Task(library.path, library.offset, name, variant, flags, options.strands)


def read_outcomes(path: Path | None) -> list[Outcome]:
    if path is None or not path.exists():
        return []
    return [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]


@dataclass(slots=True)
class Run:
    """What has been translated, now or before."""

    options: argparse.Namespace
    known: dict[Key, Outcome]
    log: TextIO | None
    started: float
    outcomes: list[Outcome] = field(default_factory=list)

    def all(self, tasks: Iterable[Task]) -> None:
        """Translate what is not known yet, until the time is up."""
        missing = []
        for task in tasks:
            if task.key in self.known:
                self.outcomes.append(self.known[task.key])
            else:
                missing.append(task)
        if missing:
            attempt(missing[0])  # builds the runtime, once for all workers
        until = self.started + self.options.stop_after
        in_time = (task for task in missing if time.monotonic() < until)
        pool = Pool(attempt, self.options.jobs, self.options.limit)
        for count, (task, result) in enumerate(pool.map(in_time), 1):
            self._keep(lost(task, result) if isinstance(result, Lost) else result)
            if count % 500 == 0:
                print(f"{count} of {len(missing)}", file=sys.stderr, flush=True)

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.log is not None:
            print(json.dumps(asdict(outcome)), file=self.log, flush=True)


def lost(task: Task, result: Lost) -> Outcome:
    return Outcome(*task.key, failure=result.reason)


def attempt(task: Task) -> Outcome:
    """One translation, in whichever process this is."""
    fallbacks = _fallbacks()
    fallbacks.reasons.clear()
    start = time.process_time()
    failure, unsupported, has_flags = "", False, False
    try:
        metallib = _opened(task.file, task.offset)
        info = metallib.kernel(task.kernel)
        has_flags = any(constant.type_name == "bool" for constant in info.constants)
        translate(
            metallib.bitcode(task.kernel),
            task.kernel,
            function_constants(info, flags=task.flags),
            variant=task.variant,
            strands=task.strands,
        )
    except MetalgenError as error:
        failure = f"{type(error).__name__}: {error}"
        unsupported = isinstance(error, UnsupportedError)
    except Exception as error:  # whatever goes wrong is what this script looks for
        failure = f"{type(error).__name__}: {error}"
    by_thread = fallbacks.reasons[0] if fallbacks.reasons else ""
    seconds = time.process_time() - start
    return Outcome(*task.key, seconds, failure, unsupported, by_thread, has_flags)


@functools.cache
def _opened(file: str, offset: int) -> Metallib:
    return Metallib.open(file, offset=offset)


@functools.cache
def _fallbacks() -> _Fallbacks:
    logger = logging.getLogger("metalgen.software")
    handler = _Fallbacks()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    return handler


def function_constants(info: KernelInfo, *, flags: bool) -> dict[int | str, int | float | bool]:
    """Every flag as given, and one of everything that is counted."""
    return {c.index: flags if c.type_name == "bool" else 1 for c in info.constants}


def report(outcomes: Sequence[Outcome], elapsed: float, jobs: int) -> None:
    """One table per library, kernels and not translations counted, then every cause of failure."""
    for library in sorted({outcome.library for outcome in outcomes}):
        members = [outcome for outcome in outcomes if outcome.library == library]
        print(f"\n{library}\n{HEAD}")
        families: defaultdict[str, list[Outcome]] = defaultdict(list)
        for outcome in members:
            families[family(outcome.kernel)].append(outcome)
        for name, variants in sorted(families.items(), key=lambda item: -len(item[1])):
            print(row(name, variants))
        print(row("all", members))
    spent = sum(outcome.seconds for outcome in outcomes)
    print(
        f"\n{len(outcomes)} translations took {spent:.0f} s of processor time; "
        f"this run {elapsed:.0f} s with {jobs} workers"
    )
    for title, causes in (
        ("failed", Counter(o.failure for o in outcomes if o.failure)),
        ("ran thread by thread", Counter(o.by_thread for o in outcomes if o.by_thread)),
    ):
        for cause, count in causes.most_common(40):
            print(f"{title}: {count} x {cause}")


HEAD = (
    f"{'family':26} {'kernels':>7} {'translated':>10} {'Metal 4':>7} {'unsupported':>11} "
    f"{'failed':>6} {'by thread':>9} {'median s':>8} {'worst s':>8}"
)


def row(name: str, members: Sequence[Outcome]) -> str:
    kernels = {o.kernel for o in members}
    tensors = {o.kernel for o in members if o.unsupported and _TENSORS in o.failure}
    unsupported = {o.kernel for o in members if o.unsupported} - tensors
    failed = {o.kernel for o in members if o.failure} - tensors - unsupported
    by_thread = {o.kernel for o in members if o.by_thread}
    seconds = [o.seconds for o in members]
    return (
        f"{name:26} {len(kernels):7} {len(kernels - tensors - unsupported - failed):10} "
        f"{len(tensors):7} {len(unsupported):11} {len(failed):6} {len(by_thread):9} "
        f"{statistics.median(seconds):8.3f} {max(seconds):8.3f}"
    )


if __name__ == "__main__":
    main()

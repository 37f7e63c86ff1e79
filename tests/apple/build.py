"""Builds the Apple backend, unchanged, against the software Metal; objects are kept by content."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
KEPT = ROOT / "build" / "bridge"

# Clang for Objective-C, over the C++ library of the compiler that made everything else.
CLANG = (
    f"--target={platform.machine()}-linux-gnu",
    "-fblocks",
    "-fobjc-runtime=macosx-13.0",
    f"-I{HERE / 'include'}",
)
ARC = "-fobjc-arc"
# Undefined behaviour ends the process: every test is one for UBSan too.
CHECKED = ("-fsanitize=undefined", "-fsanitize-trap=undefined", "-fno-sanitize=function,vptr")
PLAIN = ("-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'src'}")
# "address" or "thread": everything built here is instrumented for it too.
SANITIZER = os.environ.get("METALGEN_SANITIZE")
INSTRUMENTED = (f"-fsanitize={SANITIZER}",) if SANITIZER else ()
CPP = ("-std=c++20", "-O1", *PLAIN, *INSTRUMENTED)
OBJECTIVE_CPP = (
    *("-std=c++20", "-O0", *CLANG, *PLAIN, *CHECKED, *INSTRUMENTED),
    "-Wno-unused-parameter",
)
SHOWN = (f"-I{HERE}", "-fvisibility=default")
# NSObject's own implementation may do what others may not.
ROOT_CLASS = ("-Wno-deprecated-objc-isa-usage", "-Wno-objc-missing-super-calls")

BACKEND = tuple(sorted((ROOT / "src" / "apple").glob("*.mm")))
SOFTWARE = sorted((ROOT / "src" / "software").glob("*.cpp"))
BINDINGS = sorted((ROOT / "src" / "bindings").glob("*.cpp"))
GEOMETRY = ROOT / "src" / "geometry.cpp"

Unit = tuple[Path, tuple[str, ...]]


def core() -> Path:
    """metalgen._core with the Apple backend, as a file to import."""
    metal()
    with alone():
        return _core(BACKEND)


def _core(backend: Sequence[Path], *flags: str) -> Path:
    includes = (f"-I{sysconfig.get_path('include')}", f"-I{_pybind11()}")
    units: list[Unit] = [(path, (*CPP, "-O0", *includes)) for path in BINDINGS]
    units += [(path, CPP) for path in (GEOMETRY, *SOFTWARE)]
    units += [(path, (*OBJECTIVE_CPP, ARC, *flags)) for path in backend]
    units.append((HERE / "runtime" / "image.c", PLAIN))
    apple = _metal()
    links = ("-Wl,--wrap=dlopen", f"-Wl,-rpath,{apple.parent}")
    return _linked("_core.so", units, (str(apple), *links))


def metal() -> Path:
    """The Objective-C runtime, Foundation, software Metal and MPS stream, in one library."""
    with alone():
        return _metal()


def _metal() -> Path:
    runtime = sorted((HERE / "runtime").glob("*.cpp"))
    units: list[Unit] = [(path, (*CPP, *SHOWN)) for path in runtime]
    units += [(HERE / "runtime" / name, PLAIN) for name in ("image.c", "message.S")]
    if SANITIZER == "thread":
        units.append(
            (HERE / "runtime" / "tsan.c", (*PLAIN, "-fvisibility=default", "-fno-builtin"))
        )
    counted = [HERE / "foundation.mm", HERE / "dispatch.mm", *sorted((HERE / "mps").glob("*.mm"))]
    units += [(path, (*OBJECTIVE_CPP, *SHOWN, *ROOT_CLASS)) for path in counted]
    collected = sorted((HERE / "metal").glob("*.mm"))
    units += [(path, (*OBJECTIVE_CPP, *SHOWN, ARC)) for path in collected]
    units += [(path, CPP) for path in (GEOMETRY, *SOFTWARE)]
    return _linked(
        "libsoftmetal.so",
        units,
        ("-Wl,-soname,libsoftmetal.so", *(() if SANITIZER else ("-Wl,-z,defs",))),
    )


def tensors() -> Path:
    """The mps device for torch, made with the compiler whose C++ library torch was built with."""
    import torch

    package = Path(torch.__file__).parent
    source = HERE / "mps" / "tensors.cpp"
    apple = metal()
    key = _key(source.read_bytes(), torch.__version__, str(apple))
    out = KEPT / f"tensors-{key}.so"
    includes = (package / "include", package / "include/torch/csrc/api/include")
    with alone("tensors"):
        if not out.exists():
            new = _unique(out)
            flags = ["-std=c++20", "-O0", "-fPIC", "-shared", *(f"-I{path}" for path in includes)]
            links = [f"-L{package / 'lib'}", "-ltorch_cpu", "-lc10", str(apple)]
            links += [f"-Wl,-rpath,{apple.parent}"]
            _run(["c++", *flags, str(source), "-o", str(new), *links])
            new.replace(out)
    return out


def sanitizer_environment() -> dict[str, str]:
    """What a process needs to load what was instrumented, for Python itself is not."""
    if not SANITIZER:
        return {}
    # The C++ library too, or the sanitizer does not see what it must wrap.
    names = (f"lib{SANITIZER[0]}san.so", "libstdc++.so.6")
    found = [
        subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True)
        for name in names
    ]
    return {
        "LD_PRELOAD": " ".join(done.stdout.strip() for done in found),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own; the tests count instances instead
        "TSAN_OPTIONS": "halt_on_error=1 exitcode=66",
        # Races go unreported in children of a process with several threads.
        "OPENBLAS_NUM_THREADS": "1",
    }


def broken(edits: Sequence[tuple[str, str]]) -> Path:
    """_core with a backend in which each edit replaced its one occurrence."""
    core()
    texts = [path.read_text() for path in BACKEND]
    for old, new in edits:
        assert sum(text.count(old) for text in texts) == 1, f"not there exactly once: {old}"
        texts = [text.replace(old, new) for text in texts]
    directory = KEPT / "broken" / _key(*texts)
    directory.mkdir(parents=True, exist_ok=True)
    copies = [directory / path.name for path in BACKEND]
    for copy, text in zip(copies, texts, strict=True):
        copy.write_text(text)
    return _core(copies, "-Wno-error", "-include-pch", str(_precompiled(BACKEND)))


def _precompiled(sources: Sequence[Path]) -> Path:
    """The system's headers that `sources` include, read once for many variants of them."""
    pattern = re.compile(r"^#(?:import|include) <.*>\n", re.MULTILINE)
    lines = {line for path in sources for line in pattern.findall(path.read_text())}
    text = "".join(sorted(lines, key=lambda line: ("import" not in line, line)))
    flags = (*OBJECTIVE_CPP, ARC, "-Wno-error", "-x", "objective-c++-header")
    out = KEPT / f"system-{_key(text, _headers(True), *flags)}.pch"
    with alone("precompiled"):
        if not out.exists():
            header = out.with_suffix(".h")
            header.write_text(text)
            _run([*zig("clang"), *flags, str(header), "-o", str(_unique(out))])
            _unique(out).replace(out)
    return out


def zig(*arguments: str) -> list[str]:
    """A command line of the compiler that metalgen depends on."""
    import ziglang

    resources = Path(ziglang.__file__).parent / "lib"
    command, *rest = arguments
    return [sys.executable, "-m", "ziglang", command, f"-resource-dir={resources}", *rest]


def _linked(name: str, units: Sequence[Unit], flags: Sequence[str]) -> Path:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda unit: _object(*unit), units))
    key = _key(*(path.name for path in objects), *flags, *INSTRUMENTED)
    out = KEPT / key / name
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        new = _unique(out)
        link = ["c++", "-shared", "-pthread", *INSTRUMENTED, *map(str, objects)]
        _run([*link, *flags, "-o", str(new)])
        new.replace(out)
    return out


def _object(source: Path, flags: tuple[str, ...]) -> Path:
    of_tests = any(str(HERE) in flag for flag in flags)
    key = _key(source.read_bytes(), _headers(of_tests), *flags)
    out = KEPT / "objects" / f"{source.stem}-{key}.o"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        new = _unique(out)
        _run([*_compiler(source), *flags, "-c", str(source), "-o", str(new)])
        new.replace(out)
    return out


def _compiler(source: Path) -> list[str]:
    if source.suffix != ".mm":
        return ["c++"] if source.suffix == ".cpp" else ["cc"]
    return zig("clang")


@functools.cache
def _headers(of_tests: bool) -> str:
    """Everything that sources may include, and the compiler."""
    from importlib.metadata import version

    files = sorted([*(ROOT / "src").rglob("*.h"), *(HERE.rglob("*.h") if of_tests else ())])
    versions = (version("ziglang"), version("pybind11"), sys.version)
    return _key(*(path.read_bytes() for path in files), *versions)


def _pybind11() -> str:
    import pybind11

    return pybind11.get_include()


def _key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]


def _unique(path: Path) -> Path:
    return path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")


@contextmanager
def alone(what: str = "core") -> Iterator[None]:
    """One builder of `what` at a time, over all test processes."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Iterable[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")

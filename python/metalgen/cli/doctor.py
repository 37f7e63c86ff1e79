"""`metalgen doctor`: is everything here that metalgen needs, and what to do where it is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metalgen.cli.failure import Status
from metalgen.errors import MetalgenError

if TYPE_CHECKING:
    from torch import Tensor

    from metalgen.device import DeviceType
    from metalgen.library import Library

Outcome = Literal["ok", "failed", "absent"]

_MARKS: dict[Outcome, str] = {"ok": "ok", "failed": "FAILED", "absent": "--"}

_KERNEL = """#include <metal_stdlib>
using namespace metal;

kernel void scale_add(device float* y [[buffer(0)]], device const float* x [[buffer(1)]],
                      constant float& a [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = fma(a, x[i], y[i]);
}
"""
_ELEMENTS = 1 << 20
_REPORT = "please report it with the output of 'metalgen doctor --json'"


_ZIGLANG_REMEDY = "pip install 'ziglang>=0.17,<0.18'"
_AFTER_OTHERS = f"mend what failed above first; if nothing did, {_REPORT}"

# The outcome and its detail, with the remedy where there is something to mend.
Examined = tuple[Outcome, str] | tuple[Outcome, str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one examination found; a failure says how to mend it."""

    name: str
    outcome: Outcome
    detail: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Examine this machine: system, compiler, torch, devices, one kernel against PyTorch.

    Leaves with status 5 where something that metalgen needs is missing or broken; what a machine
    cannot have (an Apple GPU on Linux) is said, and is no failure.
    """
    findings = [_examined(name, examine) for name, examine in _EXAMINATIONS.items()]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    if any(finding.outcome == "failed" for finding in findings):
        raise typer.Exit(Status.UNAVAILABLE)


def _examined(name: str, examine: Callable[[], Examined]) -> Finding:
    try:
        found = examine()
    except MetalgenError as error:
        return Finding(name, "failed", str(error), _REPORT)
    except Exception as error:  # an examination must not hide what the next ones would find
        reason = " ".join(str(error).split())
        return Finding(name, "failed", f"{type(error).__name__}: {reason}", _AFTER_OTHERS)
    return Finding(name, *found)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.name:{width}}  {_MARKS[finding.outcome]:6}  {finding.detail}")
        if finding.remedy:
            typer.echo(f"{'':{width}}  {'':6}  → {finding.remedy}")


def _system() -> Examined:
    import platform
    import sys

    version = ".".join(map(str, sys.version_info[:3]))
    if sys.platform != "darwin":
        detail = f"{platform.system()} {platform.machine()}, Python {version}"
        return "ok", detail
    release, _, machine = platform.mac_ver()
    detail = f"macOS {release} {machine}, {_chip()}, Python {version}"
    if machine != "arm64":
        return (
            "failed",
            f"{detail}: metalgen's GPU kernels need Apple silicon",
            "use a Mac with an M1 or newer and an arm64 Python (not under Rosetta); "
            "tensors on cpu work here",
        )
    if int(release.split(".")[0]) < 14:
        remedy = "update to macOS 14 or newer: metallibs are made for it"
        return "failed", detail, remedy
    return "ok", detail


def _chip() -> str:
    import subprocess

    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or "unknown chip"


def _xcode() -> Examined:
    import shutil
    import subprocess
    import sys

    if sys.platform != "darwin":
        return "absent", "needs macOS; metalgen's own compiler stands in"
    if shutil.which("xcodebuild") is None:
        return "failed", "no xcodebuild on PATH", _xcode_remedy()
    done = subprocess.run(["xcodebuild", "-version"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        return "failed", (done.stderr.splitlines() or ["no message"])[-1], _xcode_remedy()
    return "ok", ", ".join(done.stdout.splitlines())


def _compiler() -> Examined:
    from metalgen.compiler.selection import select_toolchain

    try:
        toolchain = select_toolchain()
        first_line = toolchain.fingerprint.splitlines()[0]
    except (MetalgenError, OSError) as error:
        return "failed", str(error), _xcode_remedy() if _is_mac() else _ZIGLANG_REMEDY
    if toolchain.name == "xcrun":
        return "ok", f"xcrun metal: {first_line}"
    return "ok", f"{toolchain.description}, with metalgen's own headers"


def _is_mac() -> bool:
    import sys

    return sys.platform == "darwin"


def _xcode_remedy() -> str:
    return (
        "install Xcode, select it (sudo xcode-select -s /Applications/Xcode.app), accept its "
        "licence (sudo xcodebuild -license accept), and on Xcode 26 also run "
        "xcodebuild -downloadComponent MetalToolchain"
    )


def _torch() -> Examined:
    import sys

    try:
        import torch
    except ImportError as error:
        return "failed", str(error), "pip install 'torch>=2.7'"
    detail = f"torch {torch.__version__}"
    if sys.platform != "darwin":
        return "ok", detail
    if not torch.backends.mps.is_built():
        remedy = "install torch for macOS arm64 (pip install torch, in an arm64 Python)"
        return "failed", f"{detail} was built without MPS", remedy
    if not torch.backends.mps.is_available():
        remedy = "run outside virtual machines and sandboxes without a GPU, on macOS 14 or newer"
        return "failed", f"{detail} finds no MPS device", remedy
    loads = hasattr(torch.mps, "load_metallib")
    return "ok", f"{detail}, MPS, load_metallib: {'yes' if loads else 'no'}"


def _core() -> Examined:
    try:
        from metalgen import _core as core
    except ImportError as error:
        remedy = "build it again: pip install --force-reinstall metalgen"
        return "failed", str(error), remedy
    knows = "with" if core.has_apple_device() else "without"
    return "ok", f"loads, {knows} an Apple GPU"


def _library() -> Examined:
    from metalgen import resources
    from metalgen.air import Metallib

    try:
        path = resources.metallib()
        names = Metallib.open(path).names
    except MetalgenError as error:
        return "failed", str(error), "build metalgen again: its kernel library is compiled then"
    return "ok", f"{len(names)} kernels in {path}, made by {resources.metallib_maker()}"


def _software_device() -> Examined:
    return _kernel_on("cpu")


def _apple_gpu() -> Examined:
    import sys

    from metalgen import _core as core

    if core.has_apple_device():
        return _kernel_on("mps")
    if sys.platform == "darwin":
        remedy = "run on the Mac itself: virtual machines and some CI runners have no GPU"
        return "failed", "Metal finds no device", remedy
    return "absent", "needs macOS; tensors on cpu use the software device"


def _kernel_on(device: DeviceType) -> Examined:
    """Compile one kernel, load it on `device`, hold it against PyTorch, and time both."""
    import metalgen
    from metalgen.device import open_device

    opened = open_device(device)
    # Never from the cache: the compiler is examined too.
    library = metalgen.compile_shader(f"{_KERNEL}// {time.time_ns()}\n")
    largest, kernel_us, copying_us = _measure(library, device, opened.synchronize)
    if largest > 1e-6:
        detail = f"{opened.name}: differs from PyTorch by {largest:.3g}"
        return "failed", detail, _REPORT
    name = opened.name if device == "cpu" else f"{opened.name} ({opened.family})"
    detail = (
        f"{name}: agrees with PyTorch; {_ELEMENTS} elements in {kernel_us:.0f} us on the "
        f"tensors' own memory, {copying_us:.0f} us through copies"
    )
    return "ok", detail


def _measure(
    library: Library, device: DeviceType, wait: Callable[[], None]
) -> tuple[float, float, float]:
    """The largest difference from PyTorch, and microseconds without and with copies."""
    import torch

    from metalgen.device import settle

    x, y = torch.rand(_ELEMENTS), torch.rand(_ELEMENTS)
    x_there, y_there = x.to(device), y.clone().to(device)
    library.scale_add(y_there, x_there, 0.5)
    largest = (y_there.cpu() - (y + 0.5 * x)).abs().max().item()
    settle()

    def in_place() -> None:
        library.scale_add(y_there, x_there, 0.5)
        wait()

    def through_copies() -> Tensor:
        result = y.clone().to(device)
        library.scale_add(result, x.clone().to(device), 0.5)
        return result.cpu().clone()

    return largest, _best_us(in_place), _best_us(through_copies)


def _best_us(run: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1e6

    return min(once() for _ in range(10))


_EXAMINATIONS = {
    "system": _system,
    "Xcode": _xcode,
    "compiler": _compiler,
    "torch": _torch,
    "native core": _core,
    "kernel library": _library,
    "software device": _software_device,
    "Apple GPU": _apple_gpu,
}

"""Runs tests in processes that have the software Metal: `python -m apple.child [CORE]`.

Reads one request a line (a core, a test file, a function, its arguments), forks, and answers with
what the forked process did. A core named on the command line is loaded before forking.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import ModuleType

from apple import build, toolchain

TIMEOUT_S = 300


def main(core: str | None) -> None:
    import torch

    torch.set_num_threads(1)
    soft_metal = ctypes.CDLL(str(build.metal()), mode=os.RTLD_GLOBAL)
    ctypes.CDLL(str(build.tensors()), mode=os.RTLD_GLOBAL)
    toolchain.register(soft_metal)
    if core is not None:
        use_core(core)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if core is not None:
            tests(request["file"])
        print(json.dumps(run(request, load_core=core is None)), flush=True)


def use_core(path: str) -> None:
    """Make `path` metalgen._core, before metalgen is imported."""
    module = load("metalgen._core", Path(path))
    import metalgen

    for name in ("compiler", "device", "library.loading", "ops", "plan", "software"):
        importlib.import_module(f"metalgen.{name}")

    metalgen._core = module


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def tests(path: str) -> ModuleType:
    """The module at `path`, loaded once."""
    return load(Path(path).stem, Path(path))


def run(request: dict[str, object], *, load_core: bool) -> dict[str, object]:
    """Fork, run the test there, and say how it ended: its output and its status."""
    with tempfile.TemporaryFile() as output:
        process = os.fork()
        if process == 0:
            os._exit(_in_fork(request, output.fileno(), load_core))
        watchdog = threading.Timer(TIMEOUT_S, os.kill, (process, 9))
        watchdog.start()
        _, status = os.waitpid(process, 0)
        watchdog.cancel()
        watchdog.join()
        output.seek(0)
        text = output.read().decode(errors="replace")
    return {"status": os.waitstatus_to_exitcode(status), "output": text}


def _in_fork(request: dict[str, object], output: int, load_core: bool) -> int:
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        if load_core:
            use_core(str(request["core"]))
        function = getattr(tests(str(request["file"])), str(request["function"]))
        getattr(function, "in_child", function)(**request["arguments"])
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)

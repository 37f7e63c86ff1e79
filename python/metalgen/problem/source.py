"""Running a problem file: from a path to a module with Model, get_inputs and get_init_inputs."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import CodeType, ModuleType

from torch import nn

from metalgen.errors import ProblemError

_REMEDIES = {
    "Model": "define a torch.nn.Module called Model",
    "get_inputs": "define get_inputs() that returns a list of forward's arguments",
    "get_init_inputs": "define get_init_inputs() that returns a list of Model's arguments",
}


def read_problem_file(path: Path) -> str:
    """The file's text; ProblemError where there is none."""
    if path.is_dir():
        raise ProblemError(f"'{path}' is a folder; give one problem file, or use metalgen bench")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProblemError(f"no problem file at '{path}'; give the path of a Python file") from None
    except UnicodeDecodeError:
        raise ProblemError(f"'{path}' is not UTF-8 text; give a Python file") from None
    except OSError as error:
        raise ProblemError(f"cannot read '{path}': {error.strerror}") from None


def import_problem_file(path: Path) -> ModuleType:
    """Run the file as a module of its own; ProblemError names what is wrong and what to do."""
    text = read_problem_file(path)
    try:
        code = compile(text, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" line {line}" if line else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ProblemError(f"'{path}'{where}: {message}; fix the syntax") from None
    module = ModuleType(f"metalgen_problem_{hashlib.sha256(text.encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    # Classes look their module up by name, for pickling and for their source.
    sys.modules[module.__name__] = module
    _run(code, module, path)
    _check(module, path)
    return module


def _run(code: CodeType, module: ModuleType, path: Path) -> None:
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        exec(code, module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
        raise ProblemError(f"'{path}' raised {reason} while it was imported") from error
    finally:
        sys.path.remove(folder)


def _check(module: ModuleType, path: Path) -> None:
    for name, remedy in _REMEDIES.items():
        found = getattr(module, name, None)
        if found is None:
            raise ProblemError(f"'{path}' has no {name}; {remedy}")
        if not callable(found):
            raise ProblemError(f"'{path}': {name} is a {type(found).__name__}; {remedy}")
    if not (isinstance(module.Model, type) and issubclass(module.Model, nn.Module)):
        raise ProblemError(f"'{path}': Model is not a torch.nn.Module; {_REMEDIES['Model']}")

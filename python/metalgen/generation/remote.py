"""What runs on a cluster's workers: one sandboxed evaluator per worker process, kept warm.

Only JSON goes to and from workers. Problems travel as text, so their files need not be there.
"""

from __future__ import annotations

import atexit
import base64
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metalgen.errors import ProblemError, UnsupportedError
from metalgen.files import write_whole
from metalgen.generation.candidate import Candidate
from metalgen.generation.evaluator import Evaluation, Evaluator
from metalgen.generation.record import sha256
from metalgen.generation.result import verdict_json, verdict_of_json
from metalgen.generation.sandbox import Limits
from metalgen.plan import parse_plan
from metalgen.problem import Problem

_done: Counter[str] = Counter()
_turn = threading.Lock()
_kept: dict[str, Evaluator] = {}
_folder: list[tempfile.TemporaryDirectory[str]] = []


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what the request asks for; a problem that cannot be used is part of the answer."""
    with _turn:
        evaluator = _evaluator(request)
        _done[request["do"]] += 1
        try:
            answer = _DEEDS[request["do"]](evaluator, request)
        except (ProblemError, UnsupportedError) as error:
            message = str(error).replace(str(_path(request)), request["path"])
            answer = {"error": message, "kind": type(error).__name__}
    return {**answer, "device": evaluator.device}


def deeds() -> dict[str, int]:
    """What this worker was asked for, and how often."""
    return {deed: _done[deed] for deed in _DEEDS}


def _evaluator(request: Mapping[str, Any]) -> Evaluator:
    from metalgen.generation.loop import default_device

    device = request["device"] or default_device()
    key = f"{device} {request['limits']}"
    if key not in _kept:
        for evaluator in _kept.values():
            evaluator.stop()
        _kept.clear()
        # One room for all workers of a machine: none works while another measures.
        room = Path(tempfile.gettempdir()) / "metalgen-room"
        room.mkdir(exist_ok=True)
        _kept[key] = Evaluator(Limits(**request["limits"]), device=device, room=room)
        atexit.register(_kept[key].stop)
    return _kept[key]


def _path(request: Mapping[str, Any]) -> Path:
    """The problem's file on this machine, written where it is not there yet."""
    if not _folder:
        _folder.append(tempfile.TemporaryDirectory(prefix="metalgen-problems-"))
    source = str(request["source"])
    folder = Path(_folder[0].name) / sha256(source)[:16]
    path = folder / Path(request["path"]).name
    if not path.exists():
        folder.mkdir(exist_ok=True)
        write_whole(path, source.encode())
    return path


def _open(evaluator: Evaluator, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"problem": evaluator.open(_path(request)).to_json()}


def _control(evaluator: Evaluator, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"reason": evaluator.control_reason(_problem(evaluator, request))}


def _evaluate(evaluator: Evaluator, request: Mapping[str, Any]) -> dict[str, Any]:
    problem, allow_aten = _problem(evaluator, request), request["allow_aten"]
    found = evaluator.evaluate(problem, _candidate(request), allow_aten=allow_aten)
    return {"evaluation": evaluation_json(found)}


def _check(evaluator: Evaluator, request: Mapping[str, Any]) -> dict[str, Any]:
    problem, allow_aten = _problem(evaluator, request), request["allow_aten"]
    found = evaluator.rejection(problem, _candidate(request), allow_aten=allow_aten)
    return {"evaluation": None if found is None else evaluation_json(Evaluation(found))}


def _profile(evaluator: Evaluator, request: Mapping[str, Any]) -> dict[str, Any]:
    metallib = base64.b64decode(request["metallib"])
    profile = evaluator.profile(_problem(evaluator, request), _candidate(request), metallib)
    return {"profile": profile.to_json()}


_DEEDS = {
    "open": _open,
    "control": _control,
    "check": _check,
    "evaluate": _evaluate,
    "profile": _profile,
}


def _problem(evaluator: Evaluator, request: Mapping[str, Any]) -> Problem:
    path = _path(request)
    if not evaluator.device:
        evaluator.open(path)  # tells what this machine measures on
    return replace(Problem.from_json(request["problem"]), path=path)


def _candidate(request: Mapping[str, Any]) -> Candidate:
    return Candidate(request["kernels"], parse_plan(request["plan"]))


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as plain objects."""
    return {
        "verdict": verdict_json(evaluation.verdict),
        "metallib": base64.b64encode(evaluation.metallib).decode(),
        "details": dict(evaluation.details or {}),
        "is_control": evaluation.is_control,
    }


def evaluation_of(plain: Mapping[str, Any]) -> Evaluation:
    """What `evaluation_json` gave."""
    return Evaluation(
        verdict=verdict_of_json(plain["verdict"]),
        metallib=base64.b64decode(plain["metallib"]),
        details=plain["details"],
        is_control=plain["is_control"],
    )

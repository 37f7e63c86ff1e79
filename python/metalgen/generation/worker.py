"""The child process in which problems and candidates run; its parent is `sandbox.Worker`.

Reads requests from its standard input and answers on the descriptor that was its standard output;
whatever the problem file prints goes to the error log instead.

    {"do": "start", "memory_bytes": n, "device": "cpu", "room": folder | null,
     "baseline_s": n}
    {"do": "describe", "path": p}                  -> {"problem": {...}} | {"error": "..."}
    {"do": "control", "problem": {...}}            -> {"reason": "..." | null} | {"error": "..."}
    {"do": "profile", "problem": {...}, "source": s, "plan": {...}, "metallib": base64}
                                                   -> {"profile": {...}} | {"error": "..."}
    {"do": "judge", "problem": {...}, "source": s, "plan": {...}, "allow_aten": b, "is_timed": b,
     "processor_seconds": n}       -> {"accepted": {...}} | {"rejected": {...}} | {"verified": true}

Before each step it sends {"step": name, "detail": text}; the answer has "done": true.
"""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from metalgen.generation.messages import read_message, write_message


def main() -> None:
    """Serve requests until the parent closes the pipe."""
    requests, answers = _take_over_streams()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    server: _Server | None = None
    while (request := read_message(requests)) is not None:
        if request["do"] == "start":
            server = _Server(answers, request)
            write_message(answers, {"done": True})
        elif server is not None:
            write_message(answers, {**server.answer(request), "done": True})


def _end_with(parent: int) -> None:
    """End this process and its children once the parent is gone, whatever runs in other threads."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _take_over_streams() -> tuple[BinaryIO, BinaryIO]:
    """Private copies of the pipes; 0 reads nothing and 1 goes where errors go."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


class _Server:
    """Holds the problem between requests."""

    def __init__(self, answers: BinaryIO, settings: dict[str, Any]) -> None:
        import torch

        from metalgen.generation.limits import limit_this_process
        from metalgen.generation.room import Room

        # The first multiplication allocates what libraries keep, before the limit is set.
        torch.ones(64, 64) @ torch.ones(64, 64)
        limit_this_process(settings["memory_bytes"])
        self.device = torch.device(settings["device"])
        self.answers = answers
        folder = settings.get("room")
        self.room = Room(folder and Path(folder), on_wait=lambda: self.step("wait", ""))
        self.baseline_s = float(settings.get("baseline_s", 0.0))
        self.judges: dict[str, Any] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the request asks for; errors are part of the answer."""
        if request["do"] == "describe":
            return self.describe(request["path"])
        if request["do"] == "control":
            return self.control(request["problem"])
        if request["do"] == "profile":
            return self.profile(request)
        return self.judge(request)

    def describe(self, path: str) -> dict[str, Any]:
        """The problem's description."""
        from metalgen.errors import ProblemError
        from metalgen.generation.judge import described_device
        from metalgen.problem import open_problem

        try:
            with self.room.working():
                self.step("load", "")
                problem = open_problem(path)
        except ProblemError as error:
            return {"error": str(error)}
        return {"problem": problem.to_json(), "device": described_device(self.device)}

    def control(self, problem: dict[str, Any]) -> dict[str, Any]:
        """Whether accepting a candidate for the problem would prove nothing, and why."""
        from metalgen.problem.loaded import described

        try:
            return {"reason": self.judge_of(problem).control_reason()}
        except Exception as error:
            return {"error": f"'{problem['path']}': its reference raised {described(error)}"}

    def profile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Why an accepted candidate is as slow as it is."""
        from metalgen.errors import MetalgenError
        from metalgen.plan import parse_plan
        from metalgen.profile import profile_candidate

        judge = self.judge_of(request["problem"])
        try:
            with self.room.working():
                self.step("profile", "")
                profile = profile_candidate(
                    judge.problem,
                    request["source"],
                    parse_plan(request["plan"]),
                    base64.b64decode(request["metallib"]),
                    self.device,
                )
        except MetalgenError as error:
            return {"error": str(error)}
        return {"profile": profile.to_json()}

    def judge(self, request: dict[str, Any]) -> dict[str, Any]:
        """The verdict on one candidate."""
        from metalgen.errors import ProblemError
        from metalgen.generation.candidate import Candidate
        from metalgen.generation.judge import Overrun, Verified
        from metalgen.generation.limits import is_out_of_memory, limit_processor_time
        from metalgen.plan import parse_plan
        from metalgen.proposers import Rejected

        limit_processor_time(request["processor_seconds"])
        candidate = Candidate(request["source"], parse_plan(request["plan"]))
        try:
            judge = self.judge_of(request["problem"])
            deed = judge.judge if request["is_timed"] else judge.check
            found = deed(candidate, allow_aten=request["allow_aten"])
        except ProblemError as error:
            return {"error": str(error)}
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            path = request["problem"]["path"]
            return {"error": f"'{path}' needs more memory than there is; make its sizes smaller"}
        if isinstance(found, Overrun | Rejected):
            rejected = found.rejected if isinstance(found, Overrun) else found
            return {
                "rejected": {"stage": rejected.stage, "reason": rejected.reason},
                "overrun": isinstance(found, Overrun),
            }
        if isinstance(found, Verified):
            return {"verified": True}
        return {
            "accepted": {
                "metallib": base64.b64encode(found.metallib).decode(),
                "timing": found.timing.to_json(),
                "cases": [check.case for check in found.checks],
                "is_deterministic": all(check.is_deterministic for check in found.checks),
                "aten_steps": found.aten_steps,
                "notes": list(found.notes),
                "is_control": found.is_control,
            },
        }

    def judge_of(self, plain: dict[str, Any]) -> Any:
        """The problem's judge, made when first needed."""
        from metalgen.generation.judge import Judge
        from metalgen.problem import Problem

        problem = Problem.from_json(plain)
        key = f"{problem.path} {problem.sha256}"
        if key not in self.judges:
            self.step("load", "")
            loaded = problem.load()
            judge = Judge(loaded, self.device, self.step, self.room, self.warn, self.baseline_s)
            self.judges = {key: judge}
        return self.judges[key]

    def warn(self, warnings: list[str]) -> None:
        """Tell the parent what the compiler warned of."""
        from metalgen.generation.feedback import brief_warnings

        write_message(self.answers, {"warnings": brief_warnings(warnings)})

    def step(self, name: str, detail: str) -> None:
        """Tell the parent what is about to happen."""
        write_message(self.answers, {"step": name, "detail": detail})

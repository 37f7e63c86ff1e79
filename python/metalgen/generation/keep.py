"""The files of an accepted candidate: kernels, plan, stand-alone module, manifest."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from metalgen.errors import UnsupportedError
from metalgen.generation.budget import Spent
from metalgen.generation.model_new import render_model_new
from metalgen.generation.record import sha256
from metalgen.generation.result import AttemptRecord, Best, verdict_json
from metalgen.generation.tolerance import MULTIPLE, TOLERANCES
from metalgen.problem import Problem


def files_of(
    best: Best, problem: Problem, device: Mapping[str, Any], attempts: Sequence[AttemptRecord]
) -> dict[str, str | bytes]:
    """Every file by name, `attempts` being those so far.

    model_new.py is left out where PyTorch cannot launch the plan.
    """
    plan = best.candidate.plan.model_dump_json(exclude_defaults=True, indent=2)
    files: dict[str, str | bytes] = {
        "kernels.metal": best.candidate.source,
        "kernels.metallib": best.metallib,
        "plan.json": plan + "\n",
    }
    manifest = _manifest(best, problem, device, attempts)
    try:
        files["model_new.py"] = render_model_new(best.candidate, problem)
    except UnsupportedError as error:
        manifest["model_new"] = str(error)
    files["manifest.json"] = json.dumps(manifest, indent=2) + "\n"
    return files


def _manifest(
    best: Best, problem: Problem, device: Mapping[str, Any], attempts: Sequence[AttemptRecord]
) -> dict[str, Any]:
    record, candidate = best.record, best.candidate
    return {
        "problem": {
            "path": str(problem.path),
            "sha256": problem.sha256,
            "training": problem.training,
            "notes": list(problem.notes),
            "control": best.is_control,
        },
        "model": record.model,
        "attempt": record.number,
        "context": record.context,
        "phase": record.phase,
        "attempts_so_far": len(attempts),
        "spent_so_far": Spent.on(each.reply for each in attempts).to_json(),
        "prompt_sha256": sha256(record.reply.prompt) if record.reply.prompt else None,
        "tokens": {"input": record.reply.input_tokens, "output": record.reply.output_tokens},
        "cost": record.reply.cost,
        "hashes": {
            "kernels.metal": sha256(candidate.source),
            "kernels.metallib": sha256(best.metallib),
        },
        "verdict": verdict_json(best.verdict),
        "evidence": dict(record.details),
        "tolerances": {
            **{str(dtype).removeprefix("torch."): asdict(t) for dtype, t in TOLERANCES.items()},
            "multiple_of_eagers_error": MULTIPLE,
        },
        "device": dict(device),
        "compiler": compiler_name(),
        "metalgen": importlib.metadata.version("metalgen"),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def compiler_name() -> str:
    """What compiles Metal on this machine, with its version."""
    if sys.platform == "darwin":
        return "xcrun metal"
    try:
        return f"clang of ziglang {importlib.metadata.version('ziglang')}"
    except importlib.metadata.PackageNotFoundError:
        return "none"

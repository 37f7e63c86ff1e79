"""Attempts as the run store has them, and back: a run that goes on starts from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from metalgen.generation.candidate import Candidate
from metalgen.generation.result import AttemptRecord, Best
from metalgen.plan import parse_plan
from metalgen.proposers import Accepted, Rejected, Reply, Shared, Stage, Verdict
from metalgen.runs import AttemptRow, StoredRun

SOURCE, PLAN, METALLIB = "kernels.metal", "plan.json", "kernels.metallib"


def plan_text(candidate: Candidate) -> str:
    """The launch plan as it is kept and shown."""
    return candidate.plan.model_dump_json(exclude_defaults=True, indent=2) + "\n"


def row_of(
    record: AttemptRecord, problem: str, candidate: Candidate | None, is_control: bool
) -> AttemptRow:
    """An attempt's row, less its files."""
    verdict, plan = record.verdict, None if candidate is None else candidate.plan
    figures: dict[str, Any] = {}
    if isinstance(verdict, Accepted):
        figures = {
            "candidate_us": verdict.candidate_us,
            "eager_us": verdict.eager_us,
            "compiled_us": record.details.get("timing", {}).get("compiled_us"),
            "device": verdict.device,
            "notes": verdict.notes,
        }
    return AttemptRow(
        problem=problem,
        model=record.model,
        context=record.context,
        phase=record.phase,
        number=record.number,
        started=record.started,
        call_seconds=record.call_seconds,
        seconds=record.seconds,
        prompt=record.reply.prompt,
        reply=record.reply.text,
        stage=verdict.stage if isinstance(verdict, Rejected) else None,
        reason=verdict.reason if isinstance(verdict, Rejected) else None,
        metal_steps=0 if plan is None else len(plan.steps) - len(plan.aten_steps),
        aten_steps=0 if plan is None else len(plan.aten_steps),
        input_tokens=record.reply.input_tokens,
        output_tokens=record.reply.output_tokens,
        cost=record.reply.cost,
        is_control=is_control,
        details=record.details,
        hints=record.hints,
        shared=None if record.shared is None else shared_json(record.shared),
        **figures,
    )


def record_of(row: AttemptRow) -> AttemptRecord:
    """The attempt that a row was made from."""
    return AttemptRecord(
        model=row.model,
        number=row.number,
        reply=Reply(row.reply, row.prompt, row.input_tokens, row.output_tokens, row.cost),
        verdict=verdict_of(row),
        seconds=row.seconds,
        details=row.details,
        context=row.context,
        phase=row.phase,
        started=row.started,
        call_seconds=row.call_seconds,
        hints=row.hints,
        shared=None if row.shared is None else shared_of(row.shared),
    )


def verdict_of(row: AttemptRow) -> Verdict:
    """What became of the attempt."""
    warnings = tuple((row.details or {}).get("warnings", ()))
    if row.stage is not None:
        return Rejected(cast(Stage, row.stage), row.reason or "", warnings)
    return Accepted(
        candidate_us=row.candidate_us or 0.0,
        eager_us=row.eager_us or 0.0,
        device=row.device,
        aten_steps=row.aten_steps,
        notes=row.notes,
        warnings=warnings,
    )


def shared_json(shared: Shared) -> dict[str, Any]:
    """A swarm's best as plain objects."""
    return asdict(shared)


def shared_of(plain: Mapping[str, Any]) -> Shared:
    """What `shared_json` gave."""
    verdict = dict(plain["verdict"])
    verdict["notes"] = tuple(verdict["notes"])
    verdict["warnings"] = tuple(verdict.get("warnings", ()))
    return Shared(plain["model"], plain["source"], plain["plan"], Accepted(**verdict))


def best_of(row: AttemptRow, run: StoredRun) -> Best:
    """An accepted attempt with its candidate, from its files."""
    verdict = verdict_of(row)
    assert isinstance(verdict, Accepted)
    files = {name: run.artefact(digest) for name, digest in row.artefacts.items()}
    candidate = Candidate(files[SOURCE].decode(), parse_plan(files[PLAN]))
    return Best(record_of(row), verdict, candidate, files[METALLIB], row.is_control)

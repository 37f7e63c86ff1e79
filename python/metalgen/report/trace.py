"""Where a run's time went, in the Trace Event Format that chrome://tracing and Perfetto read.

A process is a column (model and context), a thread is a lane of jobs that did not overlap. Within a
job lie its attempts, within an attempt the call to the model and then the steps of judging it
(compile, launch, compare, time). Beside them run counters of dollars and tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metalgen.report.outcomes import Column, column_of
from metalgen.report.summary import summarise
from metalgen.runs import AttemptRow, CallRow, Job, RunRecords

Event = dict[str, Any]

_RESOLUTION_US = 50.0  # of clocks that are read in two processes


@dataclass
class _Span:
    """A job's attempts and calls, and when they began and ended, in seconds since the epoch."""

    job: Job
    attempts: list[AttemptRow] = field(default_factory=list)
    calls: list[CallRow] = field(default_factory=list)

    @property
    def start(self) -> float:
        return min([a.started for a in self.attempts] + [c.started for c in self.calls])

    @property
    def end(self) -> float:
        return max(
            [a.started + a.seconds for a in self.attempts]
            + [c.started + (c.seconds or 0.0) for c in self.calls]
        )


def trace_of(records: RunRecords) -> dict[str, Any]:
    """The trace as plain JSON; times in microseconds from the run's start."""
    info, calls = records.info, records.calls()
    spans: dict[Job, _Span] = {}
    for attempt in records.attempts():
        spans.setdefault(attempt.job, _Span(attempt.job)).attempts.append(attempt)
    for call in calls:
        spans.setdefault(call.job, _Span(call.job)).calls.append(call)
    columns: dict[Column, list[_Span]] = {}
    for span in sorted(spans.values(), key=lambda span: span.start):
        columns.setdefault(column_of(span.job), []).append(span)
    events: list[Event] = []
    for process, (column, column_spans) in enumerate(columns.items(), start=1):
        events.append(_named("process_name", process, 0, str(column)))
        events += _lanes(process, column_spans)
        events += _counters(process, [a for span in column_spans for a in span.attempts])
    for event in events:
        if "ts" in event:
            event["ts"] = round(1e6 * (event["ts"] - info.started), 1)
    _nest(events)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"run": info.id, **summarise(records).conditions},
    }


def _nest(events: Sequence[Event]) -> None:
    """Cut what overlaps by the clock's resolution: Perfetto drops slices that end in another."""
    lanes: dict[tuple[int, int], list[Event]] = {}
    for event in events:
        if event["ph"] == "X":
            lanes.setdefault((event["pid"], event["tid"]), []).append(event)
    for lane in lanes.values():
        around: list[Event] = []
        for event in sorted(lane, key=lambda event: (event["ts"], -event["dur"])):
            while around and _end(around[-1]) <= event["ts"] + _RESOLUTION_US:
                before = around.pop()
                before["dur"] = round(min(before["dur"], event["ts"] - before["ts"]), 1)
            if around:
                longest = round(_end(around[-1]) - event["ts"], 1)
                event["dur"] = min(event["dur"], longest)
            around.append(event)


def _end(event: Event) -> float:
    return float(event["ts"] + event["dur"])


def _lanes(process: int, spans: Sequence[_Span]) -> Iterator[Event]:
    """Every job in the first lane that is free when it begins."""
    free_from: list[float] = []
    for span in spans:
        lane = next((i for i, end in enumerate(free_from) if end <= span.start), len(free_from))
        if lane == len(free_from):
            free_from.append(0.0)
            yield _named("thread_name", process, lane + 1, f"jobs {lane + 1}")
        free_from[lane] = span.end
        yield from _job(process, lane + 1, span)


def _job(process: int, lane: int, span: _Span) -> Iterator[Event]:
    yield _complete(span.job.problem, "job", process, lane, span.start, span.end - span.start)
    for attempt in span.attempts:
        yield _complete(
            f"attempt {attempt.number}: {attempt.stage or 'accepted'}",
            "attempt",
            process,
            lane,
            attempt.started,
            attempt.seconds,
            phase=attempt.phase,
            reason=attempt.reason,
            speedup=attempt.speedup,
            input_tokens=attempt.input_tokens,
            output_tokens=attempt.output_tokens,
            cost=attempt.cost,
        )
        if not span.calls and attempt.call_seconds:
            yield _complete("call", "call", process, lane, attempt.started, attempt.call_seconds)
        yield from _steps(process, lane, attempt)
    for call in span.calls:
        yield _complete(
            "call" if call.purpose == "proposal" else f"call: {call.purpose}",
            "call",
            process,
            lane,
            call.started,
            call.seconds or 0.0,
            error=call.error,
            input_tokens=call.input_tokens,
            output_tokens=call.output_tokens,
            cost=call.cost,
        )


def _steps(process: int, lane: int, attempt: AttemptRow) -> Iterator[Event]:
    """What judging did: `details["steps"]`, each [name, detail, when it began, seconds]."""
    for name, detail, started, seconds in attempt.details.get("steps") or ():
        title = f"{name}: {detail}" if detail else str(name)
        yield _complete(title, str(name), process, lane, started, seconds)


def _counters(process: int, attempts: Sequence[AttemptRow]) -> Iterator[Event]:
    cost, tokens = 0.0, 0
    for attempt in sorted(attempts, key=lambda attempt: attempt.started + attempt.seconds):
        cost += attempt.cost or 0.0
        tokens += (attempt.input_tokens or 0) + (attempt.output_tokens or 0)
        moment = attempt.started + attempt.seconds
        for name, value in (("dollars", round(cost, 6)), ("tokens", tokens)):
            yield {"name": name, "ph": "C", "pid": process, "ts": moment, "args": {name: value}}


def _complete(
    name: str,
    category: str,
    process: int,
    lane: int,
    start: float,
    seconds: float,
    **arguments: object,
) -> Event:
    given: Mapping[str, object] = {k: v for k, v in arguments.items() if v is not None}
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "pid": process,
        "tid": lane,
        "ts": start,
        "dur": round(1e6 * max(0.0, seconds), 1),
        "args": given,
    }


def _named(kind: str, process: int, lane: int, name: str) -> Event:
    return {"name": kind, "ph": "M", "pid": process, "tid": lane, "args": {"name": name}}

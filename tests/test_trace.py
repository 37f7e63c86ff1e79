"""Traces of runs: what Chrome and Perfetto need of them holds."""

from __future__ import annotations

import itertools
import json

import pytest
from command_line import metalgen
from kept_rows import STARTED, Rows, attempt, info, problem, stored
from kept_study import study

from metalgen.report.trace import trace_of
from metalgen.runs import CallRow, Job


def spans(trace, category=None):
    return [
        event
        for event in trace["traceEvents"]
        if event["ph"] == "X" and category in (None, event["cat"])
    ]


def test_events_of_a_lane_lie_in_one_another_or_apart():
    trace = trace_of(study(problems=6))
    lanes = {(event["pid"], event["tid"]) for event in spans(trace)}
    assert lanes
    for lane in lanes:
        mine = [event for event in spans(trace) if (event["pid"], event["tid"]) == lane]
        for a, b in itertools.combinations(mine, 2):
            first, second = sorted((a, b), key=lambda event: (event["ts"], -event["dur"]))
            end = first["ts"] + first["dur"]
            is_apart = second["ts"] >= end - 0.1
            is_inside = second["ts"] + second["dur"] <= end + 0.1
            assert is_apart or is_inside, (first, second)


def test_jobs_that_overlap_lie_in_different_lanes_of_their_model():
    rows = Rows(
        info(),
        [problem("p"), problem("q"), problem("r")],
        [
            attempt("p", started=STARTED, seconds=10.0),
            attempt("q", started=STARTED + 5, seconds=10.0),
            attempt("r", started=STARTED + 11, seconds=1.0),
            attempt("p", "other", started=STARTED, seconds=1.0),
        ],
    )
    lanes = {(e["name"], e["pid"]): e["tid"] for e in spans(trace_of(rows), "job")}
    assert lanes == {("p", 1): 1, ("q", 1): 2, ("r", 1): 1, ("p", 2): 1}


def test_calls_compiles_and_launches_lie_in_their_attempt():
    steps = [
        ["compile", "", STARTED + 3, 0.5],
        ["launch", "the inputs as given", STARTED + 4, 0.25],
    ]
    made = attempt("p", started=STARTED, seconds=6.0, speedup=2.0, details={"steps": steps})
    call = CallRow(Job("p", "m"), "proposal", STARTED, "0" * 64, seconds=2.5, reply="text")
    rows = Rows(info(), [problem("p")], [made], [call])
    trace = trace_of(rows)
    found = {event["name"]: (event["ts"], event["dur"]) for event in spans(trace)}
    assert found == {
        "p": (0.0, 6e6),
        "attempt 1: accepted": (0.0, 6e6),
        "call": (0.0, 2.5e6),
        "compile": (3e6, 5e5),
        "launch: the inputs as given": (4e6, 2.5e5),
    }


def test_steps_that_touch_by_a_rounding_error_do_not_overlap():
    steps = [["launch", "a", STARTED + 3, 0.500004], ["compare", "", STARTED + 3.5, 0.1]]
    made = attempt("p", started=STARTED, seconds=3.599999, details={"steps": steps})
    trace = trace_of(Rows(info(), [problem("p")], [made]))
    found = {event["name"]: (event["ts"], event["dur"]) for event in spans(trace)}
    assert found["launch: a"] == (3e6, 5e5)
    assert found["compare"] == (3.5e6, 99999.0)


def test_counters_add_up_what_was_paid():
    rows = Rows(info(), [problem("p")], [attempt("p", number=1), attempt("p", number=2)])
    counters = [e for e in trace_of(rows)["traceEvents"] if e["ph"] == "C"]
    dollars = [e["args"]["dollars"] for e in counters if e["name"] == "dollars"]
    assert dollars == pytest.approx([0.01, 0.02])


def test_the_command_writes_json_that_names_the_models(tmp_path):
    run = stored(Rows(info(), [problem("p")], [attempt("p", "o3", speedup=2.0)]), tmp_path / "run")
    done = metalgen("trace", run, "-o", tmp_path / "trace.json")
    assert done.returncode == 0, done.stderr
    trace = json.loads((tmp_path / "trace.json").read_text())
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert names == ["o3"]
    assert trace["otherData"]["device"] == "software device"

"""From a proposer's reply to a candidate: MSL and a launch plan, read with tolerance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from metalgen.errors import ProposalError
from metalgen.generation.lenient_json import loads_leniently
from metalgen.plan import LaunchPlan, parse_plan

_FENCE = re.compile(
    r"^(?:[ \t]|[-*>]|\d+\.)*(?P<mark>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n"
    r"(?P<body>.*?)(?:^[ \t]*(?P=mark)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_MSL_LANGUAGES = {"metal", "msl", "cpp", "c++", "c", "cxx", "objc", "objective-c", "hlsl", "glsl"}
_KERNEL = re.compile(r"\bkernel\s+(?:void|\w+)\b|\[\[\s*kernel\s*\]\]")
_MSL_START = re.compile(r"^[ \t]*(?:#include\s*<metal|using namespace metal|kernel\s+void)", re.M)
_OBJECT_START = re.compile(r'\{(?=\s*(?:"|//|/\*|#|\}))')
_MAX_STARTS = 500  # a reply that repeats itself without end must not take minutes to read
_SOURCE_KEYS = ("source", "metal", "msl", "code", "kernels", "shader")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Kernels and how to launch them; data alone, nothing in it runs on the host."""

    source: str
    plan: LaunchPlan


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    text: str
    is_closed: bool


def parse_reply(text: str) -> Candidate:
    """Read a candidate out of a reply; where several blocks would do, the last ones count.

    Raises ProposalError that says what is missing, PlanError where the plan itself is malformed.
    """
    if not text.strip():
        raise ProposalError("the reply is empty; expected a metal block and a json block")
    text = text.replace("\r\n", "\n")
    blocks = list(_blocks(text))
    combined = _combined(blocks, text)
    if combined is not None:
        return combined
    source = _last(_sources(blocks, text))
    plan = _last(_plans(blocks, text))
    if source is None or plan is None:
        raise ProposalError(_missing(source, plan, blocks))
    return Candidate(source, parse_plan(plan))


def _blocks(text: str) -> Iterator[_Block]:
    for match in _FENCE.finditer(text):
        is_closed = match.end() > match.end("body")
        yield _Block(match["language"].lower(), match["body"], is_closed)


def _sources(blocks: list[_Block], text: str) -> Iterator[str]:
    """Texts that look like Metal; blocks first, then the bare reply for want of any."""
    found = [block for block in blocks if _KERNEL.search(block.text) and not _is_json(block.text)]
    complete = [block for block in found if _is_complete(block)]
    yield from (block.text for block in complete)
    if not found and not blocks and (start := _MSL_START.search(text)):
        yield _until_json(text[start.start() :])


def _is_complete(block: _Block) -> bool:
    """A block whose closing fence is missing counts if its braces balance."""
    return block.is_closed or block.text.count("{") == block.text.count("}")


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _until_json(text: str) -> str:
    """Bare Metal up to the plan that follows it: an object that stands at a line's start."""
    plan = re.search(r'^\{\s*(?:"|//|\}|$)', text, re.MULTILINE)
    end = text.rfind("}", 0, plan.start() if plan else None)
    return text[: end + 1] + "\n"


def _plans(blocks: list[_Block], text: str) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if block.language not in _MSL_LANGUAGES and (found := _plan_in(block.text)) is not None:
            yield found
    if not blocks and (found := _plan_in(text)) is not None:
        yield found
    # A plan may stand outside the fence that holds the kernels.
    if blocks and (found := _plan_in(_FENCE.sub("\n", text))) is not None:
        yield found


def _plan_in(text: str) -> dict[str, Any] | None:
    """The last object in `text` that has a plan's keys."""
    found = None
    for value in _objects(text):
        if isinstance(value.get("plan"), dict):
            value = value["plan"]
        if isinstance(value.get("launch_plan"), dict):
            value = value["launch_plan"]
        if "steps" in value or "outputs" in value:
            found = value
    return found


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Top-level JSON objects in `text`, found by their balanced braces."""
    end = 0
    for match in islice(_OBJECT_START.finditer(text), _MAX_STARTS):
        if match.start() < end:
            continue
        value, stop = loads_leniently(text, match.start())
        if isinstance(value, dict):
            yield value
            end = stop


def _combined(blocks: list[_Block], text: str) -> Candidate | None:
    """A candidate given as one JSON object: the plan with the kernels as a string beside it."""
    for body in [block.text for block in blocks] or [text]:
        for value in _objects(body):
            source = next((value[k] for k in _SOURCE_KEYS if isinstance(value.get(k), str)), None)
            if source is None or not _KERNEL.search(source):
                continue
            plan = next(
                (value[k] for k in ("plan", "launch_plan") if isinstance(value.get(k), dict)),
                {key: item for key, item in value.items() if key not in _SOURCE_KEYS},
            )
            return Candidate(source, parse_plan(plan))
    return None


def _last(found: Iterator[Any]) -> Any:
    return next(iter(list(found)[-1:]), None)


def _missing(source: str | None, plan: object, blocks: list[_Block]) -> str:
    parts = []
    if source is None:
        parts.append("no ```metal block with a kernel")
    if plan is None:
        parts.append("no ```json block with the launch plan (an object with outputs and steps)")
    cut = blocks and not blocks[-1].is_closed
    hint = "; it ends inside a block, so it was probably cut off: answer shorter" if cut else ""
    if plan is None and not cut and (reason := _broken_json(blocks)):
        hint = f"; {reason}"
    return f"the reply has {' and '.join(parts)}{hint}"


def _broken_json(blocks: list[_Block]) -> str | None:
    """Why the last block that should be a plan could not be read."""
    for block in reversed(blocks):
        if block.language == "json" or (_is_json(block.text) and '"steps"' in block.text):
            try:
                json.loads(block.text)
            except ValueError as error:
                return f"the json block is not valid: {error}"
            return "the json block has neither outputs nor steps"
    return None

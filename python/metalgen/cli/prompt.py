"""`metalgen prompt`: what a model would be sent for a problem, at any stage of a run."""

from __future__ import annotations

import enum
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metalgen.cli.study_options import BaseUrl

if TYPE_CHECKING:
    from metalgen.problem import Problem
    from metalgen.proposers import Attempt
    from metalgen.proposers.prompts import Message, Prompts


class Stage(str, enum.Enum):
    """What has happened before the question: nothing, a failure, a success."""

    first = "first"
    reply = "reply"
    plan = "plan"
    compile = "compile"
    launch = "launch"
    timeout = "timeout"
    verify = "verify"
    accepted = "accepted"
    hints = "hints"
    shared = "shared"
    profile = "profile"


Earlier = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="A run's attempts.jsonl: what is sent after these attempts.",
    ),
]
StageOption = Annotated[
    Stage,
    typer.Option(
        help="What is sent after a made-up attempt that ended so; `hints` and `shared` are"
        " rounds that have them, `profile` is what the sub-agent is asked."
    ),
]
ChipToWriteFor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help='The chip to write for, as in "M3 Max"; see chips.'),
]
CudaSource = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        help="A CUDA implementation of the problem, or a folder that holds one under its name.",
    ),
]
WhoseRequest = Annotated[
    str | None,
    typer.Option(help="Whose request, and whose attempts of several models' in --after."),
]
Templates = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        help="Templates that replace metalgen's of the same names; docs/prompts.md lists them.",
    ),
]


def prompt(
    problem: Annotated[Path, typer.Argument(help="A problem file in KernelBench's format.")],
    after: Earlier = None,
    stage: StageOption = Stage.first,
    chip: ChipToWriteFor = None,
    cuda: CudaSource = None,
    model: WhoseRequest = None,
    prompts: Templates = None,
    base_url: BaseUrl = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the request's body as it is sent.")
    ] = False,
) -> None:
    """Print what a model would be sent for PROBLEM; nothing is sent."""
    from metalgen.chips import find_chip
    from metalgen.generation.attempts import read_attempts
    from metalgen.generation.evaluator import Evaluator
    from metalgen.generation.sandbox import Limits
    from metalgen.proposers.dialect import Dialect
    from metalgen.proposers.prompts import Prompts
    from metalgen.proposers.registry import DEFAULT_OPENAI_MODEL
    from metalgen.proposers.service import find_service, request_body

    words = Prompts(prompts, None if chip is None else find_chip(chip))
    history = [] if after is None else read_attempts(after, model)
    # The problem file may print; what is printed here is only what would be sent.
    with redirect_stdout(sys.stderr), Evaluator(Limits()) as evaluator:
        described = evaluator.open(problem)
    messages = _conversation(words, described, history, stage, _cuda(problem, cuda))
    service = find_service(model or DEFAULT_OPENAI_MODEL, base_url)
    body = request_body(service, Dialect(), messages)
    if as_json:
        print(json.dumps(body, indent=2, ensure_ascii=False))
        return
    for message in messages:
        print(f"---------- {message.role} ----------\n{message.content.rstrip()}\n")


def _conversation(
    words: Prompts,
    problem: Problem,
    history: list[Attempt],
    stage: Stage,
    cuda: str | None,
) -> list[Message]:
    from metalgen.cli.prompt_stages import sample_attempt, sample_profile

    if stage is Stage.profile:
        profile = sample_profile()
        return words.hint_request(problem, "(the kernels)", "{}", profile, with_pictures=False)
    if stage is not Stage.first:
        history = [*history, sample_attempt(stage.value)]
    return words.conversation(problem, history, cuda=cuda)


def _cuda(problem: Path, where: Path | None) -> str | None:
    """The implementation in a file, or in a folder under the problem's name."""
    from metalgen.errors import ProblemError
    from metalgen.generation.cuda import cuda_reference

    if where is None:
        return None
    if where.is_file():
        return where.read_text(encoding="utf-8")
    found = cuda_reference(problem, problem.stem, where)
    if found is None:
        raise ProblemError(
            f"no CUDA implementation of '{problem.stem}' in '{where}'; expected {problem.stem}.cu"
        )
    return found

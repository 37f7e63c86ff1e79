"""`metalgen prompt`: what a model would be sent for a problem."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer


def prompt(
    problem: Annotated[Path, typer.Argument(help="A problem file in KernelBench's format.")],
    after: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A run's attempts.jsonl: what is sent after these attempts.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Whose request, and whose attempts of several models' in --after."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Templates that replace metalgen's of the same names (system.md.j2, problem.md.j2,"
            " rejected.md.j2, accepted.md.j2).",
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The service's address, in place of OPENAI_BASE_URL.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the request's body as it is sent.")
    ] = False,
) -> None:
    """Print what a model would be sent for PROBLEM; nothing is sent."""
    from metalgen.generation.attempts import read_attempts
    from metalgen.generation.evaluator import Evaluator
    from metalgen.generation.sandbox import Limits
    from metalgen.proposers.dialect import Dialect
    from metalgen.proposers.prompts import Prompts
    from metalgen.proposers.registry import DEFAULT_OPENAI_MODEL
    from metalgen.proposers.service import find_service, request_body

    words = Prompts(prompts)
    history = [] if after is None else read_attempts(after, model)
    # The problem file may print; what is printed here is only what would be sent.
    with redirect_stdout(sys.stderr), Evaluator(Limits()) as evaluator:
        described = evaluator.open(problem)
    service = find_service(model or DEFAULT_OPENAI_MODEL, base_url)
    body = request_body(service, Dialect(), words.conversation(described, history))
    if as_json:
        print(json.dumps(body, indent=2, ensure_ascii=False))
        return
    for message in body["messages"]:
        print(f"---------- {message['role']} ----------\n{message['content'].rstrip()}\n")

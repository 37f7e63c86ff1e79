"""`metalgen packs`: the kernel packs that are installed, or some folders, listed or judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metalgen.cli.failure import Status

if TYPE_CHECKING:
    from metalgen.packs import Pack, PackedKernel


def packs(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Packs. Default: those that are installed.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compile and judge every kernel again, in the sandbox."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """List kernel packs: what each kernel computes, who wrote it, how fast it was where.

    Kernels of packs run in the process that uses them, without a sandbox: install those that you
    trust. Exit status 1 where --verify refuses a kernel.
    """
    from metalgen.packs import installed_packs, open_pack

    found = [open_pack(folder) for folder in folders] if folders else installed_packs()
    verdicts = dict(_verdicts(found)) if verify else {}
    if as_json:
        print(json.dumps([_plain(pack, verdicts) for pack in found], indent=2))
    elif not found:
        typer.echo("no pack is installed; `metalgen pack RUN -o DIR --wheel .` builds one")
    else:
        for pack in found:
            for line in _lines(pack, verdicts):
                typer.echo(line)
    if not all(text.startswith("accepted") for text in verdicts.values()):
        raise typer.Exit(Status.REFUSED)


def _verdicts(found: list[Pack] | tuple[Pack, ...]) -> Iterator[tuple[str, str]]:
    from metalgen.generation import Limits
    from metalgen.generation.candidate import Candidate
    from metalgen.generation.evaluator import Evaluator
    from metalgen.generation.loop import default_device
    from metalgen.packs.manifest import FILES, PROBLEM, SOURCE

    with Evaluator(Limits(), device=default_device()) as evaluator:
        for kernel in (kernel for pack in found for kernel in pack.kernels):
            files = {name: kernel.file(name) for name in FILES}
            problem = evaluator.open(kernel.pack.path / kernel.entry.name / PROBLEM)
            candidate = Candidate(files[SOURCE].decode(), kernel.plan)
            yield kernel.title, _verdict(evaluator.evaluate(problem, candidate).verdict)


def _verdict(verdict: Any) -> str:
    from metalgen.cli.progress import verdict_text

    return verdict_text(verdict).splitlines()[0]


def _plain(pack: Pack, verdicts: dict[str, str]) -> dict[str, Any]:
    manifest = pack.manifest
    kernels = [
        {
            **kernel.entry.model_dump(mode="json", exclude={"pattern", "sha256"}),
            "operators": _operators(kernel),
            "fingerprint": kernel.entry.pattern.fingerprint,
            "verdict": verdicts.get(kernel.title),
        }
        for kernel in pack.kernels
    ]
    head = {"name": manifest.name, "version": manifest.version, "path": str(pack.path)}
    return {**head, "metalgen": manifest.metalgen, "torch": manifest.torch, "kernels": kernels}


def _lines(pack: Pack, verdicts: dict[str, str]) -> Iterator[str]:
    manifest = pack.manifest
    yield f"{manifest.name} {manifest.version} at {pack.path}, torch {manifest.torch}"
    for kernel in pack.kernels:
        entry = kernel.entry
        speed = entry.measured.eager_us / entry.measured.kernel_us
        where = entry.measured.device.get("name", "an unnamed device")
        yield f"  {entry.name}: {', '.join(_operators(kernel))}"
        yield f"    by {entry.model}; {speed:.2f}x of eager for {entry.shape_class} on {where}"
        if kernel.title in verdicts:
            yield f"    {verdicts[kernel.title]}"


def _operators(kernel: PackedKernel) -> list[str]:
    return [call.operator.removeprefix("aten.") for call in kernel.entry.pattern.calls]

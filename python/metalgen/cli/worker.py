"""`metalgen worker`: judge candidates for studies that run elsewhere, through a Dask scheduler."""

from __future__ import annotations

from typing import Annotated

import typer


def worker(
    scheduler: Annotated[str, typer.Argument(help="The scheduler's address: tcp://host:8786.")],
    metal: Annotated[
        bool | None,
        typer.Option(
            "--metal/--no-metal",
            help="Whether to announce METAL=1, which has candidates timed here. Default: where"
            " there is an Apple GPU.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the scheduler calls it.")] = None,
) -> None:
    """Judge what studies with --scheduler send, one candidate at a time, until interrupted."""
    import asyncio

    from metalgen.errors import ToolchainError
    from metalgen.generation.loop import default_device

    try:
        from distributed import Worker
    except ImportError as error:
        raise ToolchainError(
            "metalgen worker needs Dask's distributed: pip install 'metalgen[dask]'"
        ) from error
    is_metal = default_device() == "mps" if metal is None else metal
    resources: dict[str, float] = {"METAL": 1} if is_metal else {}

    async def serve() -> None:
        # One thread: a machine that times one candidate must not judge another beside it.
        async with Worker(
            scheduler, nthreads=1, resources=resources, name=name, dashboard=False
        ) as served:
            announced = " and announces METAL=1" if is_metal else ""
            typer.echo(f"{served.address} works for {scheduler}{announced}")
            await served.finished()

    try:
        asyncio.run(serve())
    except OSError as error:
        raise ToolchainError(
            f"no Dask scheduler answers at '{scheduler}'; start one with: dask scheduler"
        ) from error

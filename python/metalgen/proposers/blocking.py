"""Coroutines for callers that are not asynchronous, also where an event loop runs already."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, computed on a loop of its own (notebooks run one in this thread).

    An interruption cancels the coroutine, lets it clean up and is then raised here.
    """
    ended: Future[T] = Future()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await coroutine

    def run() -> None:
        try:
            ended.set_result(asyncio.run(main()))
        except BaseException as error:
            ended.set_exception(error)

    thread = threading.Thread(target=run, name="metalgen-study", daemon=True)
    thread.start()
    try:
        return ended.result()
    except (KeyboardInterrupt, SystemExit):
        loop, task = started.result()
        if not ended.done():
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()

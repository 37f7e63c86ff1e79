"""How often and when a service is asked again: after failures that pass, as it asks for."""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

RETRIES = 4
LONGEST_WAIT = 300.0  # seconds; a service that wants more is not waited for
_FIRST_WAIT, _LAST_WAIT = 0.5, 30.0  # seconds, doubling, where the service names none


class Gate:
    """How many questions a service is asked at once, and from when on; jobs share it."""

    def __init__(self, at_once: int = 8) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._opens = 0.0  # on the monotonic clock

    def close_for(self, seconds: float) -> None:
        """Let nobody through for so long: the service has had enough of all of them."""
        self._opens = max(self._opens, time.monotonic() + seconds)

    async def __aenter__(self) -> None:
        await self._places.acquire()
        try:
            while (wait := self._opens - time.monotonic()) > 0:
                await asyncio.sleep(wait)
        except BaseException:
            self._places.release()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._places.release()


class Turn:
    """One question at a gate: `on_turn` is called whenever it is let through, before it is sent."""

    def __init__(self, gate: Gate | None = None, on_turn: Callable[[], None] | None = None) -> None:
        self.gate = gate or Gate()
        self._on_turn = on_turn or _nothing

    async def send(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives; what `on_turn` raises where the question is not to be sent any more."""
        async with self.gate:
            self._on_turn()
            return await ask()


def _nothing() -> None:
    """There is nothing to do."""


async def patiently(send: Callable[[], Awaitable[T]], turn: Turn, retries: int = RETRIES) -> T:
    """What `send` gives, asked again where its failure may pass; openai's errors otherwise."""
    import openai

    for tries in range(retries + 1):
        try:
            return await turn.send(send)
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            wait = _wait_after(error, tries)
            if wait is None or tries == retries:
                raise
            if isinstance(error, openai.RateLimitError):
                turn.gate.close_for(wait)
        await asyncio.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _wait_after(error: Exception, tries: int) -> float | None:
    """Seconds until it is worth asking again; None where it is not."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return _backoff(tries)  # a lost connection, or no answer in time
    if not _may_pass(error):
        return None
    named = _named_wait(error.response.headers)
    if named is None:
        return _backoff(tries)
    return named if named <= LONGEST_WAIT else None


def _may_pass(error: openai.APIStatusError) -> bool:
    # Services may say so themselves; a used-up quota comes as a rate limit but stays.
    said = error.response.headers.get("x-should-retry")
    if said in ("true", "false"):
        return said == "true"
    if error.code == "insufficient_quota":
        return False
    return error.status_code in (408, 409, 429) or error.status_code >= 500


def _named_wait(headers: Mapping[str, str]) -> float | None:
    """What Retry-After (or retry-after-ms) asks for, in seconds: a number or a date."""
    try:
        return float(headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        pass
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    moment = email.utils.parsedate_tz(text)
    return None if moment is None else max(0.0, email.utils.mktime_tz(moment) - time.time())


def _backoff(tries: int) -> float:
    # Spread, so that those who failed together do not come back together.
    return min(_LAST_WAIT, _FIRST_WAIT * 2.0**tries) * random.uniform(0.75, 1.0)

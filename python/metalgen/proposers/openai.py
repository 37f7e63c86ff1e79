"""Candidates from any service that speaks OpenAI's chat completions API."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from metalgen.errors import ProviderError
from metalgen.problem import Problem
from metalgen.proposers.blocking import run_blocking
from metalgen.proposers.dialect import Dialect
from metalgen.proposers.models import Price
from metalgen.proposers.patience import RETRIES, Turn, patiently
from metalgen.proposers.prompts import Message, Prompts
from metalgen.proposers.protocol import Attempt, Reply
from metalgen.proposers.service import Service, find_service, request_body

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion

_TIMEOUT = 600.0  # seconds; reasoning models may think for minutes


class OpenAIChat:
    """A model behind the chat completions API, asked with whole conversations.

    Used within `async with`, which opens and closes its connections. Neither temperature nor,
    unless the registry says so, a token limit is sent: reasoning models refuse the one and stop
    short by the other. What a service refuses to understand is asked again in other words; passing
    failures are waited out as `patience` has it.
    """

    def __init__(self, service: Service, key: str, *, retries: int = RETRIES) -> None:
        self._service = service
        self._key = key
        self._retries = retries
        self._dialect = Dialect()
        self._client: AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self._service.model

    @property
    def price(self) -> Price | None:
        """What tokens cost; None where that is not known."""
        return self._service.price

    @property
    def service(self) -> str:
        """Who answers: those with the same share its limits."""
        return self._service.base_url or "openai"

    @property
    def has_vision(self) -> bool:
        """Whether the registry says that it reads pictures."""
        known = self._service.known
        return known is not None and known.vision is True

    def request(self, messages: Sequence[Message]) -> str:
        """What is asked, less the wording for its service: what replies are kept by."""
        plain = [message.to_json() for message in messages]
        return json.dumps({"model": self.name, "messages": plain}, ensure_ascii=False)

    async def __aenter__(self) -> OpenAIChat:
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(
            api_key=self._key, base_url=self._service.base_url, max_retries=0, timeout=_TIMEOUT
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def ask(self, messages: Sequence[Message], turn: Turn | None = None) -> Reply:
        """The model's answer; ProviderError where the service refuses or keeps failing."""
        with _service_errors(self._service):
            answer = await self._answer(messages, turn or Turn())
        text = _text(answer, self.name)
        read, written = _tokens(answer.usage)
        return Reply(
            text=text,
            prompt=json.dumps(self._dialect.messages(messages), ensure_ascii=False),
            input_tokens=read,
            output_tokens=written,
            cost=_cost(self.price, read, written),
            response=answer.model_dump_json(exclude_unset=True),
        )

    async def _answer(self, messages: Sequence[Message], turn: Turn) -> ChatCompletion:
        import openai

        while True:
            dialect = self._dialect
            body = request_body(self._service, dialect, messages)
            named = {name: body.pop(name) for name in ("model", "messages")}
            send = functools.partial(self._send, named, body)
            try:
                return await patiently(send, turn, self._retries)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if self._dialect is not dialect:
                    continue  # another question, asked meanwhile, has learnt better
                other = dialect.after(_refusal(error), body)
                if other is None:
                    raise
                self._dialect = other  # for the requests to come too

    async def _send(self, named: Mapping[str, Any], rest: Mapping[str, Any]) -> ChatCompletion:
        assert self._client is not None, "used outside of `async with`"
        answer: ChatCompletion = await self._client.chat.completions.create(
            **named, extra_body=rest
        )
        return answer


class OpenAIProposer:
    """Asks `model` where the registry has it, or at `base_url`; see `service.find_service`.

    The key comes from the environment; a service of one's own may need none. Raises ProviderError
    where there is no key.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        prompts: Prompts | None = None,
        retries: int = RETRIES,
        needs_key: bool = True,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        service = find_service(model, base_url, environment)
        key = service.key(environment) if needs_key else "none"
        self.prompts = prompts or Prompts()
        self.chat = OpenAIChat(service, key, retries=retries)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.chat.name

    @property
    def price(self) -> Price | None:
        """What tokens cost; None where that is not known."""
        return self.chat.price

    def propose(self, problem: Problem, history: Sequence[Attempt]) -> Reply:
        """The model's next reply; ProviderError where the service refuses or keeps failing."""
        return run_blocking(self._propose(self.prompts.conversation(problem, history)))

    async def _propose(self, messages: Sequence[Message]) -> Reply:
        async with self.chat:
            return await self.chat.ask(messages)


def _tokens(usage: CompletionUsage | None) -> tuple[int | None, int | None]:
    """Tokens read and written; None where the service does not say."""
    return getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)


def _cost(price: Price | None, read: int | None, written: int | None) -> float | None:
    if price is None or read is None or written is None:
        return None
    return price.of(read, written)


def _text(answer: ChatCompletion, model: str) -> str:
    """The reply's text; empty when the model gave none, which its reader reports back to it."""
    # Proxies and wrong addresses answer 200 with pages, which the client hands on as they are.
    if not getattr(answer, "choices", None):
        raise ProviderError(
            f"model '{model}': the service's answer holds no choices; check --base-url"
        )
    message = answer.choices[0].message
    return message.content or message.refusal or ""


@contextmanager
def _service_errors(service: Service) -> Iterator[None]:
    import openai

    model = service.model
    try:
        yield
    except openai.AuthenticationError as error:
        raise ProviderError(
            f"model '{model}': the service refused the API key (401); check {service.key_variable}"
        ) from error
    except openai.NotFoundError as error:
        raise ProviderError(
            f"model '{model}': unknown to the service (404): {_cause(error)}; {_remedy(service)}"
        ) from error
    except openai.RateLimitError as error:
        raise ProviderError(
            f"model '{model}': rate limit or quota (429) after {RETRIES} retries: {_cause(error)}"
        ) from error
    except openai.APIStatusError as error:
        raise ProviderError(
            f"model '{model}': the service answered {error.status_code}: {_cause(error)}"
        ) from error
    except openai.APIConnectionError as error:
        raise ProviderError(
            f"model '{model}': cannot reach the service: {error.__cause__ or error}"
        ) from error
    except (openai.OpenAIError, ValueError) as error:
        raise ProviderError(
            f"model '{model}': not a chat completion: {_one_line(error)}"
        ) from error


def _remedy(service: Service) -> str:
    if service.known is not None and service.known.is_retired:
        return (
            f"its provider retired it on {service.known.retires}; give the --base-url of a service "
            f"that still has it"
        )
    return "check --model and --base-url"


def _refusal(error: Any) -> str:
    """All that the service said, whatever its form: message, parameter, code."""
    return f"{error.body} {error.message}"


def _cause(error: Any) -> str:
    """What the service itself said, in one line."""
    body = error.body if isinstance(error.body, dict) else {}
    return _one_line(body.get("message") or error.message)


def _one_line(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= 300 else f"{line[:297]}..."

"""Candidates from any service that speaks OpenAI's chat completions API."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from metalgen.errors import ProviderError
from metalgen.problem import Problem
from metalgen.proposers.prompts import Message, Prompts
from metalgen.proposers.protocol import Attempt, Reply

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

_RETRIES = 4  # after 408, 409, 429, 5xx and lost connections, with exponential backoff
_TIMEOUT = 600.0  # seconds; reasoning models may think for minutes


class OpenAIProposer:
    """Asks `model` at `base_url`, else OPENAI_BASE_URL, else OpenAI's own service.

    The key comes from OPENAI_API_KEY; a service of one's own may need none. Neither temperature nor
    a token limit is sent: reasoning models refuse the one and stop short by the other. Raises
    ProviderError where there is no key for OpenAI's own service.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        prompts: Prompts | None = None,
        retries: int = _RETRIES,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        from openai import OpenAI

        self._model = model
        self._prompts = prompts or Prompts()
        base_url = base_url or environment.get("OPENAI_BASE_URL") or None
        key = environment.get("OPENAI_API_KEY")
        if not key and base_url is None:
            raise ProviderError(
                f"no API key for model '{model}': set OPENAI_API_KEY, give the --base-url of a "
                f"service of your own, or use --model builtin"
            )
        self._client = OpenAI(
            api_key=key or "none", base_url=base_url, max_retries=retries, timeout=_TIMEOUT
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model

    def propose(self, problem: Problem, history: Sequence[Attempt]) -> Reply:
        """The model's next reply; ProviderError where the service refuses or keeps failing."""
        messages = self._prompts.conversation(problem, history)
        with _service_errors(self._model):
            answer = self._client.chat.completions.create(
                model=self._model, messages=[_plain(message) for message in messages]
            )
        text = _text(answer, self._model)
        usage = answer.usage
        return Reply(
            text=text,
            prompt=json.dumps([asdict(message) for message in messages], ensure_ascii=False),
            input_tokens=usage.prompt_tokens if usage else 0,
            output_tokens=usage.completion_tokens if usage else 0,
        )


def _plain(message: Message) -> Any:
    return {"role": message.role, "content": message.content}


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
def _service_errors(model: str) -> Iterator[None]:
    import openai

    try:
        yield
    except openai.AuthenticationError as error:
        raise ProviderError(
            f"model '{model}': the service refused the API key (401); check OPENAI_API_KEY"
        ) from error
    except openai.NotFoundError as error:
        raise ProviderError(
            f"model '{model}': unknown to the service (404): {_cause(error)}; check --model and "
            f"--base-url"
        ) from error
    except openai.RateLimitError as error:
        raise ProviderError(
            f"model '{model}': rate limit or quota (429) after {_RETRIES} retries: {_cause(error)}"
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


def _cause(error: Any) -> str:
    """What the service itself said, in one line."""
    body = error.body if isinstance(error.body, dict) else {}
    return _one_line(body.get("message") or error.message)


def _one_line(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= 300 else f"{line[:297]}..."

"""Services that refuse for a while: what is asked again, when, and by whom."""

from __future__ import annotations

import asyncio
import email.utils
import time

import pytest
from chat_server import Answer, chat_server, completion

from metalgen.errors import ProviderError
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.patience import Gate, Turn
from metalgen.proposers.prompts import Message

QUESTION = [Message("user", "?")]


def refusal(status, message="busy", code=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"error": {"message": message, "code": code}}, named)


def ask(server, times=1, gate=None, retries=4):
    """Replies to questions asked side by side."""

    async def together():
        proposer = OpenAIProposer("m", server.url, environment={}, retries=retries)
        async with proposer.chat as chat:
            turn = Turn(gate)
            return await asyncio.gather(*(chat.ask(QUESTION, turn) for _ in range(times)))

    return asyncio.run(together())


class Refusing:
    """Refuses the first question and notes by `clock` when each came."""

    def __init__(self, refuse, clock):
        self.refuse, self.clock = refuse, clock
        self.came = []

    def __call__(self, request):
        self.came.append(self.clock())
        return self.refuse() if len(self.came) == 1 else completion("hello")


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_is_asked_again_when_it_said(status):
    rule = Refusing(lambda: refusal(status, retry_after="1"), time.monotonic)
    with chat_server(rule) as server:
        assert ask(server)[0].text == "hello"
    first, second = rule.came
    assert second - first >= 1.0


def test_a_date_is_understood_too():
    named = []

    def refuse():
        named.append(int(time.time()) + 2)
        return refusal(429, retry_after=email.utils.formatdate(named[0], usegmt=True))

    rule = Refusing(refuse, time.time)
    with chat_server(rule) as server:
        assert ask(server)[0].text == "hello"
    assert len(rule.came) == 2
    assert rule.came[1] >= named[0] - 0.01


def test_a_rate_limit_holds_everybodys_questions_back():
    """One question is refused; those that wait their turn are not sent into the same wall."""
    rule = Refusing(lambda: refusal(429, retry_after="1"), time.monotonic)
    with chat_server(rule) as server:
        replies = ask(server, times=3, gate=Gate(1))
    assert [reply.text for reply in replies] == ["hello"] * 3
    assert rule.came[1] - rule.came[0] >= 1.0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refusal(429, "You exceeded your quota", "insufficient_quota"), "exceeded your quota"),
        (refusal(429, "come back tomorrow", retry_after="86400"), "come back tomorrow"),
        (refusal(500, "broken for good", x_should_retry="false"), "broken for good"),
        (refusal(403, "not for you"), "not for you"),
    ],
)
def test_what_will_not_pass_is_not_waited_for(answer, message):
    with chat_server(answer) as server, pytest.raises(ProviderError, match=message):
        ask(server)
    assert len(server.requests) == 1


def test_a_service_that_goes_on_failing_is_given_up():
    answer = refusal(500, "oh no", retry_after_ms="1")
    with chat_server(answer) as server, pytest.raises(ProviderError, match="answered 500: oh no"):
        ask(server, retries=2)
    assert len(server.requests) == 3


def test_no_more_questions_than_allowed_are_under_way():
    under_way, most = [0], [0]

    def answer(request):
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        under_way[0] -= 1
        return completion("hello")

    with chat_server(answer) as server:
        ask(server, times=9, gate=Gate(3))
    assert most[0] <= 3
    assert len(server.requests) == 9

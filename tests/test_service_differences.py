"""Servers differ in what they take: each difference against a server that insists on it."""

import json

import pytest
from chat_server import Answer, chat_server, completion, failure, refusal
from problem_files import ADD, write_problem

from metalgen.errors import ProviderError
from metalgen.problem import open_problem
from metalgen.proposers.blocking import run_blocking
from metalgen.proposers.openai import OpenAIProposer
from metalgen.proposers.prompts import Message, Picture


@pytest.fixture
def problem(tmp_path):
    return open_problem(write_problem(tmp_path, ADD))


@pytest.fixture
def proposer(tmp_path):
    """Makes proposers for a server; `request` is what the registry sends to it besides."""

    def make(server, **request):
        path = tmp_path / "models.json"
        model = {"name": "m", "provider": "p", "provider_name": "m-1", "request": request}
        provider = {"endpoint": server.url, "key_variable": "P_KEY"}
        path.write_text(json.dumps({"providers": {"p": provider}, "models": [model]}))
        environment = {"METALGEN_MODELS": str(path), "P_KEY": "k"}
        return OpenAIProposer("m", environment=environment, retries=0)

    return make


def roles(request):
    return [message["role"] for message in request["messages"]]


def without_roles(*refused, message="Unsupported value: 'messages[0].role' does not support '{}'."):
    def answer(request):
        for role in refused:
            if role in roles(request):
                return refusal(message.format(role), "messages[0].role")
        return completion("hello")

    return answer


def without_parameter(name, message):
    return lambda request: refusal(message) if name in request else completion("hello")


def test_a_model_that_wants_a_developer_gets_one_from_then_on(problem, proposer):
    with chat_server(without_roles("system")) as server:
        asked = proposer(server)
        assert asked.propose(problem, []).text == "hello"
        asked.propose(problem, [])
    assert [roles(request)[0] for request in server.requests] == [
        "system",
        "developer",
        "developer",
    ]


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported value: 'messages[0].role' does not support '{}' with this model.",
        "System role not supported",
        "Only user and assistant roles are supported!",
        "Developer instruction is not enabled for models/small",
    ],
)
def test_a_model_without_instructions_gets_them_in_the_first_question(problem, proposer, message):
    with chat_server(without_roles("system", "developer", message=message)) as server:
        reply = proposer(server).propose(problem, [])
    system, question = (m["content"] for m in server.requests[0]["messages"])
    assert json.loads(reply.prompt) == server.requests[-1]["messages"]
    assert server.requests[-1]["messages"] == [{"role": "user", "content": f"{system}\n{question}"}]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("sent", "taken", "message"),
    [
        (
            "max_tokens",
            "max_completion_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead.",
        ),
        (
            "max_completion_tokens",
            "max_tokens",
            "Unrecognized request argument supplied: max_completion_tokens",
        ),
    ],
)
def test_the_limit_of_tokens_goes_by_the_name_that_is_taken(
    problem, proposer, sent, taken, message
):
    with chat_server(without_parameter(sent, message)) as server:
        assert proposer(server, **{sent: 77}).propose(problem, []).text == "hello"
    assert [{k: r[k] for k in r if k.startswith("max")} for r in server.requests] == [
        {sent: 77},
        {taken: 77},
    ]


@pytest.mark.parametrize("name", ["temperature", "response_format"])
def test_a_parameter_that_is_refused_is_left_out(problem, proposer, name):
    rule = without_parameter(name, f"Unsupported value: '{name}' does not support this.")
    with chat_server(rule) as server:
        reply = proposer(server, **{name: 0.2, "seed": 1}).propose(problem, [])
    assert reply.text == "hello"
    assert [set(request) - {"model", "messages"} for request in server.requests] == [
        {name, "seed"},
        {"seed"},
    ]


def test_refusals_in_the_form_of_a_validator_are_understood(problem, proposer):
    def rule(request):
        if "top_k" not in request:
            return completion("hello")
        detail = {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs ..."}
        return Answer(422, {"detail": [detail]})

    with chat_server(rule) as server:
        assert proposer(server, top_k=3).propose(problem, []).text == "hello"
    assert len(server.requests) == 2


def test_two_differences_at_once_are_both_met(problem, proposer):
    def rule(request):
        if "max_tokens" in request:
            return refusal("Use 'max_completion_tokens': 'max_tokens' is not supported.")
        return without_roles("system")(request)

    with chat_server(rule) as server:
        assert proposer(server, max_tokens=9).propose(problem, []).text == "hello"
    assert len(server.requests) == 3
    assert server.requests[-1]["max_completion_tokens"] == 9


def test_a_service_that_refuses_everything_is_asked_a_few_times_only(problem, proposer):
    message = "'max_tokens', 'max_completion_tokens' and the system role are not supported"
    with chat_server(refusal(message)) as server, pytest.raises(ProviderError, match="400"):
        proposer(server, max_tokens=9).propose(problem, [])
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    "answer",
    [
        failure(400, "maximum context length is 8192 tokens"),
        refusal("the system prompt is too long", "messages", "context_length_exceeded"),
        failure(400, "your organization was disabled"),
        failure(401, "role not supported"),
    ],
)
def test_other_refusals_are_not_asked_again(problem, proposer, answer):
    with chat_server(answer) as server, pytest.raises(ProviderError):
        proposer(server, max_tokens=9).propose(problem, [])
    assert len(server.requests) == 1


PICTURE = Picture("roofline", b"\x89PNG")


def asked_with_a_picture(proposer, times=1):
    async def ask():
        async with proposer.chat:
            for _ in range(times):
                reply = await proposer.chat.ask([Message("user", "read this", (PICTURE,))])
        return reply

    return run_blocking(ask())


def test_pictures_are_sent_as_data_urls(proposer):
    with chat_server(completion("a hint")) as server:
        assert asked_with_a_picture(proposer(server)).text == "a hint"
    text, picture = server.requests[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "read this"}
    assert picture["type"] == "image_url"
    assert picture["image_url"]["url"] == "data:image/png;base64,iVBORw=="


@pytest.mark.parametrize(
    "message",
    [
        "Invalid content type. image_url is only supported by certain models.",
        "messages[0].content: unknown variant `image_url`, expected `text`",
        "At most 0 image(s) may be provided: m is not a multimodal model; unsupported",
    ],
)
def test_a_model_without_vision_is_asked_again_without_pictures(proposer, message):
    def answer(request):
        is_text = isinstance(request["messages"][0]["content"], str)
        return completion("a hint") if is_text else refusal(message)

    with chat_server(answer) as server:
        assert asked_with_a_picture(proposer(server), times=2).text == "a hint"
    contents = [request["messages"][0]["content"] for request in server.requests]
    assert [isinstance(content, str) for content in contents] == [False, True, True]


def test_missing_usage_is_unknown_not_zero(problem, proposer):
    with chat_server(completion("hello", usage=False)) as server:
        reply = proposer(server).propose(problem, [])
    assert (reply.input_tokens, reply.output_tokens, reply.cost) == (None, None, None)


def test_neither_temperature_nor_a_response_format_is_sent_unasked(problem, proposer):
    with chat_server(completion("hello")) as server:
        proposer(server).propose(problem, [])
    assert set(server.requests[0]) == {"model", "messages"}

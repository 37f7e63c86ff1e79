"""Models that metalgen knows: where they are asked, by which name and key, at which price."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta

import pytest
from chat_server import chat_server, completion, failure
from problem_files import ADD, write_problem

from metalgen.errors import ProviderError, ToolchainError
from metalgen.problem import open_problem
from metalgen.proposers import default_model, make_proposer
from metalgen.proposers.models import read_registry
from metalgen.proposers.service import find_service

STUDY = "claude-sonnet-4 claude-opus-4 gpt-4o gpt-4.1 gpt-5 o3 deepseek-v3 deepseek-r1".split()


@pytest.fixture
def problem(tmp_path):
    return open_problem(write_problem(tmp_path, ADD))


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """Puts models of one's own beside metalgen's; each is a model's fields that matter."""

    def put(endpoint, *models):
        path = tmp_path / "own.json"
        provider = {"endpoint": endpoint, "key_variable": "OWN_KEY"}
        listed = [{"provider": "own", **model} for model in models]
        path.write_text(json.dumps({"providers": {"own": provider}, "models": listed}))
        monkeypatch.setenv("METALGEN_MODELS", str(path))
        monkeypatch.setenv("OWN_KEY", "sk-own")

    return put


def price(**figures):
    return {"source": "https://example.org", "read": "2026-01-02", **figures}


def test_the_models_of_the_study_are_known():
    registry = read_registry({})
    for name in STUDY:
        model = registry.find(name)
        assert model is not None
        assert registry.provider_of(model).endpoint.startswith("https://api.")
        assert (model.context or 0) >= 64000


def test_every_price_says_where_and_when_it_was_read():
    models = read_registry({}).models
    assert len({model.name for model in models}) == len(models)
    for model in models:
        assert model.price is None or model.price.source.startswith("https://")
        assert model.price is None or model.price.read <= date.today()


def test_current_models_are_known_beside_those_of_the_study():
    registry = read_registry({})
    soon = date.today() + timedelta(days=90)
    current = [m for m in registry.models if m.retires is None or m.retires > soon]
    assert {model.provider for model in current} == {"anthropic", "deepseek", "openai"}
    for model in registry.models:
        assert model.context is not None
        assert model.vision is not None


def test_the_default_model_is_known_priced_and_does_not_retire_soon():
    model = read_registry({}).find(default_model({"OPENAI_API_KEY": "sk"}))
    assert model is not None
    assert model.provider == "openai"
    assert model.price is not None
    assert model.retires is None or model.retires > date.today() + timedelta(days=90)
    assert default_model({}) == "builtin"


@pytest.mark.parametrize("name", STUDY)
def test_a_known_model_needs_the_key_of_its_provider(name):
    service = find_service(name, environment={})
    with pytest.raises(ProviderError, match=f"set {service.key_variable}"):
        service.key({})
    assert service.key({service.key_variable: "sk"}) == "sk"


def test_a_known_model_is_asked_at_its_endpoint_by_its_name_there(problem, own_models, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with chat_server(completion("hello")) as server:
        own_models(
            server.url,
            {"name": "claude-sonnet-4", "provider_name": "c4", "price": price(input=3, output=15)},
        )
        reply = make_proposer("claude-sonnet-4").propose(problem, [])
    assert server.requests[0]["model"] == "c4"
    assert server.keys == ["Bearer sk-own"]
    assert reply.cost == pytest.approx((3 * 11 + 15 * 7) / 1e6)


def test_a_base_url_gets_neither_the_providers_key_nor_its_price(problem, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-anthropic")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with chat_server(completion("hello")) as server:
        reply = make_proposer("claude-sonnet-4", server.url).propose(problem, [])
    assert server.requests[0]["model"] == "claude-sonnet-4"
    assert "sk-anthropic" not in server.keys[0]
    assert reply.cost is None


def test_openais_models_follow_openais_address():
    environment = {"OPENAI_BASE_URL": "http://localhost:1/v1", "OPENAI_API_KEY": "k"}
    assert find_service("gpt-5", environment=environment).base_url == "http://localhost:1/v1"
    assert find_service("gpt-5", environment=environment).price is None
    assert find_service("claude-opus-4", environment=environment).base_url != (
        "http://localhost:1/v1"
    )


def test_unknown_models_are_asked_where_the_environment_says():
    service = find_service("qwen3", environment={"OPENAI_BASE_URL": "http://localhost:1/v1"})
    assert (service.base_url, service.provider_name, service.price) == (
        "http://localhost:1/v1",
        "qwen3",
        None,
    )


def test_a_retired_model_that_is_not_found_is_said_to_be_retired(problem, own_models):
    with chat_server(failure(404, "no such model")) as server:
        own_models(server.url, {"name": "old", "provider_name": "old", "retires": "2026-01-01"})
        with pytest.raises(ProviderError, match="retired it on 2026-01-01; give the --base-url"):
            make_proposer("old").propose(problem, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "invalid json"),
        ('{"models": [{"name": "m"}]}', r"models\.0\.provider: field required"),
        (
            '{"models": [{"name": "m", "provider": "nobody", "provider_name": "m"}]}',
            "'nobody', which is not among its providers",
        ),
    ],
)
def test_an_unusable_file_of_models_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "models.json"
    path.write_text(text)
    with pytest.raises(ToolchainError, match=message) as caught:
        read_registry({"METALGEN_MODELS": str(path)})
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_models_is_said_to_be_missing():
    with pytest.raises(ToolchainError, match=r"cannot read '/no/such\.json'"):
        read_registry({"METALGEN_MODELS": "/no/such.json"})


@pytest.fixture
def models(tmp_path):
    """Runs `metalgen models` with only the given keys set."""

    def run(*arguments, **keys):
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = [sys.executable, "-m", "metalgen", "models", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env={**kept, **keys, "COLUMNS": "80"}
        )

    return run


def test_the_command_lists_models_and_which_have_a_key(models):
    done = models(ANTHROPIC_API_KEY="sk-secret")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert lines["claude-sonnet-4"].split()[1:7] == "anthropic set 200k yes 3.00 15.00".split()
    assert lines["gpt-5"].split()[1:3] == ["openai", "no"]
    assert "ANTHROPIC_API_KEY set" in lines["keys:"]
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "sk-secret" not in done.stdout


def test_the_command_gives_everything_as_json(models, tmp_path):
    own = {"name": "mine", "provider": "openai", "provider_name": "mine"}
    (tmp_path / "own.json").write_text(json.dumps({"models": [own]}))
    done = models("--json", OPENAI_API_KEY="k", METALGEN_MODELS=str(tmp_path / "own.json"))
    listed = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert listed["gpt-5"]["has_key"]
    assert not listed["deepseek-r1"]["has_key"]
    assert listed["deepseek-r1"]["price"]["source"].startswith("https://")
    assert listed["mine"]["price"] is None


def test_the_command_refuses_a_broken_file_in_one_line(models, tmp_path):
    done = models(METALGEN_MODELS=str(tmp_path))
    assert done.returncode == 5
    assert done.stderr.startswith("metalgen: error: METALGEN_MODELS: cannot read")
    assert done.stderr.count("\n") == 1

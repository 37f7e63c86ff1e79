"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# Of this process and of all that it starts: see offline/sitecustomize.py.
OFFLINE = str(Path(__file__).parent / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([OFFLINE, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)
if "sitecustomize" not in sys.modules or OFFLINE not in str(sys.modules["sitecustomize"].__file__):
    sys.path.insert(0, OFFLINE)
    sys.modules.pop("sitecustomize", None)
    import sitecustomize  # noqa: F401

# What a test runs is optimised code from the first launch on, but where tiers are what it tests.
os.environ.setdefault("METALGEN_TIERS", "off")

# Choices must not depend on what some earlier process measured.
_TIMES = tempfile.TemporaryDirectory(prefix="metalgen-times-")
os.environ["METALGEN_TIMES_DIR"] = _TIMES.name

# A shell that starts the tests in the background has them ignore SIGINT, and so would every process
# that a test means to interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, however busy the machine: a failure tells of a change.
# `pytest --hypothesis-profile=explore` looks for others.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, database=None, **PATIENT)
settings.register_profile("explore", **PATIENT)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def _environment_of_its_own():
    """Commands that run in this process set variables, which no other test must see."""
    before = dict(os.environ)
    yield
    for name in (os.environ.keys() | before.keys()) - {"PYTEST_CURRENT_TEST"}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


def pytest_addoption(parser):
    parser.addoption(
        "--update-snapshots", action="store_true", help="Write what is rendered to tests/snapshots."
    )
    parser.addoption(
        "--all-kernels",
        action="store_true",
        help="Every kernel of Apple's and all else that is thorough, not a fixed sample.",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: only run with --all-kernels")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all-kernels"):
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture(autouse=True, scope="session")
def _few_torch_threads():
    # Small tensors only: more threads would only fight with the workers of pytest-xdist.
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def evaluators():
    """Who judges candidates, warm from test to test: its process takes seconds to start."""
    from metalgen.generation import Limits
    from metalgen.generation.evaluators import LocalEvaluators

    with LocalEvaluators(Limits(launch_s=20), "cpu") as evaluators:
        yield evaluators


@pytest.fixture(scope="session")
def evaluator():
    """The same for one candidate at a time."""
    from metalgen.generation import Limits
    from metalgen.generation.evaluator import Evaluator

    with Evaluator(Limits()) as evaluator:
        yield evaluator


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)

"""The worker process: what it may see and use, how it is asked, how it ends."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

import pytest
from problem_files import ADD, write_problem

from metalgen.errors import ProblemError
from metalgen.generation import Limits
from metalgen.generation.evaluator import Evaluator
from metalgen.generation.limits import scrubbed
from metalgen.generation.messages import MAX_BYTES, read_message, split_message, write_message
from metalgen.generation.sandbox import Failed, Worker


def test_credentials_do_not_reach_the_worker():
    environment = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "METALGEN_CACHE_DIR": "/cache",
        "OPENAI_API_KEY": "x",
        "OPENAI_BASE_URL": "x",
        "HF_TOKEN": "x",
        "my_secret": "x",
        "DB_PASSWORD": "x",
        "AWS_REGION": "x",
        "SSH_AUTH_SOCK": "x",
        "GOOGLE_APPLICATION_CREDENTIALS": "x",
    }
    assert scrubbed(environment).keys() == {"PATH", "HOME", "METALGEN_CACHE_DIR"}


LEAKING = """
    import json, os, resource
    import torch
    from torch import nn

    seen = {
        "secrets": [k for k in os.environ if "KEY" in k],
        "cwd": os.getcwd(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "session": os.getsid(0) == os.getpid(),
    }
    raise RuntimeError(json.dumps(seen))
"""


def test_a_worker_sees_no_keys_and_runs_in_a_folder_and_session_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with Evaluator(Limits()) as evaluator, pytest.raises(ProblemError) as caught:
        evaluator.open(write_problem(tmp_path, LEAKING))
    assert '"secrets": []' in str(caught.value)
    assert '"core": 0' in str(caught.value)
    assert '"session": true' in str(caught.value)
    assert str(Path.cwd()) not in str(caught.value)


HANGING = "import time\ntime.sleep(1000)\n"
CRASHING = "import os\nos.abort()\n"
NOISY = ADD.replace(
    "def get_inputs():", "print('noise' * 10_000, flush=True)\n\n    def get_inputs():"
)
READING = "import sys\n" + "assert sys.stdin.read() == ''\n"


def test_a_problem_file_that_hangs_is_told_of(tmp_path):
    hangs = pytest.raises(ProblemError, match="timed out after 1 s while it was loaded")
    with Evaluator(Limits(problem_s=1.0)) as impatient, hangs:
        impatient.open(write_problem(tmp_path, HANGING))


def test_a_problem_file_that_crashes_is_told_of(evaluator, tmp_path):
    with pytest.raises(ProblemError, match=r"crashed \(SIGABRT\) while"):
        evaluator.open(write_problem(tmp_path, CRASHING))


def test_what_a_problem_file_prints_does_not_disturb_the_conversation(evaluator, tmp_path):
    assert evaluator.open(write_problem(tmp_path, NOISY)).outputs[0].shape == (16, 48)


def test_a_problem_file_reads_nothing_from_the_conversation(evaluator, tmp_path):
    path = write_problem(tmp_path, READING + "\n" + "raise ValueError('read nothing')")
    with pytest.raises(ProblemError, match="read nothing"):
        evaluator.open(path)


def test_the_path_in_an_error_is_the_one_that_was_given(evaluator, tmp_path, monkeypatch):
    write_problem(tmp_path, "x = 1\n", "bare.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProblemError, match=r"^'bare.py' has no Model"):
        evaluator.open(Path("bare.py"))


def test_a_worker_that_is_killed_is_replaced(tmp_path):
    path = write_problem(tmp_path, ADD)
    request = {"do": "describe", "path": str(path)}
    steps = []
    with Worker(Limits(), on_step=lambda step, detail: steps.append(step)) as worker:
        first = worker.ask(request)
        assert not isinstance(first, Failed)
        os.killpg(worker._process.pid, signal.SIGKILL)
        killed = worker.ask(request)
        assert isinstance(killed, Failed)
        assert killed.reason == "was killed (out of memory?)"
        assert worker.ask(request) == first
    assert steps == ["load", "load"]


def test_stopping_a_worker_ends_its_whole_group(tmp_path):
    child = "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n"
    path = write_problem(tmp_path, child + "import os\nraise ValueError(f'group {os.getpgid(0)}')")
    with Evaluator(Limits()) as evaluator, pytest.raises(ProblemError) as caught:
        evaluator.open(path)
    group = int(str(caught.value).split("group ")[1].split()[0])
    with pytest.raises(ProcessLookupError):
        _wait_for_end(group)


def _wait_for_end(group):
    for _ in range(2400):
        os.killpg(group, 0)
        time.sleep(0.05)


def test_messages_survive_being_split_anywhere():
    stream = io.BytesIO()
    messages = [{"a": 1}, {"text": "ä" * 1000}, {}]
    for message in messages:
        write_message(stream, message)
    received, found = bytearray(), []
    for byte in stream.getvalue():
        received.append(byte)
        while (message := split_message(received)) is not None:
            found.append(message)
    assert found == messages
    stream.seek(0)
    assert [read_message(stream) for _ in range(4)] == [*messages, None]


@pytest.mark.parametrize(
    "data", [b"\xff" * 4, b"\2\0\0\0[]", b"\3\0\0\0abc", (MAX_BYTES + 1).to_bytes(4, "little")]
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's error is one too
        split_message(bytearray(data))

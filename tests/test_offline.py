"""Tests run without a network, whichever process they start: only this machine answers."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from chat_server import chat_server, completion
from problem_files import ADD, write_problem

from metalgen.errors import ProviderError
from metalgen.problem import open_problem
from metalgen.proposers.openai import OpenAIProposer

OUTSIDE = "192.0.2.77"  # of the block that is reserved for documentation (RFC 5737)


def test_nothing_outside_this_machine_is_reached():
    with pytest.raises(OSError, match="the network is blocked in tests"):
        socket.create_connection((OUTSIDE, 80), timeout=1)
    with pytest.raises(OSError, match="the network is blocked in tests"):
        socket.getaddrinfo("example.org", 443)


def test_child_processes_are_cut_off_too():
    code = f"import socket; socket.create_connection(({OUTSIDE!r}, 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "the network is blocked in tests" in done.stderr


def test_this_machine_is_reached():
    with chat_server(completion("hello")) as server:
        host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
        socket.create_connection((host, int(port)), timeout=5).close()


def test_a_service_that_cannot_be_reached_is_said_in_one_line(tmp_path):
    problem = open_problem(write_problem(tmp_path, ADD, "add.py"))
    proposer = OpenAIProposer("m", f"http://{OUTSIDE}/v1", environment={}, retries=0)
    with pytest.raises(ProviderError, match="model 'm': cannot reach the service") as caught:
        proposer.propose(problem, [])
    assert "\n" not in str(caught.value)

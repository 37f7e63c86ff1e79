"""Studies on many machines: a real scheduler and real worker processes, one of which dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from command_line import metalgen
from problem_files import ADD, SCALE, add_reply, reply, write_problem

from metalgen.errors import ToolchainError
from metalgen.generation import Limits, Means, Settings, begin, conduct, remote
from metalgen.generation.cluster import ClusterEvaluators
from metalgen.generation.study import named_apart
from metalgen.generation.tasks import find_problems
from metalgen.proposers.scripted import ScriptedProposer

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("default")  # of Dask's own

SCALE_REPLY = reply(
    "kernel void scale(device const float* x, device const float* w, device const float* b,"
    " device float* y, constant uint& n, uint i [[thread_position_in_grid]])"
    " { y[i] = x[i] * w[i % n] + b[i % n]; }",
    {
        "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
        "steps": [
            {
                "kernel": "scale",
                "args": ["x", "weight", "bias", "y", {"uint": "x.shape[1]"}],
                "threads": "x.numel()",
            }
        ],
    },
)
WRONG = add_reply("y[i] = a[i] - b[i];")


@pytest.fixture
def scheduler():
    with distributed.LocalCluster(
        n_workers=0,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


@contextlib.contextmanager
def workers(scheduler, *options):
    """One worker process per list of options."""
    command = [sys.executable, "-m", "metalgen", "worker", scheduler]
    processes = [
        subprocess.Popen([*command, *each], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for each in options
    ]
    try:
        for process in processes:
            assert b"works for" in process.stdout.readline()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture
def problems(tmp_path):
    folder = tmp_path / "problems"
    folder.mkdir()
    write_problem(folder, ADD, "add.py")
    write_problem(folder, SCALE, "scale.py")
    return folder


def study(scheduler, problems, folder):
    proposers = named_apart(
        [ScriptedProposer((WRONG, add_reply(), SCALE_REPLY), name=f"m{i}") for i in range(3)]
    )
    tasks = find_problems(problems)
    settings = Settings(models=tuple(proposers), attempts=3, is_nested=True)
    store = begin(tasks, settings, proposers, folder)
    means = Means(scheduler=scheduler, limits=Limits(launch_s=10))
    conduct(store, settings, proposers, means)
    return store


def kill_one_that_works(scheduler, processes, killed):
    """Once some worker has a candidate."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        pids = client.run(os.getpid)
        for _ in range(15_000):
            busy = [address for address, tasks in client.processing().items() if tasks]
            if busy:
                os.kill(pids[busy[0]], signal.SIGKILL)
                killed.append(pids[busy[0]])
                return
            time.sleep(0.02)


def test_a_worker_that_dies_is_replaced_and_every_job_is_done_once(scheduler, problems, tmp_path):
    killed = []
    with workers(scheduler, [], [], []) as processes:
        killer = threading.Thread(target=kill_one_that_works, args=(scheduler, processes, killed))
        killer.start()
        with study(scheduler, problems, tmp_path / "run") as store:
            killer.join()
            assert killed
            assert sorted(process.poll() is None for process in processes) == [False, True, True]
            jobs = store.jobs()
            assert len(jobs) == 6
            assert all(row.state == "finished" for row in jobs)
            for row in jobs:
                numbers = [attempt.number for attempt in store.attempts(row.job)]
                assert numbers == list(range(1, len(numbers) + 1))
                assert store.attempts(row.job)[-1].is_accepted, store.attempts(row.job)
            asked = Counter((call.job, call.request_sha256) for call in store.calls())
            assert set(asked.values()) == {1}
            assert len(store.calls()) == len(store.attempts())


def test_macs_time_what_others_found_right(scheduler, problems, tmp_path):
    """METAL is announced by hand here: what matters is who gets which work."""
    with workers(scheduler, ["--metal", "--name", "mac"], ["--no-metal", "--name", "linux"]):
        with study(scheduler, problems, tmp_path / "run") as store:
            assert all(row.state == "finished" for row in store.jobs())
            attempts = store.attempts()
            ends = [(each.job, each.stage, each.reason) for each in attempts]
            assert sum(attempt.is_accepted for attempt in attempts) == 6, ends
        with distributed.Client(scheduler, set_as_default=False) as client:
            deeds = client.run(remote.deeds)
            names = {w["id"]: a for a, w in client.scheduler_info(-1)["workers"].items()}
    mac, linux = deeds[names["mac"]], deeds[names["linux"]]
    assert (linux["check"], linux["evaluate"]) == (len(attempts), 0)
    assert (mac["check"], mac["evaluate"]) == (0, 6)


def test_a_cluster_without_workers_or_scheduler_is_said(scheduler):
    with pytest.raises(ToolchainError, match="has no workers; start some: metalgen worker tcp://"):
        ClusterEvaluators(scheduler, Limits())


def test_nobody_at_the_address_is_said_in_one_line(tmp_path, monkeypatch):
    write_problem(tmp_path, ADD, "add.py")
    done = metalgen(
        "generate", "add.py", "--model", "builtin", "--scheduler", "tcp://127.0.0.1:9", cwd=tmp_path
    )
    assert done.returncode == 5
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in done.stderr
    assert "Traceback" not in done.stderr

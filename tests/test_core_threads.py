"""The software device's host threads: the GIL, concurrent callers, forks, thread counts."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import native_kernels
from metalgen import _core, device
from metalgen.errors import ToolchainError

Geometry = _core.Geometry


def meet(pipeline, groups, expected):
    """Launch threadgroups that wait for one another; what they counted."""
    counted = np.zeros(2, np.uint32)
    geometry = Geometry.of_threadgroups((groups, 1, 1), (1, 1, 1))
    pipeline.dispatch((counted.ctypes.data, expected.to_bytes(4, "little")), geometry)
    return counted.tolist()


def test_python_goes_on_while_a_kernel_runs():
    pipeline = native_kernels.library().pipeline("meet")
    counted = np.zeros(2, np.uint32)
    geometry = Geometry.of_threadgroups((2, 1, 1), (1, 1, 1))
    arguments = (counted.ctypes.data, (2).to_bytes(4, "little"))
    thread = threading.Thread(target=pipeline.dispatch, args=(arguments, geometry))
    thread.start()
    while counted[0] == 0:
        time.sleep(0.001)
    counted[0] = 2  # Python comes too: the kernel is still there
    thread.join()
    assert counted.tolist() == [2, 0]


def test_threadgroups_run_at_the_same_time_on_several_host_threads():
    pipeline = native_kernels.library(threads=4).pipeline("meet")
    assert meet(pipeline, groups=5, expected=4) == [4, 0]


def test_a_kernel_that_turns_out_slow_is_shared_although_it_was_quick_before():
    pipeline = native_kernels.library(threads=4).pipeline("meet")
    for _ in range(3):
        assert meet(pipeline, groups=9, expected=0) == [0, 0]
    assert meet(pipeline, groups=9, expected=4) == [8, 0]


def test_several_python_threads_may_launch_at_once():
    library = native_kernels.library(threads=3)
    counts = np.zeros((6, 5000), np.uint32)
    geometry = Geometry.of_threads((5000, 1, 1), (32, 1, 1))

    def launch(row):
        for _ in range(50):
            library.pipeline("count_threads").dispatch((counts[row].ctypes.data,), geometry)

    threads = [threading.Thread(target=launch, args=(row,)) for row in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (counts == 50).all()


FORKS = """
    import os, signal, threading
    import numpy as np
    import native_kernels
    from metalgen import _core

    library = native_kernels.library(threads=4)
    geometry = _core.Geometry.of_threads((100_000, 1, 1), (32, 1, 1))

    def count():
        counts = np.zeros(100_000, np.uint32)
        library.pipeline("count_threads").dispatch((counts.ctypes.data,), geometry)
        assert (counts == 1).all()

    count()
    stop = threading.Event()
    def keep_launching():
        while not stop.is_set():
            count()
    busy = threading.Thread(target=keep_launching)
    busy.start()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            count()
            grandchild = os.fork()
            if grandchild == 0:
                signal.alarm(120)
                count()
                os._exit(7)
            _, status = os.waitpid(grandchild, 0)
            os._exit(os.waitstatus_to_exitcode(status))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
    stop.set()
    busy.join()
    count()
    print("all came back")
"""


def test_forked_children_launch_kernels_too():
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKS)],
        cwd=native_kernels.ROOT / "tests",
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.stdout == "all came back\n", finished.stderr


NO_THREADS = """
    import os, resource
    import numpy as np
    import native_kernels
    from metalgen import _core

    library = native_kernels.library(threads=8)
    native_kernels.native("count_threads")
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if os.getuid() == 0:
        os.setuid(65534)  # the limit does not hold for root
    counts = np.zeros(100_000, np.uint32)
    geometry = _core.Geometry.of_threads((100_000, 1, 1), (32, 1, 1))
    library.pipeline("count_threads").dispatch((counts.ctypes.data,), geometry)
    print((counts == 1).all())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits on threads are Linux's")
def test_kernels_run_where_the_system_gives_no_threads():
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NO_THREADS)],
        cwd=native_kernels.ROOT / "tests",
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.stdout == "True\n", finished.stderr


def test_a_process_with_idle_workers_ends_by_itself():
    code = (
        "import native_kernels, numpy as np; from metalgen import _core;"
        "library = native_kernels.library(threads=4); counts = np.zeros(9999, np.uint32);"
        "geometry = _core.Geometry.of_threads((9999, 1, 1), (32, 1, 1));"
        "library.pipeline('count_threads').dispatch((counts.ctypes.data,), geometry)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=native_kernels.ROOT / "tests", timeout=300
    )
    assert finished.returncode == 0


def test_the_number_of_threads_can_be_set(monkeypatch):
    monkeypatch.setenv("METALGEN_NUM_THREADS", "3")
    assert device.thread_count() == 3
    monkeypatch.setenv("METALGEN_NUM_THREADS", "none")
    with pytest.raises(ToolchainError, match="METALGEN_NUM_THREADS is 'none'"):
        device.thread_count()
    monkeypatch.delenv("METALGEN_NUM_THREADS")
    assert device.thread_count() >= 1


def test_devices_are_probed_and_software_is_always_there():
    devices = device.available()
    assert devices[-1].tensors == "cpu"
    assert devices[-1].name.startswith("software")
    assert any(found.tensors == "mps" for found in devices) == _core.has_apple_device()


@pytest.mark.skipif(_core.has_apple_device(), reason="this machine has an Apple GPU")
def test_asking_for_an_apple_gpu_where_there_is_none_says_so():
    with pytest.raises(ToolchainError, match=r"need macOS|no GPU"):
        device.open_device("mps")

"""Whoever measures has the room alone, and gets it: others wait, but not for long."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from metalgen.generation.room import Room


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def test_many_work_at_once(room):
    together = threading.Barrier(3, timeout=10)

    def work():
        with room.working():
            together.wait()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not together.broken


def test_nobody_works_while_somebody_measures(tmp_path):
    inside, disturbed = [0], []

    def work():
        for _ in range(20):
            with Room(tmp_path).working():
                inside[0] += 1
                time.sleep(0.002)
                inside[0] -= 1

    def measure():
        for _ in range(10):
            with Room(tmp_path).measuring():
                disturbed.append(inside[0])
                time.sleep(0.003)
                disturbed.append(inside[0])

    threads = [threading.Thread(target=f) for f in (work, work, measure, measure)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert disturbed == [0] * 40


def test_a_stream_of_workers_does_not_keep_who_measures_waiting(tmp_path):
    is_over = threading.Event()

    def work():
        while not is_over.is_set():
            with Room(tmp_path).working():
                time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    with Room(tmp_path).measuring():
        waited = time.monotonic() - started
    is_over.set()
    for thread in threads:
        thread.join()
    assert waited < 5


def test_a_process_that_dies_leaves_the_room(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from metalgen.generation.room import Room\n"
        f"with Room(Path({str(tmp_path)!r})).measuring():\n"
        "    print('in', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    waits = []
    holder = threading.Timer(0.3, process.kill)
    holder.start()
    with Room(tmp_path, on_wait=lambda: waits.append(1)).working():
        pass
    process.communicate()
    assert waits == [1]


def test_without_a_folder_nobody_waits():
    with Room(None).measuring(), Room(None).measuring(), Room(None).working():
        pass

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
    together = threading.Barrier(3, timeout=60)

    def work():
        with room.working():
            together.wait()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken


def test_nobody_works_while_somebody_measures(tmp_path):
    inside, disturbed = set(), []

    def work():
        for turn in range(20):
            with Room(tmp_path).working():
                inside.add((threading.get_ident(), turn))
                time.sleep(0.002)
                inside.remove((threading.get_ident(), turn))

    def measure():
        for _ in range(10):
            with Room(tmp_path).measuring():
                disturbed.append(len(inside))
                time.sleep(0.003)
                disturbed.append(len(inside))

    threads = [threading.Thread(target=f) for f in (work, work, measure, measure)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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
    rescue = threading.Timer(120, is_over.set)
    rescue.start()
    with Room(tmp_path).measuring():
        was_rescued = is_over.is_set()
    rescue.cancel()
    is_over.set()
    for thread in threads:
        thread.join()
    assert not was_rescued


def test_a_process_that_dies_leaves_the_room(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from metalgen.generation.room import Room\n"
        f"with Room(Path({str(tmp_path)!r})).measuring():\n"
        "    print('in', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    waits = []

    def on_wait():
        waits.append(1)
        process.kill()

    with Room(tmp_path, on_wait=on_wait).working():
        pass
    process.communicate()
    assert waits == [1]


def test_without_a_folder_nobody_waits():
    with Room(None).measuring(), Room(None).measuring(), Room(None).working():
        pass

"""The Apple backend over time: several threads, and objects that live as long as they should."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import threading
import time

import torch
from apple.soft_mps import on_soft_mps

import metalgen
from apple import build
from metalgen import device
from metalgen.errors import LaunchError

KERNELS = """
kernel void add(device float* y [[buffer(0)]], constant float& value [[buffer(1)]],
                uint i [[thread_position_in_grid]]) {
  y[i] += value;
}

constant int step [[function_constant(0)]];
kernel void count(device int* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] += step;
}

struct Table { float entries[2000]; };
kernel void look_up(device float* y [[buffer(0)]], constant Table& table [[buffer(1)]],
                    uint i [[thread_position_in_grid]]) {
  y[i] = table.entries[i];
}
"""

CLASSES = "SoftBuffer SoftLibrary SoftFunction SoftPipeline SoftEncoder SoftCommandBuffer".split()


@functools.cache
def soft_metal():
    return ctypes.CDLL(str(build.metal()))


def alive():
    """How many objects of each of Metal's classes there are."""
    gc.collect()
    device.open_device("mps").synchronize()
    names = (*CLASSES, "SoftString", "SoftError", "SoftData", "MTLFunctionConstantValues", "block")
    return {name: soft_metal().objc_live_instances(name.encode()) for name in names}


def grown(before):
    """The classes of which there are more than before, and how many more."""
    deadline = time.monotonic() + 60  # the GPU lets go of what it has run a little later
    while True:
        more = {name: count - before[name] for name, count in alive().items()}
        if not any(more.values()) or time.monotonic() > deadline:
            return {name: count for name, count in more.items() if count}
        time.sleep(0.01)


def in_threads(function, count=4):
    failures = []

    def run(index):
        try:
            function(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@on_soft_mps
def test_threads_dispatch_on_one_stream_without_losing_work():
    add = metalgen.compile_shader(KERNELS).add
    shared = torch.zeros(64).to("mps")
    own = [torch.zeros(64).to("mps") for _ in range(4)]

    def work(index):
        for turn in range(25):
            add(shared, 1.0)
            add(own[index], float(index))
            if turn % 10 == 9:
                device.open_device("mps").synchronize()

    in_threads(work)
    assert shared.cpu().tolist() == [100.0] * 64
    assert [tensor.cpu()[0].item() for tensor in own] == [0.0, 25.0, 50.0, 75.0]


@on_soft_mps
def test_threads_that_want_one_pipeline_share_it():
    native = metalgen.compile_shader(KERNELS)._load("mps")
    before = alive()["SoftPipeline"]
    made = []
    in_threads(lambda index: made.append(native.pipeline("add")))
    assert alive()["SoftPipeline"] == before + 1
    assert len({id(pipeline) for pipeline in made}) == 1


@on_soft_mps
def test_equal_constants_give_one_pipeline_and_others_another():
    library = metalgen.compile_shader(KERNELS)
    y = torch.zeros(8, dtype=torch.int32).to("mps")
    before = alive()["SoftPipeline"]
    for step in (1, 2, 1, 2, 1):
        library.count(y, constants={"step": step})
    assert alive()["SoftPipeline"] == before + 2
    assert y.cpu().tolist() == [7] * 8


@on_soft_mps
def test_launches_leave_no_objects_behind():
    library = metalgen.compile_shader(KERNELS)
    y = torch.zeros(2000).to("mps")
    table = bytes(8000)
    library.add(y, 1.0)
    library.look_up(y, table)
    before = alive()
    for _ in range(50):
        library.add(y, 1.0)
        library.look_up(y, table)
    more = grown(before)
    assert more == {}, more


@on_soft_mps
def test_whatever_is_made_goes_with_the_library():
    before = alive()
    metallib = metalgen.compiler.compile_source(KERNELS)
    native = device.open_device("mps").load(metallib, lambda *_: None)
    y = torch.zeros(2000).to("mps")
    pipeline = native.pipeline("add")
    one = metalgen._core.Geometry.of_threads((1, 1, 1), (1, 1, 1))
    pipeline.dispatch((y.data_ptr(), b"1234"), one)
    for _ in range(3):
        with contextlib.suppress(LaunchError):
            native.pipeline("nowhere")
    del native, pipeline, y
    more = grown(before)
    assert more == {}, more


@on_soft_mps
def test_a_tensor_may_be_dropped_before_the_gpu_has_read_it():
    library = metalgen.compile_shader(KERNELS)
    y = torch.zeros(100).to("mps")
    for _ in range(10):
        z = y * 0 + 1
        library.add(z, 1.0)
        y = z + 0
        del z
    assert y.cpu().tolist() == [2.0] * 100


@on_soft_mps
def test_nothing_is_autoreleased_where_no_pool_would_drain_it():
    library = metalgen.compile_shader(KERNELS)
    y = torch.zeros(2000).to("mps")
    library.add(y, 1.0)
    library.look_up(y, bytes(8000))
    in_threads(
        lambda index: library.count(torch.zeros(2).int().to("mps"), constants={"step": index})
    )
    assert metalgen.device.open_device("mps").name == "Software Metal"
    assert soft_metal().objc_autoreleased_without_pool() == 0

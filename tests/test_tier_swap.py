"""Better code for a kernel that runs already: threadgroups that start later run it."""

from __future__ import annotations

import ctypes
import gc
import threading
from dataclasses import dataclass, field

import numpy as np

import native_kernels
from metalgen import _core
from metalgen.software import abi

Geometry = _core.Geometry


@dataclass
class Written:
    """Code that notes its name for each threadgroup, and then does what `also` says."""

    name: str
    ran: list[str]
    is_quick: bool = False
    threadgroup_bytes: int = 0
    also: object = None
    _entry: object = field(init=False)

    def __post_init__(self):
        self._entry = abi.ENTRY(self._run)

    def _run(self, threadgroup):
        self.ran.append(self.name)
        if self.also is not None:
            self.also()

    @property
    def address(self) -> int:
        return ctypes.cast(self._entry, ctypes.c_void_p).value


def pipeline(translate, threads=1):
    return _core.software_device(threads).load(b"", translate).pipeline("kernel")


def groups(count):
    return Geometry.of_threadgroups((count, 1, 1), (32, 1, 1))


def test_threadgroups_that_start_after_better_code_came_run_it():
    ran, improving = [], []
    better = Written("better", ran)
    quick = Written("quick", ran, is_quick=True, also=lambda: improving[0](better))

    def translate(kernel, constants, variant, improve):
        improving.append(improve)
        return quick

    kernel = pipeline(translate)
    kernel.dispatch((), groups(3))
    kernel.dispatch((), groups(2))
    assert ran == ["quick", "better", "better", "better", "better"]


def test_better_code_that_comes_while_the_quick_is_made_is_what_runs():
    ran = []

    def translate(kernel, constants, variant, improve):
        improve(Written("better", ran))
        return Written("quick", ran, is_quick=True)

    pipeline(translate).dispatch((), groups(2))
    assert ran == ["better", "better"]


def test_each_variant_is_improved_by_itself():
    ran, improving = [], {}

    def translate(kernel, constants, variant, improve):
        improving[variant] = improve
        return Written(f"quick {variant}", ran, is_quick=True)

    kernel = pipeline(translate)
    ragged = Geometry.of_threads((48, 1, 1), (32, 1, 1))
    kernel.dispatch((), ragged)
    improving["full"](Written("better full", ran))
    kernel.dispatch((), ragged)
    assert ran == ["quick full", "quick rows", "better full", "quick rows"]


def test_better_code_for_a_kernel_that_is_gone_is_dropped():
    ran, improving = [], []

    def translate(kernel, constants, variant, improve):
        improving.append(improve)
        return Written("quick", ran)

    kernel = pipeline(translate)
    kernel.dispatch((), groups(1))
    del kernel
    gc.collect()
    improving[0](Written("better", ran))
    assert ran == ["quick"]


def test_code_may_be_improved_while_several_threads_launch_it():
    improving = []

    def translate(kernel, constants, variant, improve):
        improving.append(improve)
        return native_kernels.native("count_threads")

    kernel = pipeline(translate, threads=3)
    counts = np.zeros((5, 2000), np.uint32)
    geometry = Geometry.of_threads((2000, 1, 1), (32, 1, 1))
    ready = threading.Barrier(5)

    def launch(row):
        ready.wait()
        for _ in range(100):
            kernel.dispatch((counts[row].ctypes.data,), geometry)

    threads = [threading.Thread(target=launch, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    kernel.dispatch((counts[4].ctypes.data,), geometry)
    for _ in range(50):
        for improve in improving:
            improve(native_kernels.native("count_threads"))
    for thread in threads:
        thread.join()
    assert (counts[:4] == 100).all()

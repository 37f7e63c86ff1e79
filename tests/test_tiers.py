"""First launches run quick code while another process optimises: what that process may do to us."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import uuid

import pytest
import torch

from metalgen import device, load_metallib
from metalgen.air import Metallib
from metalgen.compiler import compile_source
from metalgen.errors import ToolchainError
from metalgen.generation.watched_library import WatchedLibrary
from metalgen.software.tiers import Tiers

SOURCE = """
    #include <metal_stdlib>
    using namespace metal;
    kernel void sums(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                     uint lane [[thread_index_in_simdgroup]], uint i [[thread_position_in_grid]]) {
      float sum = 0;
      for (uint j = lane; j < 100; j += 32) sum += x[j];
      y[i] = i == NUMBER ? 0 : simd_sum(sum);
    }
"""


@pytest.fixture
def metallib():
    """A kernel that no cache has."""
    return compile_source(SOURCE.replace("NUMBER", f"0x8{uuid.uuid4().hex[:7]}"))


@pytest.fixture(autouse=True)
def _tiers(monkeypatch):
    monkeypatch.setenv("METALGEN_TIERS", "on")


def translated(metallib, improved=None):
    """What a first launch runs, by way of a library that has never seen the kernel."""
    bitcode = Metallib(metallib).bitcode("sums")
    improve = [].append if improved is None else improved.append
    return Tiers().translate(bitcode, "sums", {}, "full", improve)


def launch(library):
    x, y = torch.arange(100.0), torch.zeros(64)
    library.sums(x, y, threads=64, group_size=64)
    assert y.tolist() == [4950.0] * 64


def test_a_first_launch_runs_quick_code_which_is_improved(metallib):
    improved = []
    assert translated(metallib, improved).is_quick
    device.settle()
    assert [better.is_quick for better in improved] == [False]
    assert not translated(metallib).is_quick  # kept for later processes


def test_results_are_right_before_and_after(metallib):
    library = load_metallib(metallib)
    launch(library)
    device.settle()
    launch(library)


def test_kernels_without_loops_and_meetings_are_optimised_at_once():
    number = uuid.uuid4().int % 2**31
    metallib = Metallib(compile_source(f"kernel void f(device int* x) {{ *x = {number}; }}"))
    assert not Tiers().translate(metallib.bitcode("f"), "f", {}, "full", [].append).is_quick


def test_what_is_judged_is_optimised_from_the_first_launch_on(metallib):
    launch(WatchedLibrary(metallib, lambda step, detail: None))
    assert not translated(metallib).is_quick


def test_an_unknown_wish_is_refused(metallib, monkeypatch):
    monkeypatch.setenv("METALGEN_TIERS", "fast")
    with pytest.raises(ToolchainError, match="METALGEN_TIERS is 'fast', expected 'on', 'off' or"):
        launch(load_metallib(metallib))


# A script in which the translating process is stopped, so that what it was asked stays undone.
PRELUDE = """
    import array, fcntl, os, signal, sys, termios, time
    import torch
    from metalgen import device, load_metallib
    from metalgen.errors import ToolchainError
    from metalgen.software.background import background

    def launch(name):
        x, y = torch.arange(100.0), torch.zeros(64)
        load_metallib(os.path.join(sys.argv[1], name)).sums(x, y, threads=64, group_size=64)
        assert y.tolist() == [4950.0] * 64

    launch("first")
    device.settle()
    (translating,) = background().process_ids()
    os.kill(translating, signal.SIGSTOP)
    os.waitpid(translating, os.WUNTRACED)
    launch("second")
    (process,) = background()._processes
    asked = array.array("i", [0])
    while not asked[0]:  # the request lies in the pipe, since who should read it is stopped
        time.sleep(0.01)
        fcntl.ioctl(process._process.stdin, termios.FIONREAD, asked)
"""


@pytest.fixture
def script(tmp_path):
    """Starts Python on the prelude and more, which find three kernels that no cache has."""
    for name in ("first", "second", "third"):
        source = SOURCE.replace("NUMBER", f"0x8{uuid.uuid4().hex[:7]}")
        (tmp_path / name).write_bytes(compile_source(source))

    def start(code: str, **options) -> subprocess.Popen[str]:
        text = textwrap.dedent(PRELUDE) + textwrap.dedent(code)
        return subprocess.Popen([sys.executable, "-c", text, tmp_path], text=True, **options)

    return start


def test_a_process_ends_while_a_kernel_is_being_optimised(script):
    process = script("", stderr=subprocess.PIPE)
    # To its end, which comes when the translating process, which inherits it, has ended too.
    assert process.communicate(timeout=120) == (None, "")
    assert process.returncode == 0


def test_a_process_that_is_killed_leaves_none_behind(script):
    process = script(
        """
        os.kill(translating, signal.SIGCONT)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        stderr=subprocess.PIPE,
    )
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def test_the_child_of_a_fork_has_its_kernels_optimised_too(script):
    process = script(
        """
        child = os.fork()
        if child == 0:
            device.settle()
            launch("second")
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
        """,
        stdout=subprocess.PIPE,
    )
    assert process.communicate(timeout=120)[0] == "7\n"


def test_when_the_translating_process_dies_kernels_run_on_and_whoever_waits_is_told(script):
    process = script(
        """
        os.kill(translating, signal.SIGKILL)
        try:
            device.settle()
        except ToolchainError as error:
            print(error)
        launch("second")
        device.settle()
        """,
        stdout=subprocess.PIPE,
    )
    out, _ = process.communicate(timeout=120)
    assert out == "kernel 'sums' keeps its quick code: the process that optimised it ended\n"
    assert process.returncode == 0


def test_where_no_process_can_be_started_this_one_optimises(script):
    process = script(
        """
        sys.executable = "/nowhere/python"
        os.kill(translating, signal.SIGKILL)
        try:
            device.settle()
        except ToolchainError:
            launch("third")
            device.settle()
            print(background().process_ids())
        """,
        stdout=subprocess.PIPE,
    )
    assert process.communicate(timeout=120)[0] == "()\n"
    assert process.returncode == 0

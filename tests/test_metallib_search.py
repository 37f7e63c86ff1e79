"""Metallibs inside other files are found, and many kernels are described in their order."""

from __future__ import annotations

import operator
import time

import pytest
from air_modules import assemble, some_kernel
from apple_metallib import apple_metallib

from metalgen.air import Metallib, write_metallib
from metalgen.air.embedded import open_metallibs
from metalgen.air.survey import survey
from metalgen.errors import MetallibError


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A metallib of 600 kernels that share one module's form."""
    function = assemble(some_kernel("kernel000"))
    functions = [assemble(some_kernel(f"kernel{n:03}")) for n in range(1, 600)]
    path = tmp_path_factory.mktemp("many") / "many.metallib"
    path.write_bytes(write_metallib([function, *functions]))
    return path


def library_with(*metallibs: bytes) -> bytes:
    """Bytes as a program has them: words that begin like a metallib, then real ones."""
    noise = b"\x7fELF MTLBuffer MTLB" + bytes(range(256)) + b"_MTLBlitCommandEncoder\0"
    return noise + noise.join(metallibs) + noise


def test_every_metallib_inside_a_library_is_found(tmp_path):
    first, second = (write_metallib([assemble(some_kernel(name))]) for name in ("one", "two"))
    path = tmp_path / "library.so"
    path.write_bytes(library_with(first, second))
    assert [found.names for found in open_metallibs(path)] == [("one",), ("two",)]


def test_a_library_without_kernels_is_refused(tmp_path):
    path = tmp_path / "library.so"
    path.write_bytes(library_with())
    with pytest.raises(MetallibError, match="not a metallib"):
        open_metallibs(path)


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(MetallibError, match="Is a directory"):
        open_metallibs(tmp_path)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_survey_keeps_the_order_of_the_names(many, processes):
    metallib = Metallib.open(many)
    names = metallib.names[::-1]
    described = survey(metallib, names, operator.attrgetter("name"), processes=processes)
    assert tuple(described) == names


def test_a_survey_of_other_processes_raises_what_is_damaged(many, tmp_path):
    data = many.read_bytes()
    place = data.index(b"kernel599", len(data) - 2000)
    path = tmp_path / "damaged.metallib"
    path.write_bytes(data[:place] + b"K" + data[place + 1 :])
    metallib = Metallib.open(path)
    with pytest.raises(MetallibError, match=r"kernel 'kernel599': .* checksum"):
        list(survey(metallib, metallib.names, operator.attrgetter("name"), processes=2))


def test_one_kernel_of_apples_17251_is_described_without_reading_the_others():
    apple_metallib()
    started = time.process_time()
    metallib = Metallib.open(apple_metallib())
    assert len(metallib.names) == 17251
    assert len(metallib.kernel("block_softmax_float32").arguments) == 7
    # Decoding all of them takes about ten seconds.
    assert time.process_time() - started < 1

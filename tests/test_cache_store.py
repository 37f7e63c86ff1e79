"""The cache on disk: whole entries or none, whoever writes, dies, fills the disk or tampers."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metalgen.cache import Cache, CacheUse, cache_directory, tree_hash
from metalgen.files import TEMPORARY_PREFIX, write_whole


def key(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def content(number: int) -> bytes:
    """What is stored under `key(number)`: any two differ in every part."""
    return random.Random(number).randbytes(20_000 + number)


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_what_is_put_is_got(tmp_path):
    cache = Cache(tmp_path)
    assert cache.get(key(1)) is None
    cache.put(key(1), content(1))
    assert cache.get(key(1)) == content(1)
    assert cache.get(key(2)) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_a_damaged_entry_counts_as_absent_and_is_replaced(tmp_path, damage):
    cache = Cache(tmp_path)
    cache.put(key(1), content(1))
    (path,) = files(tmp_path)
    stored = path.read_bytes()
    path.write_bytes(
        {
            "truncate": stored[:-1],
            "flip": stored[:100] + bytes([stored[100] ^ 1]) + stored[101:],
            "empty": b"",
            "swap": stored[32:] + stored[:32],
        }[damage]
    )
    assert cache.get(key(1)) is None
    cache.put(key(1), content(1))
    assert cache.get(key(1)) == content(1)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_cache_store import Cache, content, key
cache = Cache(Path(sys.argv[2]))
print("ready", flush=True)
number = int(sys.argv[3])
while True:
    cache.put(key(number % 40), content(number % 40))
    number += 1
"""


def start_writer(directory: Path, number: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        WRITER,
        str(Path(__file__).parent),
        str(directory),
        str(number),
    ]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def end(writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.communicate()


def whole_entries(directory: Path) -> int:
    """How many entries there are; every one of them must be whole."""
    cache = Cache(directory)
    found = [cache.get(key(number)) for number in range(40)]
    for number, entry in enumerate(found):
        assert entry in (None, content(number))
    entries = [path for path in files(directory) if not path.name.startswith(TEMPORARY_PREFIX)]
    assert len(entries) == sum(entry is not None for entry in found)
    return len(entries)


def wait_for_entries(directory: Path, count: int) -> None:
    """Until writers have put so many."""
    while len(files(directory)) < count:
        time.sleep(0.001)


def test_writers_killed_at_any_moment_leave_whole_entries_only(tmp_path):
    for count in range(12):
        directory = tmp_path / str(count)
        writer = start_writer(directory, count)
        wait_for_entries(directory, count)
        end(writer)
        assert whole_entries(directory) >= count - 1  # one may have been half written


def test_many_writers_and_readers_at_once_see_whole_entries_only(tmp_path):
    writers = [start_writer(tmp_path, number * 10) for number in range(4)]
    try:
        for count in range(30):
            wait_for_entries(tmp_path, count)
            whole_entries_or_missing(tmp_path)
    finally:
        for writer in writers:
            end(writer)
    assert whole_entries(tmp_path) > 0


def whole_entries_or_missing(directory: Path) -> None:
    cache = Cache(directory)
    for number in range(40):
        assert cache.get(key(number)) in (None, content(number))


def test_what_a_killed_writer_left_is_removed_in_time(tmp_path):
    cache = Cache(tmp_path)
    cache.put(key(1), content(1))
    (entry,) = files(tmp_path)
    fresh, old = (entry.with_name(TEMPORARY_PREFIX + name) for name in ("fresh", "old"))
    fresh.write_bytes(b"being written")
    old.write_bytes(b"abandoned")
    os.utime(old, (0, 0))
    cache.put(key(1), content(1))
    assert files(tmp_path) == sorted([entry, fresh])


def test_a_cache_that_cannot_be_written_to_warns_once_and_is_none(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    cache = Cache(tmp_path / "file")
    with pytest.warns(RuntimeWarning, match=r"compiling without a cache: cannot write to .*file"):
        cache.put(key(1), content(1))
    cache.put(key(2), content(2))  # a second warning would be an error here
    assert cache.get(key(1)) is None
    assert cache.use().entries == 0


def test_the_least_recently_used_leave_when_the_cache_is_full(tmp_path):
    # All in one of the 16 directories, which has room for three.
    keys = [f"a{number:063}" for number in range(6)]
    cache = Cache(tmp_path, limit=16 * 3 * 1100)
    for number, name in enumerate(keys[:3]):
        cache.put(name, bytes(1000))
        os.utime(tmp_path / "a" / name[1:], (number, number))
    assert cache.get(keys[0]) is not None  # used again: now the youngest
    for name in keys[3:5]:
        cache.put(name, bytes(1000))
    held = [name for name in keys if cache.get(name) is not None]
    assert held == [keys[0], keys[3], keys[4]]


def test_an_entry_larger_than_its_share_stays_until_the_next(tmp_path):
    cache = Cache(tmp_path, limit=16)
    cache.put(key(1), content(1))
    assert cache.get(key(1)) == content(1)


def test_clearing_removes_entries_and_headers_and_leaves_other_files(tmp_path):
    cache = Cache(tmp_path)
    for number in range(5):
        cache.put(key(number), content(number))
    headers = tmp_path / "compiled-0123"
    headers.mkdir()
    (headers / "headers.pch").write_bytes(bytes(1000))
    (tmp_path / "downloaded.whl").write_bytes(b"not ours")
    stored = sum(32 + len(content(number)) for number in range(5))
    assert cache.clear() == CacheUse(entries=5, bytes=stored + 1000)
    assert files(tmp_path) == [tmp_path / "downloaded.whl"]
    assert cache.use() == CacheUse(entries=0, bytes=0)


def test_headers_that_were_made_long_ago_leave(tmp_path):
    cache = Cache(tmp_path)
    old, new = tmp_path / "headers-old", tmp_path / "headers-new"
    for directory in (old, new):
        directory.mkdir()
    os.utime(old, (0, 0))
    cache.put(key(1), content(1))
    assert new.is_dir()
    assert not old.exists()


def test_the_environment_says_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_directory() == tmp_path / "mine"
    monkeypatch.delenv("METALGEN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "metalgen"


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "kernels.metallib"
    path.write_bytes(b"before")
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: .*kernels.metallib"):
            write_whole(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert files(tmp_path) == [path]
    assert path.read_bytes() == b"before"


def test_a_written_file_has_the_permissions_of_any_other(tmp_path):
    write_whole(tmp_path / "ours", b"1")
    (tmp_path / "theirs").write_bytes(b"1")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_tree_hashes_as_its_names_and_contents_do_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path / "cache"))
    for where in ("one", "two"):
        (tmp_path / where / "src" / "__pycache__").mkdir(parents=True)
        (tmp_path / where / "src" / "a.h").write_text("a")
        (tmp_path / where / "src" / "b.txt").write_text(where)
        (tmp_path / where / "src" / "__pycache__" / "a.h").write_text(where)
    one, two = tmp_path / "one" / "src", tmp_path / "two" / "src"
    assert tree_hash(one, suffixes=(".h",)) == tree_hash(two, suffixes=(".h",))
    assert tree_hash(one) != tree_hash(two)


def test_a_tree_hashes_anew_when_a_file_of_the_same_size_and_time_replaces_another(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "a.h"
    path.write_text("a")
    before, status = tree_hash(tmp_path / "src"), path.stat()
    path.write_text("b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert tree_hash(tmp_path / "src") != before

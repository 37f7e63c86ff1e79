"""Results on disk, by the hash of everything that went into them.

Each entry is one file: the SHA-256 of the content, then the content. Writers make a temporary file
beside it and rename it, so a reader sees a whole entry or none, whoever else writes or dies; and
what a crash of the machine tears anyway fails its hash and counts as absent. Entries are spread
over 16 directories, each bounded by itself: the least recently used leave first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metalgen.files import TEMPORARY_PREFIX, write_whole

DEFAULT_LIMIT = 1 << 30  # bytes
# The compiler keeps its headers beside the entries, in directories named by their content.
_HEADER_DIRECTORIES = ("headers-", "compiled-")
_HEADERS_KEPT_FOR = 60 * 86400.0  # seconds; then they are made anew, if still in use
_SHARDS = "0123456789abcdef"
_DIGEST_SIZE = hashlib.sha256().digest_size
# No writer takes that long: what is older was left by one that was killed.
_ABANDONED_AFTER = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How much a cache holds."""

    entries: int
    bytes: int


class Cache:
    """Bytes by key (a hexadecimal digest) in a directory, which is made when first written to."""

    def __init__(self, directory: Path, *, limit: int = DEFAULT_LIMIT) -> None:
        self.directory = directory
        self.limit = limit
        self._is_broken = False

    def get(self, key: str) -> bytes | None:
        """The content stored under `key`, None if there is none or it is damaged."""
        path = self._path(key)
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        digest, content = stored[:_DIGEST_SIZE], stored[_DIGEST_SIZE:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # counts as used
        return content

    def put(self, key: str, content: bytes) -> None:
        """Store `content`; where that cannot be done, warn once and go on without."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, hashlib.sha256(content).digest() + content)
            self._evict(path)
        except OSError as error:
            self._warn(error)

    def use(self) -> CacheUse:
        """What the cache holds now, the compiler's headers included."""
        sizes = [status.st_size for _, status in self._files(*_SHARDS)]
        headers = sum(_tree_size(directory) for directory, _ in self._headers())
        return CacheUse(entries=len(sizes), bytes=sum(sizes) + headers)

    def clear(self) -> CacheUse:
        """Remove everything; what was there before."""
        before = self.use()
        for path, _ in list(self._files(*_SHARDS)):
            path.unlink(missing_ok=True)
        for directory, _ in list(self._headers()):
            shutil.rmtree(directory, ignore_errors=True)
        return before

    def _path(self, key: str) -> Path:
        return self.directory / key[0] / key[1:]

    def _warn(self, error: OSError) -> None:
        if not self._is_broken:
            self._is_broken = True
            warnings.warn(
                f"compiling without a cache: cannot write to {self.directory} ({error.strerror}); "
                "set METALGEN_CACHE_DIR to a directory that can be written to",
                RuntimeWarning,
                stacklevel=2,
            )

    def _headers(self) -> Iterator[tuple[Path, os.stat_result]]:
        with contextlib.suppress(OSError), os.scandir(self.directory) as found:
            for entry in found:
                if entry.name.startswith(_HEADER_DIRECTORIES) and entry.is_dir():
                    yield Path(entry.path), entry.stat()

    def _files(self, *shards: str) -> Iterator[tuple[Path, os.stat_result]]:
        for shard in shards:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(self.directory / shard) as found,
            ):
                for entry in found:
                    # Others may be removing entries as well.
                    with contextlib.suppress(FileNotFoundError):
                        if not entry.is_dir(follow_symlinks=False):
                            yield Path(entry.path), entry.stat(follow_symlinks=False)

    def _evict(self, kept: Path) -> None:
        """Bring the directory that `kept` was just written to back under its share of the limit."""
        now = time.time()
        total = 0
        files = sorted(
            self._files(kept.parent.name), key=lambda found: found[1].st_mtime, reverse=True
        )
        for path, status in files:
            if path.name.startswith(TEMPORARY_PREFIX):
                is_superfluous = now - status.st_mtime > _ABANDONED_AFTER
            else:
                total += status.st_size
                is_superfluous = total > self.limit // len(_SHARDS) and path != kept
            if is_superfluous:
                path.unlink(missing_ok=True)
        for directory, status in list(self._headers()):
            if now - status.st_mtime > _HEADERS_KEPT_FOR:
                shutil.rmtree(directory, ignore_errors=True)


def _tree_size(directory: Path) -> int:
    size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += Path(root, name).lstat().st_size
    return size


def cache_directory() -> Path:
    """$METALGEN_CACHE_DIR, or metalgen's directory among the user's caches."""
    chosen = os.environ.get("METALGEN_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "metalgen"
    except RuntimeError:
        return Path(os.devnull)  # no home directory: nothing can be kept


def tree_hash(*roots: Path, suffixes: tuple[str, ...] = ("",)) -> str:
    """The hash of all files under `roots` with such names: of their paths and contents.

    Contents are read once: the cache keeps the hash by what the file system says of the files.
    """
    files = [
        found for root in roots for found in _tree(root, root.name) if found[0].endswith(suffixes)
    ]
    stamp = [
        (name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
        for name, _, status in files
    ]
    cache = Cache(cache_directory())
    key = hashlib.sha256(f"tree {stamp}".encode()).hexdigest()
    known = cache.get(key)
    if known is not None:
        return known.decode()
    digest = hashlib.sha256()
    for name, path, _ in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(Path(path).read_bytes()).digest())
    cache.put(key, digest.hexdigest().encode())
    return digest.hexdigest()


def _tree(root: str | Path, name: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """(name, path, status) of every file, in an order that does not depend on the file system."""
    with os.scandir(root) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_file():
            yield f"{name}/{entry.name}", entry.path, entry.stat()
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from _tree(entry.path, f"{name}/{entry.name}")

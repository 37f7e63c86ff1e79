"""Run hashcat's kernels for plain hashes on the software device and hold them against hashlib.

    python benchmarks/wild/hashcat_kernels.py FOLDER

FOLDER is that of wild_sources.py. A kernel is given passwords and the digest of one of them, which
it must report, and that alone; then a digest that no password has.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from metalgen.compiler import compile_source
from metalgen.library import Library, load_metallib
from wild.fetch import folder
from wild.project import Source
from wild.projects.hashcat import PROJECT

_PASSWORDS = [f"{'x' * (n % 40)}{n}".encode() for n in range(64)]
_PLAIN = "<QQIIIII4x"


# By the number of the kernel: the hash, and how its digest lies in memory, as words.
HASHES: dict[int, tuple[Callable[[bytes], bytes], str]] = {
    0: (lambda data: hashlib.md5(data).digest(), "<4I"),
    100: (lambda data: hashlib.sha1(data).digest(), ">5I"),
    1300: (lambda data: hashlib.sha224(data).digest(), ">7I"),
    1400: (lambda data: hashlib.sha256(data).digest(), ">8I"),
    1700: (lambda data: hashlib.sha512(data).digest(), ">8Q"),
    4500: (lambda data: hashlib.sha1(hashlib.sha1(data).hexdigest().encode()).digest(), ">5I"),
    4400: (lambda data: hashlib.md5(hashlib.sha1(data).hexdigest().encode()).digest(), "<4I"),
    10800: (lambda data: hashlib.sha384(data).digest() + bytes(16), ">8Q"),
}


def _words(digest: bytes, form: str) -> bytes:
    """A digest as the host hands it to the kernel: words in the machine's order."""
    return struct.pack(form.replace(">", "<"), *struct.unpack(form, digest))


def _padded(data: bytes, size: int) -> bytes:
    return data + bytes(size - len(data))


def _passwords() -> bytes:
    return b"".join(_padded(each, 256) + struct.pack("<I", len(each)) for each in _PASSWORDS)


def _parameters() -> bytes:
    """kernel_param_t for one digest, one rule, all passwords."""
    return struct.pack("<IIIIQQQIIIIQQ", 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, len(_PASSWORDS))


def reported(library: Library, kernel: str, digest: bytes) -> list[int]:
    """The numbers of the passwords that a kernel finds to have `digest`."""
    given: dict[str, bytes] = {
        "pws": _passwords(),
        "rules_buf": _padded(struct.pack("<I", ord(":")), 128),
        "digests_buf": _padded(digest, 512),
        "kernel_param": _parameters(),
    }
    info = library.metallib.kernel(kernel)
    tensors: dict[str, torch.Tensor] = {}
    for argument in info.buffers:
        data = _padded(given.get(argument.name, b""), max(8192, len(given.get(argument.name, b""))))
        tensors[argument.name] = torch.frombuffer(bytearray(data), dtype=torch.int32)
    ordered = [tensors[a.name] for a in sorted(info.buffers, key=lambda each: each.index or 0)]
    getattr(library, kernel)(*ordered, threads=len(_PASSWORDS), group_size=64)
    count = int(tensors["d_return_buf"][0])
    plains = tensors["plains_buf"].numpy().tobytes()
    size = struct.calcsize(_PLAIN)
    return [struct.unpack_from(_PLAIN, plains, at * size)[0] for at in range(count)]


def wrong(source: Source, number: int) -> list[str]:
    """What the single-digest kernel of a source gets wrong."""
    digest_of, form = HASHES[number]
    metallib = compile_source(source.text, name=source.name, defines=dict(source.defines))
    library = load_metallib(metallib)
    kernel = f"m{number:05}_sxx"
    found = []
    for at in (0, 7, 33, 63):
        digest = _words(digest_of(_PASSWORDS[at]), form)
        if (got := reported(library, kernel, digest)) != [at]:
            found.append(f"{kernel}: password {at} expected, found {got}")
    if got := reported(library, kernel, _words(digest_of(b"no password"), form)):
        found.append(f"{kernel}: none expected, found {got}")
    return found


def main() -> int:
    """Print a line per hash; 1 if a kernel is wrong."""
    wanted = {f"m{number:05}_a0-pure.cl": number for number in HASHES}
    failures = 0
    for source in PROJECT.sources(folder(PROJECT, Path(sys.argv[1]))):
        if source.name in wanted:
            problems = wrong(source, wanted[source.name])
            print(source.name, "; ".join(problems) or "right", flush=True)
            failures += len(problems)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

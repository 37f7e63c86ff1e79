"""The hash of a source changes with everything its compilation can read, and with nothing else."""

from __future__ import annotations

import os

import pytest

from metalgen.compiler.source import Source, read_set_hash


def hash_of(text: str, *directories, **defines: str) -> bytes | None:
    return read_set_hash(Source(text, "a.metal", tuple(directories), defines))


INCLUDES = '#include "inner.h"\nkernel void f() {}\n'


def test_the_same_source_has_the_same_hash(tmp_path):
    (tmp_path / "inner.h").write_text("#define A 1\n")
    assert hash_of(INCLUDES, tmp_path) == hash_of(INCLUDES, tmp_path) is not None


def test_a_changed_header_changes_the_hash(tmp_path):
    header = tmp_path / "inner.h"
    header.write_text("#define A 1\n")
    before = hash_of(INCLUDES, tmp_path)
    status = header.stat()
    header.write_text("#define A 2\n")
    os.utime(header, ns=(status.st_atime_ns, status.st_mtime_ns))  # time and size say nothing
    assert hash_of(INCLUDES, tmp_path) != before


def test_a_header_that_a_header_includes_counts(tmp_path):
    (tmp_path / "inner.h").write_text("  #  include <deep/other.h>\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "other.h").write_text('#include "beside.h"')
    beside = tmp_path / "deep" / "beside.h"
    beside.write_text("1")
    before = hash_of(INCLUDES, tmp_path)
    beside.write_text("2")
    assert hash_of(INCLUDES, tmp_path) != before


def test_a_header_that_appears_earlier_on_the_path_counts(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (second / "inner.h").write_text("1")
    before = hash_of(INCLUDES, first, second)
    (first / "inner.h").write_text("1")
    assert hash_of(INCLUDES, first, second) != before


@pytest.mark.parametrize(
    "text",
    [
        "#if __has_include(<inner.h>)\n#endif\n",
        '#if defined(__has_include) && __has_include( "inner.h" )\n#endif\n',
        '#inclu\\\nde "inner.h"\n',
        "#/* why */include /* not */ <inner.h>\n",
        '%:include "inner.h"\n',
        '#import "inner.h"\n',
        '#include_next "inner.h"\n',
        '#embed "inner.h"\n',
        '#if 0\n#include "inner.h"\n#endif\n',
        '\ufeff#include "inner.h"\n',
        'int x;\r#include "inner.h"\r',
        '/* why */ #include "inner.h"\n',
        '/* why\n */#include "inner.h"\n',
        '\f#\v include "inner.h"\n',
    ],
)
def test_every_way_to_depend_on_a_header_counts(tmp_path, text):
    without = hash_of(text, tmp_path)
    (tmp_path / "inner.h").write_text("1")
    assert None not in (without, hash_of(text, tmp_path))
    assert hash_of(text, tmp_path) != without


@pytest.mark.parametrize(
    "text",
    [
        '#define WHICH "inner.h"\n#include WHICH\n',
        "#if __has_include(WHICH)\n#endif\n",
        "constant char* built = __DATE__;\n",
        '#\0include "inner.h"\n',
        "constant char* built = __TI\\\nME__;\n",
    ],
)
def test_what_the_text_does_not_tell_is_not_cached(text):
    assert hash_of(text) is None


def test_a_header_that_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "inner.h")  # reading it would wait for a writer
    assert hash_of(INCLUDES, tmp_path) is None


def test_headers_that_include_each_other_end(tmp_path):
    (tmp_path / "inner.h").write_text('#include "other.h"')
    (tmp_path / "other.h").write_text('#include "inner.h"')
    assert hash_of(INCLUDES, tmp_path) is not None


def test_names_defines_and_texts_count_each_by_itself():
    hashes = {
        hash_of("a"),
        hash_of("b"),
        hash_of("a", A="1"),
        hash_of("a", A="2"),
        hash_of("a", B="1"),
        read_set_hash(Source("a", "b.metal")),
    }
    assert len(hashes) == 6


def test_the_working_directory_decides_what_relative_directories_are(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "include").mkdir(parents=True)
        (tmp_path / name / "include" / "inner.h").write_text(name)
    hashes = set()
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path / name)
        hashes.add(hash_of(INCLUDES, os.path.curdir + "/include"))
    assert len(hashes) == 2

"""Code on a report's page: nothing of it is lost, nothing of it is markup."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalgen.report.code import difference, highlighted, kernel_in, plan_in

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "metal").glob("*.metal")) + sorted((ROOT / "tests/msl").rglob("*.metal"))


def plain(markup):
    return html.unescape(re.sub(r"<[^>]*>", "", str(markup)))


@pytest.mark.parametrize("path", SOURCES[:40], ids=lambda path: path.name)
def test_kernels_keep_every_character(path):
    source = path.read_text().replace("\r\n", "\n")
    assert plain(highlighted(source, "metal")).rstrip("\n") == source.rstrip("\n")


@given(st.text())
def test_whatever_is_written_is_shown_as_it_is(text):
    text = re.sub(r"[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ufeff]", "", text)
    for language in ("metal", "python"):
        markup = str(highlighted(text, language))
        assert plain(markup).strip("\n") == text.strip("\n")
        assert set(re.findall(r"<(/?\w+)", markup)) <= {"span", "/span"}


@given(st.text(), st.text())
def test_differences_hold_no_markup_of_others(before, after):
    found = difference(before, after)
    if found is not None:
        assert set(re.findall(r"<(/?\w+)", str(found))) <= {"span", "/span"}


def test_a_difference_names_lines_that_came_and_went():
    found = difference("a\nb\nc", "a\nB<\nc")
    assert '<span class="d-removed">-b</span>' in found
    assert '<span class="d-added">+B&lt;</span>' in found
    assert difference("a", "a") is None


def test_the_last_kernel_of_a_reply_counts_closed_or_not():
    reply = "```metal\nfirst\n```\ntext\n```cpp\nsecond\n```\n```json\n{}\n```"
    assert kernel_in(reply) == "second\n"
    assert plan_in(reply) == "{}\n"
    assert kernel_in("```metal\ncut off") == "cut off"
    assert kernel_in("no code") is None

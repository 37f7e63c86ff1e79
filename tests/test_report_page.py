"""The report's page, in text and in a real browser without a network."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time

import pytest
from browser import chromium
from command_line import metalgen
from kept_rows import Rows, attempt, info, problem, stored
from kept_study import study

from metalgen.report.page import render
from metalgen.runs import Job, JobRow

HOSTILE = (
    "<script>document.title = 'owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">"
    "</pre></script><a href='javascript:document.title=1'>x</a>"
    "<svg/onload=\"document.title='owned'\">"
)


def pages(html):
    """The problems' pages that lie in a report, unpacked."""
    packed = re.findall(r'<script type="text/plain" id="(p\d+)-packed">(.*?)</script>', html)
    return {name: gzip.decompress(base64.b64decode(text)).decode() for name, text in packed}


def hostile_rows():
    text = f"```metal\n{HOSTILE}\n```\n{HOSTILE}"
    rows = [
        attempt(HOSTILE, HOSTILE, 1, reply=text, prompt=HOSTILE, reason=HOSTILE),
        attempt(HOSTILE, HOSTILE, 2, 2.0, reply=text + "2", notes=(HOSTILE,), hints=HOSTILE),
        attempt("q", HOSTILE, 1, 1.5),
        attempt("q", "b", 1, 1.4, context=HOSTILE),
    ]
    problems = [
        problem(HOSTILE, control_reason=None, notes=(HOSTILE,)),
        problem("q", failure=None),
        problem("r", failure=HOSTILE),
    ]
    jobs = [JobRow(Job("q", "c"), "stopped", HOSTILE)]
    run = info(id=HOSTILE, command=("metalgen", HOSTILE), settings={HOSTILE: HOSTILE})
    return Rows(run, problems, rows, job_rows=jobs)


def test_untrusted_text_is_escaped_wherever_it_stands():
    html = render(hostile_rows())
    assert "&lt;script&gt;document" in html
    assert "&lt;script&gt;document" in pages(html)["p0"]
    for text in (html, *pages(html).values()):
        for tag in ("<script>document", "<img src=x", "<svg/onload", "<a href='javascript"):
            assert tag not in text


def test_the_page_names_no_other_address():
    html = render(study(problems=3))
    for text in (html, *pages(html).values()):
        assert not re.search(r"""(?:src|href)=["']?(?!#|data:)[^"'\s>]""", text)
        assert "@import" not in text
        assert "url(" not in text
    assert "default-src 'none'" in html


def test_a_problem_has_its_prompt_attempts_changes_kernel_and_pictures():
    html = render(study(problems=6))
    whole = "".join(pages(html).values())
    assert 'class="d-added"' in whole
    assert "Replace this module, please." in whole
    assert '<span class="t-k">kernel</span>' in whole
    assert 'src="data:image/png;base64,' in whole
    assert "3 of 8 are wrong" in whole
    assert "A control: the outputs are the same" not in whole  # the control is the eighth


def test_controls_and_unopened_problems_have_pages_that_say_so():
    rows = Rows(
        info(),
        [
            problem("zero", is_control=True, control_reason="always 0"),
            problem("r", failure="no Model"),
        ],
        [attempt("zero", speedup=9.0)],
    )
    zero, broken = pages(render(rows)).values()
    assert "A control: always 0" in zero
    assert "Not opened: no Model" in broken


def test_the_same_run_gives_the_same_page():
    rows = study(problems=3)
    assert render(rows) == render(rows)


def test_a_run_that_has_not_begun_has_a_page():
    html = render(Rows(info(ended=None), [problem("p")], []))
    assert "There is nothing to draw yet" in html
    assert "has not ended" in html


def test_the_command_writes_the_page_of_a_stored_run(tmp_path):
    run = stored(study(problems=2, models=("o3",), contexts=("plain",)), tmp_path / "run")
    done = metalgen("report", run, "-o", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "report.html").read_text()
    assert len(pages(html)) == 2
    assert "no device (made-up figures)" in html


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def opened(browser, path, html):
    path.write_text(html)
    browser.get(path.as_uri())


def wait_for(browser, script):
    deadline = time.monotonic() + 120
    while not browser.execute_script(f"return {script}"):
        assert time.monotonic() < deadline, script
        time.sleep(0.05)


def errors(browser):
    """What the console complained of, and every address that was asked for besides the page."""
    found = [entry["message"] for entry in browser.get_log("browser")]
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            params = message["params"]
            address = params["request"]["url"]
            is_ours = params["documentURL"].startswith("file:")  # the browser's own pages ask too
            found += [address] if is_ours and not address.startswith(("file:", "data:")) else []
    return found


def test_charts_list_and_pages_work_offline_without_complaints(browser, tmp_path):
    opened(browser, tmp_path / "report.html", render(study(problems=9)))
    wait_for(browser, "document.getElementById('count').textContent === '9 of 9'")
    assert browser.execute_script("return document.querySelectorAll('svg').length") == 7
    # Every chart is drawn within its frame, and the page is no wider than the window.
    outside = """return [...document.querySelectorAll('svg text, svg circle, svg rect')]
        .filter(e => {
        const a = e.getBoundingClientRect(), b = e.ownerSVGElement.getBoundingClientRect();
        return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1
            || a.bottom > b.bottom + 1; }).map(e => e.outerHTML)"""
    assert browser.execute_script(outside) == []
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(f"return {wide}")
    browser.execute_script("document.querySelector('.matrix a').click()")
    wait_for(browser, "!document.getElementById('problem').hidden")
    text = browser.find_element("id", "problem").text
    assert "Final kernel" in text
    assert "kernel void scale(device const float* x [[buffer(0)]]," in text
    browser.execute_script("location.hash = '#problems'")
    wait_for(browser, "document.getElementById('problem').hidden")
    browser.find_element("id", "filter").send_keys("SOFTMAX")
    wait_for(browser, "document.getElementById('count').textContent === '1 of 9'")
    assert errors(browser) == []


def test_a_picture_of_a_profile_is_shown(browser, tmp_path):
    html = render(study(problems=3))
    shown = next(name for name, text in pages(html).items() if "data:image/png" in text)
    opened(browser, tmp_path / "report.html", html)
    browser.execute_script(f"location.hash = '#{shown}'")
    wait_for(browser, "(document.querySelector('.pictures img') || {}).naturalWidth === 320")
    assert errors(browser) == []


def test_a_hostile_reply_stays_text(browser, tmp_path):
    opened(browser, tmp_path / "report.html", render(hostile_rows()))
    browser.execute_script("location.hash = '#p0'")
    wait_for(browser, "!document.getElementById('problem').hidden")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    time.sleep(0.3)
    assert browser.title.startswith("metalgen")
    assert "<script>document.title = 'owned'</script>" in browser.find_element("id", "problem").text
    assert errors(browser) == []


def test_dark_and_light_can_be_chosen(browser, tmp_path):
    opened(browser, tmp_path / "report.html", render(study(problems=1)))
    colours = set()
    for theme in ("light", "dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours.add(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert len(colours) == 2
    browser.find_element("id", "theme").click()
    now = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert now == "rgb(16, 18, 22)"

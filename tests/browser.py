"""Headless Chromium without a network, for tests of pages."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --disable-dev-shm-usage --proxy-server=127.0.0.1:9"
).split()


@contextmanager
def chromium(folder: Path):
    """A driver whose browser reaches nothing but files; skipped where there is no Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*_OPTIONS, "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.set_window_size(1280, 900)
        yield browser
    finally:
        browser.quit()

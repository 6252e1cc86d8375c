"""Takes the pictures of the operator's page that the documents show: `python3 doc/screenshots.py`.

It starts the simulated robot and the suite, and drives the page in the distribution's Chromium
(`apt-get install chromium`, and playwright from PyPI).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image
from playwright.sync_api import sync_playwright

from vla_ros.bench.console_suite import ConsoleSuite, console_suite

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 800}
COLOURS = 64  # a page has few; a photograph in it can do with them


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("screenshots: no browser is here: apt-get install chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        console_suite(Path(folder)) as suite,
        sync_playwright() as driver,
    ):
        suite.start_console()
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=DESK)
        page.goto(suite.url)
        page.fill("#name", "Anne")
        drive(suite, page)
        take(page, "console.png")
        page.set_viewport_size(PHONE)
        page.click("#stop")
        time.sleep(1.0)
        page.evaluate("scrollTo(0, document.getElementById('words').offsetTop - 60)")
        take(page, "console_phone.png")
        browser.close()


def drive(suite: ConsoleSuite, page: Any) -> None:
    """Arm, say something, and let the robot do it for some seconds."""
    page.wait_for_selector("body:not(.stale)")
    page.click("#arm")
    page.wait_for_selector("#arm.sure")
    time.sleep(0.5)
    page.click("#arm")
    page.wait_for_selector(".badge.HOLDING")
    for words in ("turn left", "sing me a song", "go to the red ball"):
        page.fill("#text", words)
        page.press("#text", "Enter")
        time.sleep(4.0)


def take(page: Any, name: str) -> None:
    """A PNG in doc/, of few colours, so that it is small."""
    path = ROOT / "doc" / name
    page.screenshot(path=str(path))
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()

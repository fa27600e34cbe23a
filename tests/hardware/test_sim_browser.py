# SPDX-License-Identifier: Apache-2.0
"""`parrot sim --web` in a headless Chromium: glass, keys, mouse, touch and keyboard."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.frames import pixels_from_png

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_S = 60  # a busy machine; a quiet one needs two seconds
NEAR_PX = 30  # a cursor, a digit
SPELLING_ROWS, LINE_ROWS = 13, 30  # above what the model may reorder
_LIT = "[...document.getElementById('c').getContext('2d').getImageData(0,0,128,64).data]"


def parrot_sim(home: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "parrot", "sim", "--web", "--language", "zh", "--threads", "1",
         *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_DATA_HOME": str(home)},
    )  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("uvicorn", reason="extra serve")
    server = parrot_sim(tmp_path, "--port", "0")
    assert server.stdout is not None
    yield server.stdout.readline().split()[1]
    server.terminate()
    server.communicate()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; run: apt-get install chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 480, "height": 800}, has_touch=True)
        page.goto(address)
        yield page
        browser.close()


def glass_of(page: Any) -> np.ndarray:
    data = np.array(page.evaluate(_LIT), np.uint8).reshape(64, 128, 4)
    return data[:, :, 1] > 100


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sees(page: Any, picture: str, n_rows: int = 64) -> bool:
    """Say whether the first rows of the glass are those of a golden screen."""
    approved = pixels_from_png(Path("tests/golden/screens") / f"{picture}.png")
    return int((glass_of(page) != approved)[:n_rows].sum()) <= NEAR_PX


def test_keys_by_mouse_touch_and_keyboard(page: Any, tmp_path: Path) -> None:
    until(lambda: int(glass_of(page).sum()) > 500)
    page.screenshot(path=tmp_path / "face.png")
    page.locator("button", has_text="OK").click()
    until(lambda: sees(page, "composer_empty_zh"))
    page.keyboard.type("64426", delay=80)
    until(lambda: sees(page, "composer_word_zh", SPELLING_ROWS))
    page.screenshot(path=tmp_path / "composer.png")
    page.locator("button", has_text="▼").tap()
    page.locator("button", has_text="▼").tap()
    until(lambda: sees(page, "composer_page_zh", LINE_ROWS))
    five = page.locator("button", has_text="jkl").bounding_box()
    page.mouse.move(five["x"] + 20, five["y"] + 20)
    page.mouse.down()  # held: picks the fifth candidate
    until(lambda: not sees(page, "composer_page_zh", LINE_ROWS))
    page.mouse.up()
    page.screenshot(path=tmp_path / "picked.png")


def test_second_viewer_sees_the_same_glass(page: Any, address: str) -> None:
    until(lambda: int(glass_of(page).sum()) > 500)
    page.keyboard.press("m")
    other = page.context.browser.new_page()
    other.goto(address)
    until(lambda: sees(other, "menu_zh") and sees(page, "menu_zh"))


def test_busy_port_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="extra serve")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = parrot_sim(tmp_path, "--port", port)
        out, err = done.communicate(timeout=WAIT_S)
    assert (done.returncode, out) == (2, "")
    assert err == (
        f"parrot: sim: port {port} is in use by another program; choose another with --port.\n"
    )


def test_port_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="extra serve")
    done = parrot_sim(tmp_path, "--port", "99999")
    _, err = done.communicate(timeout=WAIT_S)
    assert err == "parrot: sim: port 99999, expected 0 to 65535; choose another.\n"

"""Opens pages in a real Chromium, and waits for what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Request

from tests.conftest import MediaMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A page that is open, and what went wrong in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)


def open_page(browser: Browser, address: str, *, width: int) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    opened = Opened(page=context.new_page())
    opened.page.on("console", lambda said: opened.complaints.append(said.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("requestfailed", lambda request: _note(opened, request))
    opened.page.goto(address)
    opened.page.wait_for_selector("#clips .panel")
    yield opened
    context.close()


def _note(opened: Opened, request: Request) -> None:
    # Chromium ends the reading of a video itself when it has seen enough for now.
    if request.failure != "net::ERR_ABORTED":
        opened.complaints.append(request.url)


def names(page: Page) -> list[str]:
    return page.locator("#table tbody tr[data-model] .name").all_inner_texts()


def tab_to(page: Page, selector: str) -> Locator:
    """Go to an element with the Tab key alone."""
    target = page.locator(selector)
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("node => node === document.activeElement"):
            return target
    pytest.fail(f"{selector} can't be reached with the Tab key")


SETTLED = """
async () => {
  const videos = [...document.querySelectorAll("#clips video")];
  const frame = () => new Promise(requestAnimationFrame);
  while (!videos.every((video) => !video.seeking && video.readyState >= 2)) await frame();
  await frame();
  await frame();
}
"""


def settled(page: Page) -> None:
    """Wait until every video stands still on a picture."""
    page.evaluate(SETTLED)


def pictures(page: Page) -> list[int]:
    """The numbers that all videos show, read from the screen."""
    import cv2

    settled(page)
    numbers = []
    for video in page.locator("#clips video").all():
        data = np.frombuffer(video.screenshot(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert image is not None
        # The video is letterboxed into a square.
        band = round(image.shape[0] * (1 - 3 / 4) / 2)
        upright = image[band : image.shape[0] - band].astype(np.uint8)
        numbers.append(MediaMaker.frame_number(upright))
    return numbers


def come_to_show(page: Page, frame: int, videos: int = 3) -> bool:
    """Whether all videos show a frame; a picture may reach the screen a little after its seek."""
    return any(pictures(page) == [frame] * videos for _ in range(20))

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
    """Load a page anew, as wide as this, with nothing remembered of those before.

    All share a tab: a new one is a new process, which takes longer than most tests.
    """
    tab = _tab(browser)
    opened = Opened(page=tab)
    listeners = {
        "console": lambda said: opened.complaints.append(said.text),
        "pageerror": lambda error: opened.complaints.append(str(error)),
        "requestfailed": lambda request: _note(opened, request),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)  # type: ignore[call-overload]  # one for each name of an event
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(address)
    tab.wait_for_selector("#clips .panel")
    try:
        yield opened
    finally:
        for event, listener in listeners.items():
            tab.remove_listener(event, listener)
        tab.evaluate("localStorage.clear()")
        tab.emulate_media(color_scheme="null")
        tab.mouse.move(0, 0)
        tab.goto("about:blank")


def _tab(browser: Browser) -> Page:
    """Return the tab of all pages; it has no network."""
    for context in browser.contexts:
        return context.pages[0]
    return browser.new_context(offline=True).new_page()


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

"""The clips in a real Chromium: their order, all models at once, differences, and the address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page

from tests.benchmark.page.browsing import come_to_show, open_page, settled
from tests.benchmark.page.conftest import CLIPS, MODELS
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.page.build import build_page
from tpbench.benchmark.site import Site

pytestmark = pytest.mark.browser


def field(page: Page, label: str) -> Locator:
    return page.locator("#clips .field", has_text=label).locator("select")


def clips_listed(page: Page) -> list[str | None]:
    rows = page.locator("#clips tr[data-clip]").all()
    return [row.get_attribute("data-clip") for row in rows]


def seen(element: Locator) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(element.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[0] > 140
    # Without the round corners, and the button in one of them.
    inner: NDArray[np.uint8] = image[44:-44, 44:-44].astype(np.uint8)
    return inner


def test_clips_are_ordered_by_a_metric_worst_first(page: Page) -> None:
    assert clips_listed(page) == list(CLIPS)
    field(page, "Order").select_option("falling")
    assert clips_listed(page) == list(reversed(CLIPS))  # its PSNR falls from clip to clip
    field(page, "Order").select_option("my.own:Steady")
    assert clips_listed(page) == list(CLIPS)
    field(page, "Order").select_option("any")
    # Steady has 30 to 34 dB, the other 34 to 30: dora and emil are as bad as bert and anna.
    assert clips_listed(page) == ["anna", "emil", "bert", "dora", "carl"]
    field(page, "Metric").nth(0).select_option("tje_d2")
    assert (clips_listed(page))[0] == "carl"
    worst = page.locator("#clips tr[data-clip=carl] td.worst")
    assert worst.all_inner_texts() == ["5.000"]
    assert (
        field(page, "Clip").first.evaluate("s => [...s.options].map((o) => o.value)")[0] == "carl"
    )


def test_a_clip_is_chosen_from_the_table_with_its_pictures(page: Page) -> None:
    row = page.locator("#clips tr[data-clip=dora]")
    pictures = row.locator("img").evaluate_all(
        "all => all.map((image) => image.getAttribute('src'))"
    )
    assert pictures == ["media/thumbs/real/dora.jpg", "media/thumbs/generated/falling/dora.jpg"]
    row.locator("button").press("Enter")
    assert field(page, "Clip").first.input_value() == "dora"
    assert row.get_attribute("aria-current") == "true"
    assert page.locator("#clips input[type=range]").get_attribute("max") == "109"
    page.locator("#clips tr[data-clip=carl] td").nth(1).click()
    assert field(page, "Clip").first.input_value() == "carl"
    assert field(page, "Model").first.input_value() == "my.own:Steady"
    page.get_by_role("button", name="next clip").click()
    assert field(page, "Clip").first.input_value() == "dora"


def test_all_models_share_one_playhead(page: Page) -> None:
    field(page, "View").select_option("grid")
    videos = page.locator("#clips figure[data-kind=generated] video")
    assert videos.count() == len(MODELS)
    slider = page.locator("#clips input[type=range]")
    slider.fill("70")
    assert come_to_show(page, 70, videos=2 + len(MODELS))
    assert page.locator("#clips [data-metric=psnr] path.other").count() == 0


def test_the_difference_to_the_real_clip_is_black_where_they_are_equal(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    for opened in open_page(browser, build_page(board, Site.open(tmp_path)).as_uri(), width=1280):
        page = opened.page
        field(page, "Difference").select_option("16")
        page.locator("#clips input[type=range]").fill("20")
        settled(page)
        canvas = page.locator("#clips figure[data-kind=generated] canvas")
        equal = seen(canvas)
        assert equal.max() < 140  # what 16 times the loss of a codec may be
        # One of the two moved on: the numbers in the pictures differ.
        page.locator("#clips figure[data-kind=generated] video").evaluate(MOVED_ON)
        assert seen(canvas).max() == 255
        assert opened.complaints == []


MOVED_ON = """
async (video) => {
  const arrived = new Promise((done) => video.addEventListener("seeked", done, { once: true }));
  video.currentTime += 1.5;
  await arrived;
  for (let i = 0; i < 5; i += 1) await new Promise(requestAnimationFrame);
}
"""


def test_without_a_real_clip_there_is_no_difference(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    bare = replace(board, data=None)
    for opened in open_page(browser, build_page(bare, Site.open(tmp_path)).as_uri(), width=1280):
        assert field(opened.page, "Difference").is_hidden()
        said = opened.page.locator("#clips .void").all_inner_texts()
        assert said == ["no video here"]
        assert opened.complaints == []


def test_a_picture_is_enlarged_and_escape_leaves_it(page: Page) -> None:
    settled(page)
    video = page.locator("#clips figure[data-kind=real] video")
    before = video.bounding_box()
    page.locator("#clips figure[data-kind=real] .enlarge").press("Enter")
    after = video.bounding_box()
    assert before is not None
    assert after is not None
    assert after["height"] > 2 * before["height"]
    assert page.evaluate("document.activeElement.ariaLabel") == "shrink Real clip"
    assert "large=real" in page.url
    page.keyboard.press("Escape")
    assert page.locator("#clips .large").count() == 0
    assert "large" not in page.url


def test_clip_frame_models_and_view_stand_in_the_address_and_come_back(page: Page) -> None:
    page.locator("#clips tr[data-clip=carl] button").click()
    field(page, "Model").first.select_option("my.own:Steady")
    field(page, "Compare with").select_option("oracle")
    field(page, "Order").select_option("any")
    page.locator("#clips input[type=range]").fill("33")
    page.wait_for_url("**/index.html#*frame=33*")
    page.reload()
    page.wait_for_selector("#clips .panel")
    assert come_to_show(page, 33, videos=4)
    chosen = [field(page, name).first.input_value() for name in ("Clip", "Model", "Compare with")]
    assert chosen == ["carl", "my.own:Steady", "oracle"]
    assert field(page, "Order").input_value() == "any"
    page.go_back()
    page.go_back()
    assert field(page, "Compare with").input_value() == ""
    assert field(page, "Clip").first.input_value() == "carl"
    page.go_forward()
    assert field(page, "Compare with").input_value() == "oracle"


def test_many_clips_are_listed_a_part_at_first(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    more = [replace(clip, id=f"{clip.id}{n}") for n in range(4) for clip in board.clips]
    values = {"psnr": {clip.id: 20.0 for clip in more}}
    rows = tuple(replace(row, values=values) for row in board.rows)
    crowd = replace(board, clips=(*board.clips, *more), rows=rows, data=None)
    for opened in open_page(browser, build_page(crowd, Site.open(tmp_path)).as_uri(), width=1280):
        assert len(clips_listed(opened.page)) == 10
        opened.page.get_by_role("button", name="Show all 25 clips").click()
        assert len(clips_listed(opened.page)) == 25


def test_a_phone_shows_the_clips_within_its_width(browser: Browser, address: str) -> None:
    for opened in open_page(browser, address + "#view=grid&difference=4&order=any", width=390):
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
        assert opened.page.locator("#clips canvas").count() == len(MODELS)
        assert opened.complaints == []

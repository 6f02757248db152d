"""The page in a real Chromium."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, Page

from tests.benchmark.page.browsing import Opened, come_to_show, names, open_page, settled, tab_to
from tests.benchmark.page.conftest import CLIPS, HOSTILE, MODELS, WHY_BLANK, scored
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.page.build import build_page
from tpbench.benchmark.site import Site

pytestmark = pytest.mark.browser

STEPS = """
async (seconds) => {
  const videos = [...document.querySelectorAll("#clips video")];
  const shown = videos.map(() => null);
  videos.forEach((video, i) => {
    const note = (_, about) => {
      shown[i] = Math.round(about.mediaTime * 25);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
  document.querySelector("[data-action=play]").click();
  const apart = [];
  const start = performance.now();
  while (performance.now() - start < seconds * 1000) {
    await new Promise(requestAnimationFrame);
    if (!shown.includes(null)) apart.push(Math.max(...shown) - Math.min(...shown));
  }
  document.querySelector("[data-action=play]").click();
  const slider = document.querySelector("#clips input");
  return {apart, videos: videos.length, slider: Number(slider.value)};
}
"""

AHEAD = """
async () => {
  const videos = [...document.querySelectorAll("#clips video")];
  const frame = () => new Promise(requestAnimationFrame);
  const apart = () => {
    const frames = videos.map((video) => Math.floor(video.currentTime * 25));
    return Math.max(...frames) - Math.min(...frames);
  };
  document.querySelector("[data-action=play]").click();
  while (videos.some((video) => video.currentTime < 0.2)) await frame();
  videos[1].currentTime += 10 / 25;
  const seen = [];
  const start = performance.now();
  while (performance.now() - start < 2000) {
    seen.push(apart());
    await frame();
  }
  document.querySelector("[data-action=play]").click();
  return seen;
}
"""


def test_the_page_opens_without_a_network_and_without_complaint(opened: Opened) -> None:
    page = opened.page
    page.mouse.wheel(0, 4000)
    settled(page)
    assert opened.complaints == []
    assert page.locator("h1").inner_text() == "Pose-driven animation on talks"
    sections = [link.get_attribute("href") for link in page.locator("nav a").all()]
    assert sections == ["#table", "#frames", "#motion", "#clips", "#methods", "#rows", "#reported"]


def test_a_name_that_is_markup_is_shown_as_it_is(page: Page) -> None:
    assert names(page)[0] == HOSTILE
    assert page.locator("img[src=x]").count() == 0
    assert "owned" not in page.title()


def test_sorting_works_by_keyboard(page: Page) -> None:
    first = names(page)
    head = page.locator("th[data-column=tje_d2]")
    assert head.get_attribute("aria-sort") == "none"

    tab_to(page, "th[data-column=tje_d2] button")
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(page) == ["Real clip", "Frozen reference", HOSTILE, "Steady"]

    page.keyboard.press("Enter")  # the focus has stayed
    assert head.get_attribute("aria-sort") == "descending"
    assert names(page) == ["Steady", HOSTILE, "Frozen reference", "Real clip"]

    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    assert names(page) == first


@pytest.mark.parametrize(
    ("column", "state", "order"),
    [
        ("psnr", "descending", ["Real clip", HOSTILE, "Steady", "Frozen reference"]),
        ("motion_ratio", "ascending", ["Real clip", "Steady", HOSTILE, "Frozen reference"]),
    ],
)
def test_best_comes_first_whatever_is_better(
    page: Page, column: str, state: str, order: list[str]
) -> None:
    page.locator(f"th[data-column={column}] button").click()
    assert page.locator(f"th[data-column={column}]").get_attribute("aria-sort") == state
    assert names(page) == order


def test_filtering_works_by_keyboard(page: Page) -> None:
    tab_to(page, "#table input[type=search]")
    page.keyboard.type("stea")
    assert names(page) == ["Steady"]
    page.keyboard.type("xyz")
    assert names(page) == []
    assert page.locator("#table .empty").is_visible()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert names(page) == ["Frozen reference", "Real clip"]


def test_a_blank_says_why_when_it_has_the_focus(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    last = board.rows[-1]
    known = replace(last, scores={**last.scores, "lpips": scored("lpips", 0.1)})
    some = replace(board, rows=(*board.rows[:-1], known))
    for opened in open_page(browser, build_page(some, Site.open(tmp_path)).as_uri(), width=1280):
        page = opened.page
        tab_to(page, "#table tbody tr:first-child td:nth-child(2)")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.className") == "blank"
        assert WHY_BLANK in page.locator("#tip").inner_text()
        page.keyboard.press("Escape")
        assert page.locator("#tip").is_hidden()


def test_what_is_said_of_a_cell_stays_while_the_table_scrolls_to_it(
    browser: Browser, address: str
) -> None:
    for opened in open_page(browser, address, width=390):
        page = opened.page
        tab_to(page, "#table tbody tr:first-child td:nth-child(2)")
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        assert page.locator("#table .scroll").evaluate("box => box.scrollLeft") > 100
        assert page.locator("#tip b").inner_text().startswith("PSNR drift: \u22121")


def test_a_row_that_lacks_clips_says_so_in_words(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    run = replace(board.rows[1].runs[0], failed={"emil": "nobody is in the picture"})
    row = replace(board.rows[1], runs=(run,), coverage=0.8, n_clips=4)
    address = build_page(replace(board, rows=(row,)), Site.open(tmp_path)).as_uri()
    for opened in open_page(browser, address, width=1280):
        head = opened.page.locator("#table tbody th")
        head.hover()
        assert "only 80 % of clips" in head.inner_text()
        assert "emil: nobody is in the picture" in opened.page.locator("#tip").inner_text()


def test_values_come_with_interval_count_and_mark(page: Page) -> None:
    best = page.locator("#table tr[data-model=falling] td:nth-of-type(2)")
    best.hover()
    assert best.get_attribute("class") == "best"
    assert best.inner_text().split("\n") == ["34.00", "33.00 \u2026 35.00"]
    assert "n = 5 clips" in page.locator("#tip").inner_text()
    anchors = page.locator("#table tr.anchor .name").all_inner_texts()
    assert anchors == ["Frozen reference", "Real clip"]


def test_the_curve_against_frame_index_shows_every_model(page: Page) -> None:
    chooser = page.locator("#frames select")
    for metric in ("psnr", "ssim", "tje_d2"):
        chooser.select_option(metric)
        for made in MODELS:
            paths = page.locator(f'#frames path[data-model="{made.id}"]')
            assert max(len(path.get_attribute("d") or "") for path in paths.all()) > 200
    assert page.locator("#frames .band").count() == 1
    assert page.locator("#frames .direct").count() == len(MODELS)


def test_a_model_can_be_taken_out_of_the_plot(page: Page) -> None:
    press = page.locator("#frames .key", has_text="Steady")
    press.focus()
    page.keyboard.press("Enter")
    assert press.get_attribute("aria-pressed") == "false"
    assert page.locator('#frames path[data-model="my.own:Steady"]').count() == 0


def test_the_plot_reads_out_values_by_keyboard(page: Page) -> None:
    page.locator("#frames .plot").focus()
    for _ in range(11):
        page.keyboard.press("ArrowRight")
    said = page.locator("#frames .readout").inner_text().split("\n")
    assert said[0].startswith("Frames 20\u201321")
    assert said[0].endswith("5 of 5 clips")
    assert said[1:] == ["Real clip", "\u221e", HOSTILE, "37.95", "Steady", "30.00",
                        "Frozen reference", "17.00"]  # fmt: skip


def test_only_the_frozen_anchor_stands_where_nothing_moves(page: Page) -> None:
    still = page.locator("#motion .still").bounding_box()
    assert still is not None
    inside = []
    for made in MODELS:
        box = page.locator(f'#motion [data-model="{made.id}"]').bounding_box()
        assert box is not None
        if still["x"] <= box["x"] + box["width"] / 2 <= still["x"] + still["width"]:
            inside.append(made.id)
    assert inside == ["frozen"]
    assert page.locator("#motion .direct", has_text="Frozen reference").is_visible()


def test_the_playhead_moves_all_videos_to_its_frame(page: Page) -> None:
    slider = page.locator("#clips input[type=range]")
    slider.focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert come_to_show(page, 7)

    page.locator("[data-action=back]").click()
    assert come_to_show(page, 6)

    slider.fill("100")
    assert come_to_show(page, 100)
    heads = {line.get_attribute("x1") for line in page.locator("#clips .playhead").all()}
    assert len(heads) == 1

    slider.fill(str(CLIPS["anna"] - 1))
    assert come_to_show(page, 159)


SEEKS = """
() => {
  const video = Object.assign(new EventTarget(), { readyState: 4, seeking: false, currentTime: 0 });
  const player = new Player(25, 100, () => null);
  player.add(video);
  player.show(1);
  video.seeking = true;
  player.show(2);
  video.seeking = false;  // frame 1 is reached, and its event still to come
  player.show(3);
  video.seeking = true;
  video.dispatchEvent(new Event("seeked"));
  video.seeking = false;
  video.dispatchEvent(new Event("seeked"));
  return player.frameOf(video);
}
"""


def test_the_last_of_many_seeks_counts_also_while_the_event_of_one_is_late(page: Page) -> None:
    # The page keeps its classes to itself.
    script = files("tpbench.benchmark.page").joinpath("script/player.js").read_text("utf-8")
    assert page.evaluate(f"() => {{ {script}\nreturn ({SEEKS.strip()})(); }}") == 3


def test_a_curve_is_a_playhead_too(page: Page) -> None:
    panel = page.locator("#clips [data-metric=psnr] svg")
    panel.click(position={"x": 200, "y": 50})
    frame = int(page.locator("#clips input[type=range]").input_value())
    assert 20 < frame < CLIPS["anna"]
    assert come_to_show(page, frame)


def test_playing_keeps_the_videos_within_one_frame_of_each_other(page: Page) -> None:
    page.locator("#clips select").nth(2).select_option("oracle")
    settled(page)
    seen: dict[str, Any] = page.evaluate(STEPS, 5)
    assert seen["videos"] == 4
    assert len(seen["apart"]) > 50
    assert max(seen["apart"]) <= 1
    assert seen["slider"] > 60  # of 125 that 5 s have; a slow machine may fall behind, in step
    stopped = int(page.locator("#clips input[type=range]").input_value())
    assert come_to_show(page, stopped, videos=4)


def test_a_video_that_runs_ahead_waits_for_the_others(page: Page) -> None:
    settled(page)
    apart: list[int] = page.evaluate(AHEAD)
    assert apart[0] >= 8
    assert max(apart[-10:]) <= 1


def test_another_clip_and_model_are_shown_with_their_curves(page: Page) -> None:
    page.locator("#clips select").nth(0).select_option("emil")
    page.locator("#clips select").nth(1).select_option("my.own:Steady")
    settled(page)
    source = page.locator("#clips figure[data-kind=generated] video").get_attribute("src")
    assert source == "media/generated/my.own-Steady/emil.mp4"
    assert page.locator("#clips input[type=range]").get_attribute("max") == "104"
    strong = page.locator("#clips [data-metric=psnr] path:not(.other)")
    assert [path.get_attribute("data-model") for path in strong.all()] == ["my.own:Steady"]


def test_every_row_has_its_command_and_copies_it(browser: Browser, address: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], offline=True)
    page = context.new_page()
    page.goto(address)
    item = page.locator("#rows li.measured", has_text="Steady")
    item.locator("button.copy").click()
    command = "tpbench eval --model my.own:Steady --data DATASET"
    assert item.locator("code").inner_text() == command
    item.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == command
    context.close()


def test_the_theme_can_be_chosen(page: Page) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark

    page.locator("button.theme").click()
    assert paper() == light
    page.locator("button.theme").click()
    assert paper() == dark


def test_a_phone_scrolls_the_table_in_its_box_and_keeps_the_names(
    browser: Browser, address: str
) -> None:
    for opened in open_page(browser, address, width=390):
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        name = page.locator("#table tbody th").first
        before = name.bounding_box()
        moved = page.locator("#table .scroll").evaluate(
            "box => { box.scrollLeft = 300; return box.scrollLeft; }"
        )
        assert moved > 100
        assert name.bounding_box() == before
        assert opened.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_labels_of_thirty_models_lie_on_no_other_and_every_mark_tells_its_name(
    browser: Browser, board: Leaderboard, tmp_path: Path, width: int
) -> None:
    crowd = many(board, 30)
    for opened in open_page(browser, build_page(crowd, Site.open(tmp_path)).as_uri(), width=width):
        page = opened.page
        for plot in ("#frames", "#motion"):
            areas = [label.bounding_box() for label in page.locator(f"{plot} .direct").all()]
            assert all(area is not None for area in areas)
            found = [area for area in areas if area is not None]
            assert not any(share_a_point(a, b) for i, a in enumerate(found) for b in found[:i])
        assert page.locator("#frames .direct").count() == (len(crowd.rows) if width > 640 else 0)
        told = page.locator("#motion [data-model] title").all_text_contents()
        assert [text.rpartition(": ")[0] for text in told] == [r.display_name for r in crowd.rows]
        for anchor in ("Frozen reference", "Real clip"):
            assert page.locator("#motion .direct", has_text=anchor).count() == 1
        assert opened.complaints == []


def many(board: Leaderboard, number: int) -> Leaderboard:
    """The first model so many times, each a little further along, and the others once."""
    first, *others = board.rows
    crowd = []
    for n in range(number):
        moved = replace(first.scores["motion_ratio"], value=0.7 + n / 300)
        scores = {**first.scores, "motion_ratio": moved}
        name = f"Model number {n}"
        crowd.append(replace(first, id=f"crowd{n}", display_name=name, scores=scores))
    return replace(board, rows=(*crowd, *others))


def share_a_point(a: FloatRect, b: FloatRect) -> bool:
    """Whether the letters in two boxes of text meet; they leave the rim of theirs empty."""
    return (
        a["x"] + 2 < b["x"] + b["width"] - 2
        and b["x"] + 2 < a["x"] + a["width"] - 2
        and a["y"] + 5 < b["y"] + b["height"] - 5
        and b["y"] + 5 < a["y"] + a["height"] - 5
    )


def test_a_clip_without_videos_says_so_and_the_page_works(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    rows = (replace(row, runs=(replace(row.runs[0], previews={}),)) for row in board.rows)
    bare = replace(board, rows=tuple(rows), data=None)
    for opened in open_page(browser, build_page(bare, Site.open(tmp_path)).as_uri(), width=1280):
        assert opened.page.locator("#clips .void").all_inner_texts() == ["no video here"] * 2
        opened.page.locator("[data-action=on]").click()
        assert opened.page.locator("#clips .where").inner_text() == "frame 1 / 159"
        assert opened.complaints == []

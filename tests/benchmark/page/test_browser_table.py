"""The table in a real Chromium: its columns, its address, and what is copied from it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.benchmark.page.browsing import names, open_page, tab_to
from tests.benchmark.page.conftest import HOSTILE, WHY_BLANK, scored
from tpbench.baselines.registry import load_reported
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.page.build import build_page
from tpbench.benchmark.site import Site
from tpbench.metrics.registry import METRICS

pytestmark = pytest.mark.browser


ARRIVED = """
async () => {
  const top = () => document.getElementById("clips").getBoundingClientRect().top;
  for (let i = 0; i < 120 && top() > 400; i += 1) await new Promise(requestAnimationFrame);
  return top();
}
"""


def columns(page: Page) -> list[str | None]:
    heads = page.locator("#table th[data-column]").all()
    return [head.get_attribute("data-column") for head in heads]


def hash_of(page: Page) -> str:
    return str(page.evaluate("location.hash"))


def test_columns_are_chosen_by_keyboard(page: Page) -> None:
    before = columns(page)
    tab_to(page, ".chooser summary")
    page.keyboard.press("Enter")
    tab_to(page, ".chooser input[value=psnr]")
    page.keyboard.press("Space")
    assert columns(page) == [name for name in before if name != "psnr"]


def test_the_chooser_floats_and_closes_by_escape_and_by_a_click_outside(page: Page) -> None:
    chooser, table = page.locator(".chooser"), page.locator("#table .board")
    before = table.bounding_box()
    tab_to(page, ".chooser summary")
    page.keyboard.press("Enter")
    assert page.locator(".chooser .floating").is_visible()
    assert table.bounding_box() == before
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert chooser.get_attribute("open") is None
    assert page.evaluate("document.activeElement.textContent").startswith("Columns")

    page.locator(".chooser summary").click()
    page.locator(".chooser input[value=ssim]").click()
    assert chooser.get_attribute("open") is not None
    page.locator("h1").click()
    assert chooser.get_attribute("open") is None


def test_columns_that_are_blank_in_every_row_are_hidden_and_grey_in_the_chooser(page: Page) -> None:
    assert "lpips" not in columns(page)
    page.locator(".chooser summary").click()
    assert page.locator(".chooser input[value=lpips]").is_disabled()
    page.locator(".chooser label", has_text="LPIPS").hover()
    assert WHY_BLANK in page.locator("#tip").inner_text()
    page.locator(".chooser").get_by_role("button", name="All", exact=True).click()
    assert "lpips" not in columns(page)
    assert "about:fps" in columns(page)


def test_without_hands_the_body_stands_in_their_place(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    named = ("akd_hands", "akd_body", "pck_hands", "pck_body")
    values = {"akd_body": 2.5, "pck_body": 0.75}
    bodies = {name: scored(name, values.get(name, float("nan"))) for name in named}
    rows = tuple(replace(row, scores={**row.scores, **bodies}) for row in board.rows)
    metrics = (*board.metrics, *(METRICS[name] for name in named))
    marks = {**board.marks, **dict.fromkeys(named, board.marks["ssim"])}
    bare = replace(board, rows=rows, metrics=metrics, marks=marks)
    assert [row.id for row in bare.overview][-3:-1] == ["akd_body", "pck_body"]
    for opened in open_page(browser, build_page(bare, Site.open(tmp_path)).as_uri(), width=1280):
        assert {"akd_body", "pck_body"} <= set(columns(opened.page))
        assert not {"akd_hands", "pck_hands"} & set(columns(opened.page))


def test_sort_and_columns_stand_in_the_address_and_come_back(page: Page) -> None:
    page.locator("th[data-column=tje_d2] button").click()
    page.locator("th[data-column=tje_d2] button").click()
    page.locator(".chooser summary").click()
    page.locator(".chooser input[value=fid]").click()
    page.keyboard.press("Escape")
    page.locator("#frames select").select_option("tje_d2")
    page.locator("#table select").select_option("measured")
    shown = (names(page), columns(page), hash_of(page))
    assert shown[0] == ["Steady", HOSTILE]
    assert "sort=-tje_d2" in shown[2]
    assert "metric=tje_d2" in shown[2]

    page.reload()
    page.wait_for_selector("#clips .panel")
    assert (names(page), columns(page), hash_of(page)) == shown
    assert page.locator("#frames select").input_value() == "tje_d2"
    assert page.locator(".chooser input[value=fid]").is_checked() is False

    page.go_back()  # before the filter by kind
    assert names(page) == ["Steady", HOSTILE, "Frozen reference", "Real clip"]
    for _ in range(4):
        page.go_back()
    assert hash_of(page) == ""
    assert names(page) == [HOSTILE, "Steady", "Frozen reference", "Real clip"]
    assert "fid" in columns(page)
    page.go_forward()
    assert page.locator("th[data-column=tje_d2]").get_attribute("aria-sort") == "ascending"


def test_an_address_with_anything_in_it_opens_the_page(browser: Browser, address: str) -> None:
    wild = "#sort=-nothing&columns=a,psnr&clip=%3Cimg%3E&frame=-1e9&metric=&at=%ff&model=x&with=y"
    for opened in open_page(browser, address + wild, width=1280):
        assert columns(opened.page) == ["psnr"]
        assert names(opened.page)[0] == HOSTILE
        assert opened.complaints == []


def test_links_to_sections_keep_the_state(page: Page) -> None:
    page.locator("th[data-column=psnr] button").click()
    page.locator("nav a", has_text="Clips").click()
    assert hash_of(page) == "#sort=psnr&at=clips"
    page.reload()
    page.wait_for_selector("#clips .panel")
    assert page.evaluate(ARRIVED) < 400
    assert page.locator("th[data-column=psnr]").get_attribute("aria-sort") == "descending"


@pytest.fixture
def copying(browser: Browser, address: str) -> Iterator[Page]:
    """The page, with a clipboard."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], offline=True)
    page = context.new_page()
    page.goto(f"{address}#columns=psnr,tje_d2,motion_ratio&sort=tje_d2")
    page.locator(".copying summary").click()
    yield page
    context.close()


def copied(page: Page, form: str) -> str:
    button = page.locator(f".copying button[data-format={form}]")
    button.click()
    page.locator(".copying").get_by_text("Copied").wait_for()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_what_is_shown_is_copied_as_csv(copying: Page) -> None:
    rows = list(csv.reader(io.StringIO(copied(copying, "csv"))))
    assert rows[0] == ["model", "kind", "psnr", "tje_d2", "motion_ratio"]
    assert [row[0] for row in rows[1:]] == ["Real clip", "Frozen reference", HOSTILE, "Steady"]
    assert rows[1] == ["Real clip", "anchor", "inf", "0", "1"]
    assert rows[4] == ["Steady", "measured", "30", "4", "1.2"]


def test_what_is_shown_is_copied_as_latex(copying: Page) -> None:
    lines = copied(copying, "latex").splitlines()
    assert r"\begin{tabular}{lrrr}" in lines
    assert r"Model & PSNR $\uparrow$ & TJE d2 $\downarrow$ & Motion ratio $\to 1$ \\" in lines
    assert r"Steady & \textbf{30.00} & 4.000 & 1.200 \\" in lines
    assert r"\textit{Real clip} & $\infty$ & 0.000 & 1.000 \\" in lines
    hostile = next(line for line in lines if "owned" in line)
    assert r"\textless{}/script\textgreater{}" in hostile
    assert r"\&amp;" in hostile
    assert all(line.count("{") == line.count("}") for line in lines)
    assert lines[-1] == r"\end{tabular}"


def test_what_is_shown_is_copied_as_markdown(copying: Page) -> None:
    lines = copied(copying, "markdown").splitlines()
    assert lines[0] == "| Model | PSNR ↑ (dB) | TJE d2 ↓ (levels) | Motion ratio →1 |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert "| Steady | **30.00** | 4.000 | 1.200 |" in lines
    assert not any("<img" in line for line in lines)


def test_how_to_report_stands_below_the_table_and_in_what_is_copied(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    said = "Scored with tpbench 1.0, 5_clips."
    whole = replace(board, how_to_report=said)
    for opened in open_page(browser, build_page(whole, Site.open(tmp_path)).as_uri(), width=1280):
        page = opened.page
        assert page.locator("#table .how p").inner_text() == f"How to report: {said}"
        page.evaluate("navigator.clipboard.writeText = (text) => { window.said = text; }")
        page.locator(".copying summary").click()
        page.locator(".copying button[data-format=latex]").click()
        assert page.evaluate("window.said").startswith(f"% {said}\n")


def test_scored_videos_are_methods_with_neither_reference_nor_pose(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    scored_rows = replace(
        board,
        rows=board.rows[:2],
        task=board.task.model_copy(update={"id": "score"}),
        dataset=board.dataset.model_copy(update={"n_identities": 0}),
        clips=tuple(replace(clip, identity=None) for clip in board.clips),
        data=None,
    )
    address = build_page(scored_rows, Site.open(tmp_path)).as_uri()
    for opened in open_page(browser, address, width=1280):
        page = opened.page
        lead = page.locator("p.lead").inner_text()
        assert lead.startswith("2 methods on 5 clips. Videos made elsewhere")
        assert "identities not known" in page.locator(".chips").inner_text()
        kinds = page.locator("#clips figure[data-kind]").evaluate_all(KINDS)
        assert kinds == ["real", "generated"]
        assert "seed" not in page.locator("#rows").inner_text()
        assert opened.complaints == []


KINDS = "all => all.map((figure) => figure.dataset.kind)"


def test_the_files_of_the_board_are_linked(page: Page) -> None:
    for name in ("leaderboard.csv", "leaderboard.schema.json", "leaderboard.md"):
        assert page.locator(f"footer a[href='{name}']").count() == 1


def test_code_paper_and_weights_of_a_model_are_linked_and_other_addresses_are_not(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    first, *others = board.rows
    known = replace(
        first,
        url="https://example.org/code",
        paper_url="https://example.org/paper",
        weights_url="javascript:alert(1)",
    )
    linked = replace(board, rows=(known, *others))
    for opened in open_page(browser, build_page(linked, Site.open(tmp_path)).as_uri(), width=1280):
        links = opened.page.locator("#table tr[data-model=falling] .links a")
        assert links.all_inner_texts() == ["code", "paper"]
        assert opened.page.locator("a[href^='javascript']").count() == 0
        assert opened.page.locator("#table .links").count() == 1


def test_a_table_that_goes_on_says_so_by_a_shadow(browser: Browser, address: str) -> None:
    for opened in open_page(browser, address, width=390):
        scroller = opened.page.locator("#table .scroller")
        assert scroller.get_attribute("data-right") == ""
        assert scroller.get_attribute("data-left") is None
        opened.page.locator("#table .scroll").evaluate("box => { box.scrollLeft = 9999; }")
        opened.page.wait_for_selector("#table .scroller[data-left]:not([data-right])")


def test_what_was_clicked_is_not_covered_by_its_tooltip(page: Page) -> None:
    button = page.locator("th[data-column=psnr] button")
    button.hover()
    tip, head = page.locator("#tip").bounding_box(), button.bounding_box()
    assert tip is not None
    assert head is not None
    assert tip["y"] + tip["height"] <= head["y"] + 1
    button.click()
    assert page.locator("#tip").is_hidden()
    page.mouse.move(5, 5)
    button.hover()
    assert page.locator("#tip").is_visible()


def test_published_numbers_stand_in_tables_of_their_own(page: Page) -> None:
    assert page.locator("#table").get_by_text("TalkingPose").count() == 0
    assert page.locator("#reported table").count() > 0
    link = page.locator("#reported a").first
    assert (link.get_attribute("href") or "").startswith("https://")


def test_second_hand_numbers_stand_apart_with_their_mark_and_methods_can_be_chosen(
    browser: Browser, board: Leaderboard, tmp_path: Path
) -> None:
    whole = replace(board, reported=load_reported())
    for opened in open_page(browser, build_page(whole, Site.open(tmp_path)).as_uri(), width=1280):
        page = opened.page
        apart = page.locator("#reported .second-hand")
        assert apart.get_attribute("open") is None
        tables = apart.locator(".source")
        assert tables.count() == page.locator("#reported .source[data-secondary]").count() > 5
        assert apart.locator(".source .tag").count() == tables.count()
        assert page.locator("#reported .source:not([data-secondary])").count() > 1
        page.locator("#reported select").select_option("Champ")
        heads = page.locator("#reported tbody th").all_text_contents()
        assert set(heads) == {"Champ"}
        assert "method=Champ" in hash_of(page)

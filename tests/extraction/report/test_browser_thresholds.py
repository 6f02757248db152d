"""The dials in a real Chromium: the page agrees with the numbers that Python counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.benchmark.page.conftest import browser  # noqa: F401 - a fixture
from tests.dataset.rows import MEASUREMENTS, make_dataset
from tests.extraction.report.test_thresholds import _row
from tpbench.dataset import Dataset
from tpbench.dataset.facts import Candidates
from tpbench.extraction.report import write_report
from tpbench.extraction.report.thresholds import Dials, dials_of

pytestmark = pytest.mark.browser

_ROWS = 60


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = [_row(f"c{at:02d}", 40 + 3 * at, 7 * at % 60) for at in range(_ROWS)]
    return make_dataset(tmp_path_factory.mktemp("dials") / "talks", rows)


@pytest.fixture(scope="module")
def dials(dataset: Dataset) -> Dials:
    return dials_of(Candidates(table=dataset.table()), MEASUREMENTS)


@pytest.fixture(scope="module")
def address(dataset: Dataset) -> str:
    return write_report(dataset.folder).as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:  # noqa: F811 - the fixture
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(address)
    yield opened
    context.close()
    assert complaints == []


def _stay(page: Page) -> int:
    return int(page.locator("#stay").inner_text().split()[0].replace(",", ""))


def _turn(page: Page, index: int, step: int) -> None:
    page.locator(f"#dial{index}").evaluate(
        "(input, step) => { input.value = step; input.dispatchEvent(new Event('input')); }", step
    )


def test_page_begins_with_what_was_kept(page: Page, dials: Dials) -> None:
    assert page.locator("#dials").is_visible()
    assert _stay(page) == dials.n_kept
    assert page.locator("#lines").inner_text() == "move a dial"
    assert page.locator("#reset").is_disabled()


def test_every_step_of_every_dial_shows_the_number_that_python_counts(
    page: Page, dials: Dials
) -> None:
    present = [dial.at for dial in dials.dials]
    for index, dial in enumerate(dials.dials):
        for step in range(0, len(dial.steps), 7):
            _turn(page, index, step)
            steps = [step if other == index else at for other, at in enumerate(present)]
            assert _stay(page) == int(dials.outcome(steps)[0].sum())
        _turn(page, index, present[index])


def test_moved_dials_give_the_lines_for_the_preset_and_reset_takes_them_back(
    page: Page, dials: Dials
) -> None:
    steps = [dial.at + 2 for dial in dials.dials]
    for index, step in enumerate(steps):
        _turn(page, index, step)
    wanted = [
        f"  {dial.measurement.code}: {dial.steps[step]:g}"
        for dial, step in zip(dials.dials, steps, strict=True)
    ]
    assert page.locator("#lines").inner_text() == "\n".join(["filters:", *wanted])
    assert _stay(page) == int(dials.outcome(steps)[0].sum())
    page.locator("#reset").click()
    assert _stay(page) == dials.n_kept
    assert page.locator("#lines").inner_text() == "move a dial"


def test_dials_move_by_keyboard(page: Page, dials: Dials) -> None:
    page.locator("#dial0").focus()
    page.keyboard.press("ArrowRight")
    steps = [dials.dials[0].at + 1, dials.dials[1].at]
    assert _stay(page) == int(dials.outcome(steps)[0].sum())


@pytest.mark.parametrize("width", [1280, 390])
def test_page_is_no_wider_than_its_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width

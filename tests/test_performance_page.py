"""How docs/performance.md is put together; what is measured is no matter of tests."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from benchmarks import performance
from benchmarks.performance import SECTIONS, as_markdown, machine, save, sections_of, written


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "performance.md"
    monkeypatch.setattr(performance, "PAGE", path)
    return path


def test_a_section_that_is_measured_again_leaves_the_others_and_their_order(page: Path) -> None:
    one, two = SECTIONS[0], SECTIONS[1]
    for section, output in ((two, "a\n"), (one, "b\n"), (two, "c\n")):
        save(section.title, written(section, output, "today"))
    found = sections_of(page.read_text(encoding="utf-8"))
    assert list(found) == [one.title, two.title]
    assert found[one.title].endswith("    b\n")
    assert found[two.title].endswith("    c\n")


def test_a_section_is_gone_once_its_benchmark_is(page: Path) -> None:
    save("Something of before", "## Something of before\n")
    assert not sections_of(page.read_text(encoding="utf-8"))


def test_tables_stay_tables_and_the_rest_is_shown_as_printed() -> None:
    table = "| a | b |\n| :- | -: |\n| 1 | 2 |"
    assert as_markdown(f"two videos\n\n{table}\n\nmore:\n  x\n") == (
        f"    two videos\n\n{table}\n\n    more:\n      x"
    )


def test_the_page_names_the_kind_of_machine_alone() -> None:
    said = machine()
    assert "cores" in said
    assert platform.node() not in said
    assert str(Path.home()) not in said


def test_every_benchmark_is_there() -> None:
    folder = Path(performance.__file__).parent
    assert all((folder / f"{section.module}.py").exists() for section in SECTIONS)

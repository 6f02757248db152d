from __future__ import annotations

from pathlib import Path

import pytest

from tests.fetching.server import write_list
from tpbench.dataset.removal import Removals, Tombstone
from tpbench.errors import DatasetError
from tpbench.fetching.lists import ListedVideo, listed_video
from tpbench.fetching.selection import is_cc_by, read_selection

GONE = "-bcdefghij_"


def video(text: str) -> ListedVideo:
    found = listed_video(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "licence",
    [
        "Creative Commons Attribution license (reuse allowed)",
        "CC BY 4.0",
        "cc-by",
        "https://creativecommons.org/licenses/by/4.0/",
        "Creative Commons - Attribution",
    ],
)
def test_attribution_alone_is_cc_by(licence: str) -> None:
    assert is_cc_by(licence)


@pytest.mark.parametrize(
    "licence",
    [
        None,
        "",
        "Standard YouTube License",
        "CC BY-NC 4.0",
        "CC-BY-ND",
        "cc by-sa",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        "Creative Commons Attribution-NonCommercial",
        "Creative Commons Attribution - ShareAlike",
        "CC0",
    ],
)
def test_other_licences_are_not(licence: str | None) -> None:
    assert not is_cc_by(licence)


def test_a_list_excludes_by_id_whatever_address_it_gives(tmp_path: Path) -> None:
    path = write_list(tmp_path / "out.txt", f"https://youtu.be/{GONE}")
    selection = read_selection(exclude=path, datasets=(), licence=None)
    assert selection.excludes(video(GONE))
    assert not selection.excludes(video("abcdefghijk"))


def test_what_was_removed_from_a_dataset_is_excluded_by_its_id_and_by_its_bytes(
    tmp_path: Path,
) -> None:
    stone = Tombstone(kind="source", id=f"{GONE.strip('-')}-01234567", date="2026-01-02")
    Removals(tombstones=(stone,)).write(tmp_path)
    selection = read_selection(exclude=None, datasets=(tmp_path,), licence=None)
    assert selection.excludes(video(GONE))
    other = video("https://a.org/another_name.mp4")
    assert not selection.excludes(other)
    assert selection.excludes(other, sha256="01234567" + "a" * 56)


def test_a_dataset_that_does_not_exist_yet_removed_nothing(tmp_path: Path) -> None:
    selection = read_selection(exclude=None, datasets=(tmp_path / "new",), licence=None)
    assert not selection.excludes(video(GONE))


def test_removals_that_cannot_be_read_stop_everything(tmp_path: Path) -> None:
    (tmp_path / "removals.json").write_text("[")
    with pytest.raises(DatasetError, match="put it back from a copy"):
        read_selection(exclude=None, datasets=(tmp_path,), licence=None)

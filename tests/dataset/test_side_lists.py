"""The lists of a split: read as they were written, safe in spreadsheets, frozen for good."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpbench.dataset import SplitName
from tpbench.dataset.side_lists import (
    check_version_name,
    read_placed,
    read_version,
    write_placed,
    write_split_lists,
    write_version,
)
from tpbench.errors import ConfigError, DatasetError
from tpbench.foreign import from_spreadsheet_safe

FORMULAS = ["=HYPERLINK(1)", "+1+1", "@SUM(1)", "-2+3", "\tx", "\rx", "'x"]


@pytest.mark.parametrize("identity", FORMULAS)
def test_no_identity_becomes_a_formula_and_all_are_read_as_they_were(
    tmp_path: Path, identity: str
) -> None:
    paths = write_split_lists(tmp_path, {"test": [("-clip", identity)]})
    path = next(path for path in paths if path.stem == "test")

    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert not row["identity"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_spreadsheet_safe(row["identity"]) == identity
    assert row["clip_id"] == "-clip"
    assert read_placed(tmp_path) == {identity: "test"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    placed=st.dictionaries(
        st.one_of(
            st.sampled_from(FORMULAS),
            st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1),
        ),
        st.sampled_from(("train", "test")),
    )
)
def test_sides_are_read_as_they_were_written(tmp_path: Path, placed: dict[str, SplitName]) -> None:
    write_placed(tmp_path, placed)
    assert read_placed(tmp_path) == placed


def test_sides_of_before_are_those_of_the_lists(tmp_path: Path) -> None:
    assert read_placed(tmp_path) == {}
    write_split_lists(tmp_path, {"test": [("a", "ann")], "train": [("b", "bob")]})
    assert read_placed(tmp_path) == {"ann": "test", "bob": "train"}


def test_a_damaged_list_is_named_with_what_to_do(tmp_path: Path) -> None:
    write_placed(tmp_path, {"ann": "test"})
    path = tmp_path / "splits" / "placed.csv"
    path.write_text("identity,side\nann,maybe\n")
    with pytest.raises(DatasetError, match=r"placed\.csv line 2: .* 'maybe'; delete the file"):
        read_placed(tmp_path)


def test_a_frozen_list_is_never_rewritten(tmp_path: Path) -> None:
    write_version(tmp_path, "test-v1", {"a": "ann"})
    write_version(tmp_path, "test-v1", {"a": "anna"})
    assert read_version(tmp_path, "test-v1") == {"a": "ann"}
    with pytest.raises(DatasetError, match=r"'test-v1' is frozen with 1 clips, .* has 2 now"):
        write_version(tmp_path, "test-v1", {"a": "ann", "b": "bob"})
    assert read_version(tmp_path, "test-v1") == {"a": "ann"}


@pytest.mark.parametrize("name", ["train", "test", "all", "whole", "placed", "", "a/b", "..", "V1"])
def test_a_name_that_means_something_else_or_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--version-name"):
        check_version_name(name)

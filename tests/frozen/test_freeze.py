"""The script that records behaviour sees differences and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.frozen import freeze


def recording(path: Path, **entries: object) -> Path:
    path.write_text(json.dumps({name.replace("_", "/"): value for name, value in entries.items()}))
    return path


def test_equal_recordings_differ_in_nothing(tmp_path: Path) -> None:
    one = recording(tmp_path / "a.json", help_x={"exit": 0, "out": ["a"]})
    assert freeze.main(["compare", str(one), str(one)]) == 0


@pytest.mark.parametrize("after", [{"help_x": [1, 3]}, {}, {"help_x": [1, 2], "help_y": []}])
def test_what_changed_went_or_came_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: dict[str, object]
) -> None:
    before = recording(tmp_path / "a.json", help_x=[1, 2])
    assert freeze.main(["compare", str(before), str(recording(tmp_path / "b.json", **after))]) == 1
    assert "=== help/" in capsys.readouterr().out


def test_only_the_parts_asked_for_are_compared(tmp_path: Path) -> None:
    before = recording(tmp_path / "a.json", help_x=1, lists_x=1)
    after = recording(tmp_path / "b.json", help_x=2, lists_x=1)
    assert freeze.main(["compare", str(before), str(after), "--only", "lists"]) == 0


def test_times_and_speeds_are_masked_and_numbers_are_not() -> None:
    masked = freeze.mask_text("2 clips, psnr 31.25 on 2026-11-28 14:10:50, 12.5 GB free")
    assert masked == "2 clips, psnr 31.25 on (masked), (masked)"


def test_fields_are_masked_at_any_depth_where_the_table_says_so() -> None:
    value = {"clips": [{"gen_s": 1.5, "n_frames": 3}]}
    assert freeze.mask_fields("runs/a/records/b.json", value) == {
        "clips": [{"gen_s": freeze.MASKED, "n_frames": 3}]
    }
    assert freeze.mask_fields("runs/a/scores.json", value) == value


def test_a_page_is_compared_by_its_words() -> None:
    page = "<style>a{}</style><p>psnr</p><svg>x</svg><td>31.2</td>"
    assert freeze.visible_text(page).split() == ["psnr", "31.2"]

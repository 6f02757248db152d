"""What a rebuilt dataset says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tpbench.dataset.rebuilt import (
    RebuildOutcome,
    Rebuilt,
    RebuiltClip,
    coverage_notes,
    read_rebuilt,
    sum_up,
    write_rebuilt,
)
from tpbench.errors import DatasetError


def clip(name: str, split: str | None, outcome: RebuildOutcome) -> RebuiltClip:
    return RebuiltClip(clip_id=name, split=split, outcome=outcome)


CLIPS = [
    clip("a", "train", "identical"),
    clip("b", "test", "identical"),
    clip("c", "test", "re-encoded"),
    clip("d", "test", "other pictures"),
    clip("e", "test", "source gone"),
]


def summed(clips: list[RebuiltClip]) -> Rebuilt:
    return sum_up(clips, pack_digest="1" * 64, original_digest="2" * 64, digest="3" * 64, limit=0.1)


def test_scores_on_a_side_say_what_is_lacking() -> None:
    rebuilt = summed(CLIPS)
    (note,) = rebuilt.coverage_notes("test")
    counts = "1 identical, 1 re-encoded, 1 other pictures, 1 source gone"
    assert note == f"rebuilt dataset: has 2 of the 4 clips of the pack's test split ({counts})"
    assert rebuilt.coverage_notes("train") == ()
    assert rebuilt.coverage_notes("all")[0].startswith("rebuilt dataset: has 3 of the 5 clips")
    assert rebuilt.coverage_notes("test-v1") == rebuilt.coverage_notes("all")
    assert not rebuilt.complete
    assert summed(CLIPS[:3]).complete


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    rebuilt = summed(CLIPS)
    write_rebuilt(tmp_path, rebuilt, CLIPS)
    assert read_rebuilt(tmp_path) == rebuilt
    assert coverage_notes(tmp_path, "test") == rebuilt.coverage_notes("test")


def test_an_extracted_dataset_says_nothing(tmp_path: Path) -> None:
    assert read_rebuilt(tmp_path) is None
    assert coverage_notes(tmp_path, "all") == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"schema_version": 2},
            "made by a newer tpbench .*version 2, this one reads 1.; update",
        ),
        ({"digest": "x"}, "digest: "),
        ({"sides": {}}, "sides.all is missing"),
        ({"more": 1}, "more: "),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, change: dict[str, object], why: str) -> None:
    write_rebuilt(tmp_path, summed(CLIPS), CLIPS)
    path = tmp_path / "rebuild.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DatasetError, match=why):
        read_rebuilt(tmp_path)
    path.write_text("no JSON")
    with pytest.raises(DatasetError, match="not readable as JSON"):
        read_rebuilt(tmp_path)

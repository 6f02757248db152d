"""Which clips of a run are expected to have scores."""

from __future__ import annotations

from pathlib import Path

from tpbench.benchmark.evaluation import pair_run
from tpbench.benchmark.run_folder import ClipRecord, RunFolder
from tpbench.benchmark.tasks import SELF, select_clips
from tpbench.dataset import Dataset


def test_expected_is_what_was_asked_for_or_tried(talks: Path, tmp_path: Path) -> None:
    dataset, folder = Dataset.open(talks), RunFolder(path=tmp_path)
    clips = select_clips(dataset, SELF).clips
    done = ClipRecord(clip_id="a", status="done", inputs="1" * 64, frames_sha256="2" * 64)
    failed = ClipRecord(clip_id="b", status="failed", inputs="1" * 64, reason="nobody there")
    without = pair_run(clips, {"a": done, "b": failed}, dataset, folder, wanted=())
    asked = pair_run(clips, {"a": done, "b": failed}, dataset, folder, wanted={"c"})
    assert [pair.clip_id for pair in asked.pairs] == ["a"]
    assert asked.pairs[0].generated == folder.generated("a")
    assert (asked.pairs[0].real.name, asked.pairs[0].identity) == ("a.mp4", "person a")
    assert (without.missing, asked.missing) == (("b",), ("b", "c"))
    assert (without.n_expected, asked.n_expected) == (2, 3)

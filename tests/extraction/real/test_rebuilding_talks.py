"""Real talks: encoded again they are the same, another talk or another moment is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.films import dataset_of, encode_again
from tpbench.dataset.likeness import SAME_LIMIT, Marks
from tpbench.dataset.pack import Pack, write_pack
from tpbench.extraction import rebuild_task, rebuilding
from tpbench.extraction.rebuilding import rebuild
from tpbench.extraction.remaking import SourceCopy
from tpbench.extraction.writing import CropBox
from tpbench.video import probe
from tpbench.work import InThisProcess

pytestmark = pytest.mark.shared

SPANS = ((20, 70), (300, 350))


@pytest.fixture(scope="module")
def talks(shared_dir: Path) -> list[Path]:
    folder = shared_dir / "data" / "talkingpose_samples"
    return [folder / "vid1.mp4", folder / "vid3.mp4"]


@pytest.fixture(scope="module")
def pack(talks: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("talks")
    crop = CropBox(x0_px=16, y0_px=0, side_px=480)
    dataset = dataset_of(talks, folder / "dataset", spans=SPANS, crop=crop, size_px=256)
    return write_pack(dataset, folder / "pack")


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "Pool", lambda **_: InThisProcess(build=rebuild_task.build))
    monkeypatch.setattr(rebuilding, "write_report", lambda _: None)


def test_talks_encoded_again_are_the_same(pack: Pack, talks: list[Path], tmp_path: Path) -> None:
    for talk in talks:
        encode_again(talk, tmp_path / "raw" / talk.name, crf=35, size_px=(144, 144))
    result = rebuild(pack, tmp_path / "raw", tmp_path / "out")
    assert result.rebuilt.outcomes["re-encoded"] == 4
    assert all((clip.distance or 0) < SAME_LIMIT / 2 for clip in result.clips)
    assert {clip.shift_frames for clip in result.clips} == {0}


def test_the_same_files_give_the_same_digest(pack: Pack, talks: list[Path], tmp_path: Path) -> None:
    assert rebuild(pack, talks, tmp_path / "out").rebuilt.is_original


def test_the_other_talk_and_another_moment_are_not_the_same(pack: Pack, talks: list[Path]) -> None:
    rows = [row for row in pack.rows() if row.status == "kept"]
    for talk in talks:
        copy = SourceCopy(path=talk, info=probe(talk), sha256=None)
        for row in rows:
            marks = Marks.from_bytes(pack.marks(row))
            distance, shift = copy.placed(row, marks)
            if row.source_path == talk.name:
                assert (distance, shift) == (0, 0)
            else:
                assert distance > 4 * SAME_LIMIT
            other = next(r for r in rows if r.source_id == row.source_id and r != row)
            assert copy.placed(row, Marks.from_bytes(pack.marks(other)))[0] > 2 * SAME_LIMIT

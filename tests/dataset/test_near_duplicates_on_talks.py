"""Pieces of the two real talks, copied in every way; face points are found anew in every copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.dataset.heads import HeadFrame, finish, write_clip_of_head
from tpbench.dataset import Dataset, SplitName
from tpbench.dataset.alignment import COPY_BITS, HASHES_PER_S
from tpbench.dataset.checking import check_dataset
from tpbench.dataset.fingerprints import near_duplicates
from tpbench.detectors.face_mesh import FaceMesh, mesh_to_ibug68
from tpbench.detectors.faces import MediaPipeFaceDetector
from tpbench.video import CLIP, Encoding, read_frames

pytestmark = pytest.mark.shared

TALK_FPS = 23
PIECE_S = 4.5
SIZE_PX = 256
POOR = Encoding(
    name="poor",
    codec=CLIP.codec,
    pixel_format=CLIP.pixel_format,
    container=CLIP.container,
    options={"crf": "33", "preset": "veryfast"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How a piece was copied."""

    later_s: float = 0.0
    fps: int = TALK_FPS
    cropped_share: float = 0.0
    """At each edge."""
    is_mirrored: bool = False
    encoding: Encoding = CLIP


COPIES = {
    "mirrored": Copy(is_mirrored=True),
    "reencoded": Copy(encoding=POOR),
    "cropped": Copy(cropped_share=0.05),
    "later": Copy(later_s=0.43),
    "slower": Copy(fps=20),
    "faster": Copy(fps=30),
    "all": Copy(is_mirrored=True, encoding=POOR, cropped_share=0.05),
    "all later": Copy(is_mirrored=True, encoding=POOR, cropped_share=0.05, later_s=0.43, fps=30),
}
UNRELATED = [(talk, start_s) for talk in ("vid1", "vid3") for start_s in (0, 6, 12, 18, 24)]
COPIED = ("vid1", 6)


class Faces:
    """Finds the points of one face."""

    def __init__(self) -> None:
        self._detector, self._mesh = MediaPipeFaceDetector(), FaceMesh()

    def points(self, image: NDArray[np.uint8]) -> NDArray[np.floating] | None:
        found = self._detector.find(image)
        return mesh_to_ibug68(self._mesh.find(image, found[0])[:, :2]) if found else None


def copied(
    pictures: list[NDArray[np.uint8]], start_s: float, copy: Copy, faces: Faces
) -> Iterator[HeadFrame]:
    """Yield the frames of a piece, with face points where a hash may be taken."""
    step = max(1, round(copy.fps / HASHES_PER_S))
    for number in range(round((PIECE_S - copy.later_s) * copy.fps)):
        moment_s = start_s + copy.later_s + number / copy.fps
        at = round(moment_s * TALK_FPS)
        if at >= len(pictures):
            return
        image = pictures[at]
        cut = round(SIZE_PX * copy.cropped_share)
        image = image[cut : SIZE_PX - cut, cut : SIZE_PX - cut]
        shown = np.ascontiguousarray(image[:, ::-1] if copy.is_mirrored else image)
        yield shown, None if number % step else faces.points(shown)


@pytest.fixture(scope="module")
def folder(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces on both sides of the split, and copies of one of them on the other side."""
    folder = tmp_path_factory.mktemp("talks") / "data"
    folder.mkdir()
    faces = Faces()
    talks = {
        stem: [
            np.asarray(cv2.resize(frame.image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA))
            for frame in read_frames(shared_dir / "data/talkingpose_samples" / f"{stem}.mp4")
        ]
        for stem in ("vid1", "vid3")
    }
    wanted = [(f"{talk}_{start_s}", talk, start_s, Copy()) for talk, start_s in UNRELATED]
    wanted += [(name.replace(" ", "_"), *COPIED, copy) for name, copy in COPIES.items()]
    rows = [
        write_clip_of_head(
            folder,
            clip_id,
            copied(talks[talk], start_s, copy, faces),
            fps=copy.fps,
            identity=f"uploader of {clip_id}",
            encoding=copy.encoding,
        )
        for clip_id, talk, start_s, copy in wanted
    ]
    tested = {f"{talk}_{start_s}" for talk, start_s in UNRELATED if start_s in {0, 6, 18}}
    sides: dict[str, SplitName] = {
        row.clip_id: "test" if row.clip_id in tested else "train" for row in rows
    }
    finish(folder, rows, sides)
    return folder


def test_check_finds_all_copies_on_the_other_side_and_none_of_50_other_pairs(folder: Path) -> None:
    report = check_dataset(folder)
    assert {problem.code for problem in report.problems} == {"split.near_duplicate"}
    found = {problem.where for problem in report.problems}
    names = (name.replace(" ", "_") for name in COPIES)
    assert found == {", ".join(sorted(["vid1_6", name])) for name in names}
    n_tested = 6
    n_pairs = n_tested * (len(UNRELATED) - n_tested + len(COPIES))
    assert n_pairs - len(found) > 50


def test_pairs_say_how_much_is_alike_and_whether_in_a_mirror(folder: Path) -> None:
    pairs = near_duplicates(Dataset.open(folder))
    family = {"vid1_6", *(name.replace(" ", "_") for name in COPIES)}
    in_mirror = {"mirrored", "all", "all_later"}
    assert len(pairs) == len(family) * (len(family) - 1) // 2
    for pair in pairs:
        assert {pair.first, pair.second} <= family
        assert pair.is_mirrored == (len({pair.first, pair.second} & in_mirror) == 1)
        assert pair.share > 0.5
        assert pair.apart_bits <= COPY_BITS

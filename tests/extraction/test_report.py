from __future__ import annotations

import base64
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets import clip_files, kept_row
from tpbench.dataset import Clip, Dataset, Measurement, RunStats, finalise
from tpbench.errors import DatasetError
from tpbench.extraction.report import write_report
from tpbench.extraction.report.samples import choose_clips, sample_frames
from tpbench.video import CLIP, VideoWriter
from tpbench.wholebody import LEFT_ELBOW, LEFT_SHOULDER, RIGHT_SHOULDER, WholeBodyPose, save_pose

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = 64
_FRAMES = 6
_EVIL = '"><script>alert(1)</script>'

_FACE = Measurement(
    name="face_height_px",
    title="Face <height>",
    unit="px",
    direction="at_least",
    code="face.too_small",
    meaning="How tall & wide.",
)


def _kept(folder: Path, clip_id: str) -> Clip:
    """Write a grey clip whose person has two shoulders and an elbow."""
    clip, keypoints_file, drawing = clip_files(folder, clip_id)
    for path in (clip, drawing):
        with VideoWriter(
            path, width_px=_SIZE, height_px=_SIZE, fps=Fraction(25), encoding=CLIP
        ) as writer:
            for _ in range(_FRAMES):
                writer.write(np.full((_SIZE, _SIZE, 3), 128, dtype=np.uint8))
    keypoints = np.full((_FRAMES, 133, 2), np.nan, dtype=np.float32)
    scores = np.zeros((_FRAMES, 133), dtype=np.float32)
    for joint, point in ((RIGHT_SHOULDER, (16, 20)), (LEFT_SHOULDER, (48, 20))):
        keypoints[:, joint], scores[:, joint] = point, 1.0
    keypoints[:, LEFT_ELBOW], scores[:, LEFT_ELBOW] = (48, 50), 1.0
    pose = WholeBodyPose(
        keypoints=keypoints,
        scores=scores,
        width_px=_SIZE,
        height_px=_SIZE,
        source="mediapipe",
        model_digest="0" * 64,
    )
    save_pose(keypoints_file, pose)
    return replace(
        kept_row(folder, clip_id, n_frames=_FRAMES),
        measurements={"face_height_px": 120.0},
        thresholds={"face_height_px": 80.0},
    )


def _dataset(folder: Path, kept: int) -> Dataset:
    rows = [_kept(folder, f"talk{index}") for index in range(kept)]
    rejected = Clip(
        clip_id="small",
        status="rejected",
        reject_codes=("face.too_small", "shot.transition"),
        source_id="small",
        source_path=f"videos/{_EVIL}.mp4",
        start_s=1.0,
        end_s=2.5,
        measurements={"face_height_px": 31.5},
        thresholds={"face_height_px": 80.0},
    )
    failed = Clip(
        clip_id="broken",
        status="failed",
        source_id="broken",
        source_path="broken.mp4",
        error=f"{_EVIL}: the file is empty",
    )
    return finalise(
        folder,
        [*rows, rejected, failed],
        name=f"Talks {_EVIL} $style",
        config={"name": _EVIL},
        models={"skeleton": "a" * 64},
        measurements=(_FACE,),
        run=RunStats(
            workers=1, wall_s=2, core_s=4, source_frames=90, source_s=3, stage_s={"write": 1.0}
        ),
    )


class _Page(HTMLParser):
    """Collects tags, texts and image addresses, and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        self.links += [values[name] or "" for name in ("href", "action") if name in values]
        if tag not in {"meta", "img", "input", "br", "line", "rect"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(tmp_path: Path) -> _Page:
    _dataset(tmp_path / "talks", kept=2)
    return _Page(write_report(tmp_path / "talks").read_text(encoding="utf-8"))


def test_page_needs_nothing_from_anywhere(page: _Page) -> None:
    assert {"script", "link", "iframe", "object"}.isdisjoint(page.tags)
    assert page.links == []
    assert page.images
    assert all(re.match(r"data:image/(jpeg|png);base64,", image) for image in page.images)


def test_foreign_text_is_shown_as_text(page: _Page) -> None:
    assert f"Talks {_EVIL} $style" in page.text
    assert f"{_EVIL}: the file is empty" in page.text
    assert "Face <height>" in page.text
    assert "How tall & wide." in page.text


def test_page_states_counts_reasons_and_limits(page: _Page) -> None:
    text = " ".join(page.text.split())

    assert "2clips kept" in text
    assert "face.too_smallFace <height>1 \N{MIDDLE DOT} 100.0%" in text
    assert "shot.transition" in text
    assert "face.too_small 31.5 limit 80 px" in text
    assert "45.0 source frames/s with 1 worker," in text
    assert "\N{GREATER-THAN OR EQUAL TO} 80 px" in text


def test_sample_frames_show_the_clip_and_a_clear_layer_with_the_skeleton(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "talks", kept=1)

    samples = list(sample_frames(dataset, dataset.clips()))

    assert [sample.frame_index for sample in samples] == [1, 3, 5]
    picture = _decoded(samples[0].picture)
    assert picture.shape == (_SIZE, _SIZE, 3)
    assert np.abs(picture.astype(int) - 128).max() <= 4
    layer = _decoded(samples[0].skeleton)
    assert layer.shape == (_SIZE, _SIZE, 4)
    assert layer[60, 8, 3] == 0
    # The stick between the shoulders, from the neck to the person's own right one: red, dimmed.
    assert layer[20, 24].tolist() == [0, 0, 153, 255]
    assert layer[35, 48, 3] == 255


def test_clip_with_unreadable_files_costs_only_its_own_samples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = _dataset(tmp_path / "talks", kept=2)
    first = dataset.clips()[0]
    dataset.clip_path(first).write_bytes(b"")

    page = _Page(write_report(dataset.folder).read_text(encoding="utf-8"))

    assert len(page.images) == 2 * 3
    assert "no sample frame of talk0" in caplog.text


def test_report_of_a_dataset_without_clips_is_a_page(tmp_path: Path) -> None:
    finalise(tmp_path, [], name="Empty", config={}, models={}, measurements=(_FACE,))

    page = _Page(write_report(tmp_path).read_text(encoding="utf-8"))

    assert "0clips kept" in page.text
    assert "svg" not in page.tags


def test_report_needs_a_finished_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        write_report(tmp_path)


@given(people=st.lists(st.integers(0, 8), max_size=40), limit=st.integers(1, 12))
def test_samples_go_to_other_people_first(people: list[int], limit: int) -> None:
    clips = [
        Clip(
            clip_id=f"c{index:02d}",
            status="rejected",
            reject_codes=("x",),
            source_id="s",
            source_path="s",
            identity=str(person),
        )
        for index, person in enumerate(people)
    ]

    chosen = choose_clips(clips, limit)

    assert len(chosen) == len({clip.clip_id for clip in chosen}) == min(limit, len(clips))
    assert len({clip.identity for clip in chosen}) == min(limit, len(set(people)))


def _decoded(uri: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    raw = np.frombuffer(base64.b64decode(uri.partition(",")[2]), dtype=np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_UNCHANGED), dtype=np.uint8)

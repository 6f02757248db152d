from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.datasets import clip_files, kept_row
from tpbench.dataset import Clip, Dataset, Measurement, RunStats, finalise
from tpbench.errors import DatasetError
from tpbench.extraction.report import write_report
from tpbench.extraction.report.samples import sample_frames
from tpbench.extraction.thumbnails import write_thumbnails
from tpbench.video import CLIP, VideoWriter, probe
from tpbench.wholebody import LEFT_ELBOW, LEFT_SHOULDER, RIGHT_SHOULDER, WholeBodyPose, save_pose

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
        end_s=62.5,
        fps_num=25,
        fps_den=1,
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
        config={"name": _EVIL, "skeleton": "mediapipe"},
        models={"skeleton": "a" * 64, "face": "b" * 64},
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
        self.videos: list[str] = []
        self.posters: list[str] = []
        self.widths: list[str] = []
        self.open_details: list[bool] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        if tag == "video":
            self.videos.append(values["src"] or "")
            self.posters.append(values.get("poster") or "")
        if tag == "script":
            assert "src" not in values
        if tag == "details":
            self.open_details.append("open" in values)
        if (values.get("class") or "").startswith("bar "):
            self.widths.append(values["style"] or "")
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


def test_page_needs_nothing_from_anywhere_but_videos_beside_it(page: _Page) -> None:
    assert {"link", "iframe", "object"}.isdisjoint(page.tags)
    assert page.links == []
    places = ("8e/talk0.mp4", "af/talk1.mp4")
    assert page.videos == [f"{home}/{at}" for at in places for home in ("clips", "poses")]
    assert page.images
    for image in (*page.images, *page.posters):
        assert re.match(r"data:image/(jpeg|png);base64,", image)


def test_only_scripts_are_the_data_of_the_dials_and_what_moves_them(page: _Page) -> None:
    assert page.tags.count("script") == 2


def test_policy_allows_exactly_the_script_of_the_page(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "talks", kept=1).folder
    text = write_report(folder).read_text(encoding="utf-8")
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in text
    assert "default-src 'none'" in text


def test_foreign_text_is_shown_as_text(page: _Page) -> None:
    assert f"Talks {_EVIL} $style" in page.text
    assert f"{_EVIL}: the file is empty" in page.text
    assert "Face <height>" in page.text
    assert "How tall & wide." in page.text


def test_page_states_counts_reasons_and_limits(page: _Page) -> None:
    text = " ".join(page.text.split())
    assert "2clips kept" in text
    assert "not readable 1 25.0%" in text
    assert "face.too_smallFace <height>1 \N{MIDDLE DOT} 100.0%only this 0" in text
    assert "shot.transition" in text
    assert "Face <height> 31.5 px instead of \N{GREATER-THAN OR EQUAL TO} 80 face.too_small" in text
    assert "0:01.0 to 1:02.5" in text
    assert "0.5 s of video" in text.replace("sof", "s of")
    assert "45.0 source frames/s with 1 worker," in text
    assert "1 stretch" in text
    assert "mediapipe-pose-detector, mediapipe-pose-landmarks, mediapipe-face-mesh" in text
    assert "\N{GREATER-THAN OR EQUAL TO} 80 px" in text
    assert "118 to 121 px: 2 kept, 0 rejected for this, 0 rejected for something else" in text


def test_sample_frames_show_the_clip_and_a_clear_layer_with_the_skeleton(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "talks", kept=1)
    samples = list(sample_frames(dataset, dataset.clips()))
    assert [sample.frame_index for sample in samples] == [0, 2, 3, 5]
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
    assert len(page.images) == 2 * 4
    assert [bool(poster) for poster in page.posters] == [False, False, True, True]
    assert "no sample frame of talk0" in caplog.text


def test_video_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "talks", kept=1)
    dataset.pose_path(dataset.clips()[0]).unlink()
    page = _Page(write_report(dataset.folder).read_text(encoding="utf-8"))
    assert page.videos == ["clips/8e/talk0.mp4"]
    assert "pose of talk0 is missing" in page.text


def test_bars_are_shares_of_the_whole(page: _Page) -> None:
    # Two identities with a clip each, one of one rejected clip for each code, and the only stage.
    assert page.widths == ["width:100.00%"] * 6


def test_rejected_stretch_shows_the_frame_that_decided(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "talks", kept=1)
    clip = dataset.clips()[0]
    video = dataset.clip_path(clip)
    write_thumbnails(dataset.folder, "small", video, probe(video), {"small": 5})
    page = _Page(write_report(dataset.folder).read_text(encoding="utf-8"))
    assert _decoded(page.images[-1]).shape == (_SIZE, _SIZE, 3)
    assert "decided at 0:00.2, frame 5" in " ".join(page.text.split())


def test_rejected_stretch_without_a_picture_says_so(page: _Page) -> None:
    assert "no picture" in page.text
    assert "decided at" not in page.text


def test_few_clips_fold_the_histograms(tmp_path: Path) -> None:
    _dataset(tmp_path / "few", kept=2)
    few = write_report(tmp_path / "few").read_text(encoding="utf-8")
    assert "1 histograms" not in few
    assert 'class="card few"' in few
    many = [
        replace(rejected, clip_id=f"small{index}")
        for index in range(10)
        for rejected in _dataset(tmp_path / "some", kept=0).clips("rejected")
    ]
    finalise(tmp_path / "many", many, name="", config={}, models={}, measurements=(_FACE,))
    assert 'class="card few"' not in write_report(tmp_path / "many").read_text(encoding="utf-8")


def test_report_of_a_dataset_without_clips_is_a_page(tmp_path: Path) -> None:
    finalise(tmp_path, [], name="Empty", config={}, models={}, measurements=(_FACE,))
    page = _Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "0clips kept" in page.text
    assert "svg" not in page.tags


def test_report_needs_a_finished_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        write_report(tmp_path)


def _decoded(uri: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    raw = np.frombuffer(base64.b64decode(uri.partition(",")[2]), dtype=np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_UNCHANGED), dtype=np.uint8)

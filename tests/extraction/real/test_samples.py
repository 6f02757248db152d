"""The released samples of TalkingPose, held against their official poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.detectors.face_dots import find_face_dots
from tests.detectors.hip_dots import find_hip_dots
from tpbench.dataset import Clip, Dataset
from tpbench.extraction.filters import ALL_FILTERS
from tpbench.extraction.steadying import PARTS, switches
from tpbench.video import probe, read_frames
from tpbench.wholebody import (
    FACE,
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

pytestmark = pytest.mark.shared

STEMS = ("vid1", "vid3")
OFFICIAL = {
    "vid1": ("official_body1.npz", "pose1.mp4"),
    "vid3": ("official_body3.npz", "pose3.mp4"),
}
DOT_REACH_PX = 6.0


def clip_of(dataset: Dataset, stem: str) -> Clip:
    clips = [clip for clip in dataset.clips() if clip.source_id.startswith(stem)]
    assert len(clips) == 1
    return clips[0]


def source_points(dataset: Dataset, clip: Clip) -> NDArray[np.float64]:
    """Keypoints of the clip, mapped back to the pixels of the source by the manifest's crop."""
    pose = dataset.load_pose(clip)
    assert clip.crop_x0 is not None
    assert clip.crop_y0 is not None
    assert clip.crop_x1 is not None
    assert clip.source_width_px is not None
    assert clip.source_height_px is not None
    corner = np.array([clip.crop_x0 * clip.source_width_px, clip.crop_y0 * clip.source_height_px])
    side_px = (clip.crop_x1 - clip.crop_x0) * clip.source_width_px
    points: NDArray[np.float64] = (
        (pose.keypoints.astype(np.float64) + 0.5) * side_px / pose.width_px + corner - 0.5
    )
    return points


@pytest.mark.parametrize("stem", STEMS)
def test_an_untouched_sample_is_kept_whole(samples_dataset: Dataset, stem: str) -> None:
    clip = clip_of(samples_dataset, stem)
    assert (clip.start_frame, clip.n_frames) == (0, {"vid1": 674, "vid3": 643}[stem])
    assert clip.reject_codes == ()


@pytest.mark.parametrize("stem", STEMS)
def test_an_untouched_sample_trips_no_filter(samples_dataset: Dataset, stem: str) -> None:
    rows = [row for row in samples_dataset.clips(status=None) if row.source_id.startswith(stem)]
    assert [row.reject_codes for row in rows] == [()]
    assert all(row.measurement.name in rows[0].measurements for row in ALL_FILTERS)


@pytest.mark.parametrize("stem", STEMS)
def test_clip_pose_video_and_keypoints_have_the_same_frames(
    samples_dataset: Dataset, stem: str
) -> None:
    clip = clip_of(samples_dataset, stem)
    counts = (
        sum(1 for _ in read_frames(samples_dataset.clip_path(clip))),
        sum(1 for _ in read_frames(samples_dataset.pose_path(clip))),
        len(samples_dataset.load_pose(clip)),
    )
    assert counts == (clip.n_frames,) * 3
    assert probe(samples_dataset.clip_path(clip)).fps == 23


@pytest.mark.parametrize("stem", STEMS)
def test_the_files_are_those_of_the_manifest(samples_dataset: Dataset, stem: str) -> None:
    assert samples_dataset.verify() == []
    assert clip_of(samples_dataset, stem).clip_sha256


@pytest.mark.parametrize("stem", STEMS)
def test_joints_agree_with_the_official_rendering(
    samples_dataset: Dataset, shared_dir: Path, stem: str
) -> None:
    folder = shared_dir / "data" / "talkingpose_samples"
    with np.load(folder / OFFICIAL[stem][0]) as data:
        official = data[data.files[0]]
    points = source_points(samples_dataset, clip_of(samples_dataset, stem))
    neck = points[:, [LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=1)

    def median_px(ours: NDArray[np.float64], joint: int) -> float:
        return float(np.nanmedian(np.linalg.norm(ours - official[:, joint], axis=1)))

    assert median_px(neck, 1) <= 10
    assert median_px(points[:, RIGHT_SHOULDER], 2) <= 12
    assert median_px(points[:, LEFT_SHOULDER], 5) <= 12
    assert median_px(points[:, RIGHT_ELBOW], 3) <= 20
    assert median_px(points[:, LEFT_ELBOW], 6) <= 20


@pytest.mark.parametrize("stem", STEMS)
def test_face_points_cover_the_official_face_dots(
    samples_dataset: Dataset, shared_dir: Path, stem: str
) -> None:
    points = source_points(samples_dataset, clip_of(samples_dataset, stem))[:, FACE]
    video = shared_dir / "data" / "talkingpose_samples" / OFFICIAL[stem][1]
    covered, total = 0, 0
    for frame in read_frames(video):
        if frame.index % 5:
            continue
        dots = find_face_dots(frame.image)
        ours = points[frame.index][np.isfinite(points[frame.index]).all(axis=1)]
        gaps = np.linalg.norm(dots[:, None] - ours[None], axis=2).min(axis=1, initial=np.inf)
        covered += int((gaps <= DOT_REACH_PX).sum())
        total += len(dots)

    assert total > 50 * 120  # there are 68 dots a frame, some of which hide others
    assert covered / total >= 0.9


@pytest.mark.parametrize("stem", STEMS)
def test_no_line_of_the_drawing_switches_more_than_four_times(
    samples_dataset: Dataset, stem: str
) -> None:
    """Frame by frame, the hip lines of vid3 switch 107 times, those of vid1 32 times."""
    clip = clip_of(samples_dataset, stem)
    counted = switches(samples_dataset.load_pose(clip))
    assert max(counted.values()) <= 4
    assert {part: clip.measurements[f"{part}_switches"] for part in PARTS} == counted


@pytest.mark.parametrize("stem", STEMS)
def test_hips_are_drawn_throughout_near_the_official_ones(
    samples_dataset: Dataset, shared_dir: Path, stem: str
) -> None:
    clip = clip_of(samples_dataset, stem)
    points = source_points(samples_dataset, clip)[:, [LEFT_HIP, RIGHT_HIP]]
    video = shared_dir / "data" / "talkingpose_samples" / OFFICIAL[stem][1]
    official = np.stack([find_hip_dots(frame.image) for frame in read_frames(video)])
    gaps = np.linalg.norm(points - official[: len(points)], axis=2)
    assert np.isfinite(gaps).mean() > 0.95
    assert (np.nanmedian(gaps, axis=0) < 20).all()
    assert (np.nanmean(gaps, axis=0) < 25).all()
    assert (np.nanmean(gaps <= 25, axis=0) > 0.85).all()


@pytest.mark.parametrize("stem", STEMS)
def test_hands_are_the_persons_own(samples_dataset: Dataset, stem: str) -> None:
    pose = samples_dataset.load_pose(clip_of(samples_dataset, stem))
    left, right = pose.keypoints[:, LEFT_HAND], pose.keypoints[:, RIGHT_HAND]
    both = np.isfinite(left[:, 0, 0]) & np.isfinite(right[:, 0, 0])
    shoulders = pose.keypoints[both][:, [LEFT_SHOULDER, RIGHT_SHOULDER]]

    # Who faces us has the left shoulder on our right, and the left hand too: these two never cross.
    assert both.mean() > 0.9
    facing = shoulders[:, 0, 0] - shoulders[:, 1, 0] > 60
    assert facing.mean() > 0.5
    assert (left[both][facing, 0, 0] > right[both][facing, 0, 0]).mean() > 0.99
    # The wrist of the hand is the wrist of the arm.
    for hand, wrist in ((left, LEFT_WRIST), (right, RIGHT_WRIST)):
        gap = np.linalg.norm(hand[both][:, 0] - pose.keypoints[both][:, wrist], axis=1)
        assert np.median(gap) < 15

"""A clip's three files: the right part of the right frames, whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tests.extraction.conftest import MakePose
from tpbench.dataset import clip_path, keypoints_path, pose_path
from tpbench.dwpose_drawing import PoseDrawer, draw_pose
from tpbench.errors import MediaError
from tpbench.extraction import writing
from tpbench.extraction.shots import Span
from tpbench.extraction.writing import CropBox, WrittenClip, write_clip
from tpbench.files import sha256_of
from tpbench.video import Frame, VideoWriter, probe, read_frames
from tpbench.wholebody import WholeBodyPose, load_pose

N_FRAMES = 40
SPAN = Span(shot_id=0, start_frame=10, end_frame=10 + N_FRAMES)
CROP = CropBox(x0_px=160, y0_px=0, side_px=480)


@pytest.fixture
def source(make_media: MediaMaker) -> Path:
    return make_media.cfr(n=60, size=(640, 480))


@pytest.fixture
def pose(make_pose: MakePose) -> WholeBodyPose:
    """A person who drifts to the right."""
    still = make_pose(N_FRAMES)
    drift = np.arange(N_FRAMES, dtype=np.float32)[:, None, None] * np.array([1, 0], np.float32)
    return replace(still, keypoints=still.keypoints + drift)


def written(folder: Path, source: Path, pose: WholeBodyPose, *, size_px: int = 256) -> WrittenClip:
    return write_clip(
        folder,
        "clip",
        source=source,
        info=probe(source),
        span=SPAN,
        crop=CROP,
        pose=pose,
        size_px=size_px,
    )


def is_without_files(folder: Path) -> bool:
    """Whether no file lies in the folders of a dataset, not even a hidden one."""
    return not [path for path in folder.glob("*/**/*") if path.is_file()]


def waits_in_background() -> bool:
    return any(thread.name == "background-calls" for thread in threading.enumerate())


@pytest.mark.parametrize("size_px", [256, 480, 512])
def test_the_clip_is_the_square_of_each_frame_at_its_size(
    tmp_path: Path, source: Path, pose: WholeBodyPose, size_px: int
) -> None:
    written(tmp_path, source, pose, size_px=size_px)
    how = cv2.INTER_AREA if size_px < CROP.side_px else cv2.INTER_CUBIC
    frames = read_frames(source, start_frame=SPAN.start_frame, end_frame=SPAN.end_frame)
    made = [frame.image for frame in read_frames(clip_path(tmp_path, "clip"))]
    assert len(made) == N_FRAMES
    for frame, image in zip(frames, made, strict=True):
        square = np.ascontiguousarray(frame.image[:480, 160:])
        expected = cv2.resize(square, (size_px, size_px), interpolation=how)
        assert cv2.PSNR(image, expected) > 38


def test_the_pose_video_shows_the_keypoints_of_each_frame(
    tmp_path: Path, source: Path, pose: WholeBodyPose
) -> None:
    written(tmp_path, source, pose)
    moved = load_pose(keypoints_path(tmp_path, "clip"))
    drawings = [frame.image for frame in read_frames(pose_path(tmp_path, "clip"))]
    assert len(moved) == len(drawings) == N_FRAMES
    for at in range(N_FRAMES):
        exact = draw_pose(moved.keypoints[[at]], moved.scores[[at]], 256, 256)
        others = [drawings[other] for other in (at - 3, at + 3) if 0 <= other < N_FRAMES]
        here = cv2.PSNR(drawings[at], exact)
        assert here > 25
        assert all(here > cv2.PSNR(other, exact) for other in others)


def test_the_files_are_hashed_and_the_same_each_time(
    tmp_path: Path, source: Path, pose: WholeBodyPose
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = (written(folder, source, pose) for folder in folders)
    assert first == second
    assert first.clip_sha256 == sha256_of(clip_path(folders[0], "clip"))
    assert first.keypoints_sha256 == sha256_of(keypoints_path(folders[0], "clip"))
    assert first.pose_sha256 == sha256_of(pose_path(folders[0], "clip"))


@pytest.mark.parametrize("readable", [0, 1, 25])
def test_an_error_of_the_source_is_raised_and_nothing_left(
    tmp_path: Path,
    source: Path,
    pose: WholeBodyPose,
    monkeypatch: pytest.MonkeyPatch,
    readable: int,
) -> None:
    def breaks(*given: object, **options: object) -> Iterator[Frame]:
        for number, frame in enumerate(read_frames(source)):
            if number == readable:
                raise MediaError(source, "damaged")
            yield frame

    monkeypatch.setattr(writing, "read_frames", breaks)
    with pytest.raises(MediaError, match="damaged"):
        written(tmp_path, source, pose)
    assert is_without_files(tmp_path)
    assert not waits_in_background()


@pytest.mark.parametrize("fails_at", [0, 20, N_FRAMES - 1])
@pytest.mark.parametrize("what", [VideoWriter, PoseDrawer], ids=["encoder", "drawing"])
def test_an_error_of_a_thread_is_raised_and_nothing_left(
    tmp_path: Path,
    source: Path,
    pose: WholeBodyPose,
    monkeypatch: pytest.MonkeyPatch,
    what: type[VideoWriter] | type[PoseDrawer],
    fails_at: int,
) -> None:
    name = "write" if what is VideoWriter else "draw"
    works = getattr(what, name)
    calls: list[object] = []

    def fails(self: object, given: NDArray[np.uint8] | int) -> object:
        calls.append(given)
        if len(calls) > fails_at:
            raise OSError(28, "No space left on device", "clip.mp4")
        return works(self, given)

    monkeypatch.setattr(what, name, fails)
    with pytest.raises(OSError, match=r"No space left on device: 'clip\.mp4'"):
        written(tmp_path, source, pose)
    assert is_without_files(tmp_path)
    assert not waits_in_background()


@pytest.mark.parametrize("path_of", [clip_path, pose_path])
def test_a_finished_file_that_lacks_a_picture_is_noticed(
    tmp_path: Path,
    source: Path,
    pose: WholeBodyPose,
    monkeypatch: pytest.MonkeyPatch,
    path_of: Callable[[Path, str], Path],
) -> None:
    finished = VideoWriter.__exit__

    def cut_off(self: VideoWriter, *error: object) -> None:
        finished(self, *error)  # type: ignore[arg-type]  # passed on
        if self.path == path_of(tmp_path, "clip"):
            self.path.write_bytes(self.path.read_bytes()[:-1])

    monkeypatch.setattr(VideoWriter, "__exit__", cut_off)
    with pytest.raises(MediaError, match=rf"gave \(.*{N_FRAMES - 1}.*\) frames for a clip of"):
        written(tmp_path, source, pose)

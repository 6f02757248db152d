"""What is written reads back, whole or not at all."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from fractions import Fraction
from operator import attrgetter
from pathlib import Path

import av
import cv2
import decord
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tpbench.video import (
    CLIP,
    LOSSLESS_X264,
    POSE,
    PREVIEW,
    Encoding,
    VideoWriter,
    probe,
    read_frames,
)

LOSSY = [CLIP, POSE, PREVIEW]


by_name = attrgetter("name")


def writer_to(
    path: Path,
    size_px: tuple[int, int] = (64, 48),
    encoding: Encoding = CLIP,
    fps: Fraction = Fraction(25),
) -> VideoWriter:
    width_px, height_px = size_px
    return VideoWriter(path, width_px=width_px, height_px=height_px, fps=fps, encoding=encoding)


def write(
    path: Path, images: list[NDArray[np.uint8]], encoding: Encoding, fps: Fraction = Fraction(25)
) -> Path:
    height_px, width_px = images[0].shape[:2] if images else (48, 64)
    with writer_to(path, (width_px, height_px), encoding, fps) as writer:
        for image in images:
            writer.write(image)
    assert writer.frame_count == len(images)
    return path


def noise(n: int, *, width_px: int = 64, height_px: int = 48) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(7)
    return [generator.integers(0, 256, (height_px, width_px, 3), np.uint8) for _ in range(n)]


def readbacks(path: Path) -> dict[str, list[NDArray[np.uint8]]]:
    """The same file through the three readers."""
    capture = cv2.VideoCapture(str(path))
    by_cv2 = []
    while (read := capture.read())[0]:
        by_cv2.append(read[1][..., ::-1])
    return {
        "ours": [frame.image for frame in read_frames(path)],
        "cv2": by_cv2,
        "decord": [i.asnumpy() for i in decord.VideoReader(str(path), num_threads=1)],
    }


@pytest.mark.parametrize("encoding", [*LOSSY, LOSSLESS_X264], ids=by_name)
@pytest.mark.parametrize("fps", [Fraction(23), Fraction(30000, 1001), Fraction(25, 2)])
def test_as_many_frames_as_written_at_the_exact_rate(
    make_media: MediaMaker, encoding: Encoding, fps: Fraction
) -> None:
    images = [make_media.image(number) for number in range(101)]
    path = write(make_media.folder / "out", images, encoding, fps)
    info = probe(path)
    assert (info.frame_count, info.fps, info.variable_rate) == (101, fps, False)
    numbers = [make_media.frame_number(frame.image) for frame in read_frames(path)]
    assert numbers == list(range(101))


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_lossless_reads_back_exactly_in_every_reader(tmp_path: Path, size: tuple[int, int]) -> None:
    images = noise(5, width_px=size[0], height_px=size[1])
    path = write(tmp_path / "out.mkv", images, LOSSLESS_X264)
    for name, read in readbacks(path).items():
        np.testing.assert_array_equal(read, images, err_msg=name)


@pytest.mark.parametrize("encoding", LOSSY, ids=by_name)
def test_colours_survive_in_every_reader(tmp_path: Path, encoding: Encoding) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 90)]
    images = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    path = write(tmp_path / "out.mp4", images, encoding)
    for name, read in readbacks(path).items():
        difference = np.abs(np.array(read, int) - np.array(images)).max()
        assert difference <= 3, name


def test_a_clip_declares_its_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", noise(1), CLIP)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    assert (picture.colorspace, picture.color_range) == (6, 1)


@pytest.mark.parametrize("encoding", [*LOSSY, LOSSLESS_X264], ids=by_name)
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, encoding: Encoding) -> None:
    first = write(tmp_path / "first", noise(20), encoding).read_bytes()
    assert write(tmp_path / "second", noise(20), encoding).read_bytes() == first


def test_an_mp4_has_its_index_in_front(tmp_path: Path) -> None:
    data = write(tmp_path / "out.mp4", noise(3), CLIP).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_image_that_is_no_contiguous_array_is_written_right(tmp_path: Path) -> None:
    turned = np.rot90(noise(1, width_px=48, height_px=64)[0])
    path = write(tmp_path / "out.mkv", [turned], LOSSLESS_X264)
    np.testing.assert_array_equal(next(read_frames(path)).image, turned)


@pytest.mark.parametrize("size", [(63, 48), (64, 47)])
def test_odd_sizes_are_refused_where_colour_is_halved(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="needs even sides"):
        writer_to(tmp_path / "x.mp4", size)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 63, 3), np.uint8),
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 3), np.float32),
    ],
)
def test_a_frame_of_another_shape_or_type_is_refused_and_nothing_left(
    tmp_path: Path, image: NDArray[np.uint8]
) -> None:
    with pytest.raises(ValueError, match="a frame must be"):
        write(tmp_path / "x.mp4", [np.zeros((48, 64, 3), np.uint8), image], CLIP)
    assert list(tmp_path.iterdir()) == []


def test_the_name_is_taken_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with writer_to(path) as writer:
        for image in noise(30):
            writer.write(image)
            assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.mp4"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_body_that_raises_leaves_the_older_file_alone(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    path = write(tmp_path / "x.mp4", noise(3), CLIP)
    before = path.read_bytes()

    def interrupted() -> None:
        with writer_to(path) as writer:
            writer.write(noise(1)[0])
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.mp4"]


def test_no_frame_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame was written"):
        write(tmp_path / "x.mp4", [], CLIP)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"x\.mp4") as caught:
        write(tmp_path / "none" / "x.mp4", noise(1), CLIP)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full device")  # noqa: PTH110 - at import
@pytest.mark.parametrize("encoding", [CLIP, LOSSLESS_X264], ids=by_name)
@pytest.mark.parametrize("n", [1, 80])
def test_a_full_disk_is_an_os_error_and_nothing_left(
    tmp_path: Path, encoding: Encoding, n: int
) -> None:
    path = tmp_path / "x.mp4"
    writer = writer_to(path, encoding=encoding)
    writer._part_path.symlink_to("/dev/full")

    def fill() -> None:
        with writer:
            for image in noise(n):
                writer.write(image)

    with pytest.raises(OSError, match="No space left on device") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    assert type(pickle.loads(pickle.dumps(caught.value))) is OSError  # noqa: S301 - our own bytes
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["with space", "-dash", "größe 写真", "a:b", "100%d"])
def test_any_file_name_is_just_a_name(tmp_path: Path, name: str) -> None:
    assert probe(write(tmp_path / f"{name}.mp4", noise(2), CLIP)).frame_count == 2


def test_a_writer_outside_a_with_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="with"):
        writer_to(tmp_path / "x.mp4").write(noise(1)[0])


_WRITE_A_PAN = """
import sys
from fractions import Fraction
from operator import attrgetter
import cv2
import numpy as np
from tpbench.video import CLIP, VideoWriter
coarse = np.random.default_rng(0).integers(0, 256, (38, 44, 3)).astype(np.uint8)
scene = cv2.resize(coarse, (352, 304))
with VideoWriter(sys.argv[1], width_px=272, height_px=272, fps=Fraction(25), encoding=CLIP) as out:
    for step in range(24):
        out.write(np.ascontiguousarray(scene[step % 8 :][:272, step:][:, :272]))
"""


def test_the_bytes_do_not_hang_on_what_was_in_memory_before(tmp_path: Path) -> None:
    """272 px are 17 macroblocks: x264 would read behind the end of each row of them."""
    written = set()
    for filler in ("1", "85", "170", "255"):
        path = tmp_path / f"{filler}.mp4"
        subprocess.run(
            [sys.executable, "-c", _WRITE_A_PAN, str(path)],
            env=os.environ | {"MALLOC_PERTURB_": filler},  # glibc fills new memory with it
            check=True,
        )
        written.add(path.read_bytes())
    assert len(written) == 1

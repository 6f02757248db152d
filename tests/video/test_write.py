"""What is written reads back, whole or not at all."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
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
    BackgroundCalls,
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


def scaled(
    path: Path, images: list[NDArray[np.uint8]], size_px: tuple[int, int], encoding: Encoding = CLIP
) -> list[NDArray[np.uint8]]:
    """Write images into a video of another size, and read it."""
    height_px, width_px = images[0].shape[:2]
    writer = VideoWriter(
        path,
        width_px=size_px[0],
        height_px=size_px[1],
        fps=Fraction(25),
        encoding=encoding,
        frame_size_px=(width_px, height_px),
    )
    with writer:
        for image in images:
            writer.write(image)
    return [frame.image for frame in read_frames(path)]


def pan(n: int, size_px: tuple[int, int] = (256, 192)) -> list[NDArray[np.uint8]]:
    """A coloured scene with fine and coarse structure, over which a camera pans."""
    width_px, height_px = size_px
    generator = np.random.default_rng(3)
    shape = (height_px + n, width_px + n)
    layers = [
        cv2.resize(generator.normal(0, level, (shape[0] // step, shape[1] // step, 3)), shape[::-1])
        for step, level in ((32, 40), (8, 15), (2, 4))
    ]
    scene = np.clip(sum(layers) + 128, 0, 255).astype(np.uint8)
    return [scene[at : at + height_px, at : at + width_px] for at in range(n)]


@pytest.mark.parametrize(
    ("size", "how"), [((90, 68), cv2.INTER_AREA), ((320, 240), cv2.INTER_CUBIC)]
)
def test_frames_of_another_size_are_scaled(tmp_path: Path, size: tuple[int, int], how: int) -> None:
    images = pan(4)
    read = scaled(tmp_path / "x.mp4", images, size)
    for image, made in zip(images, read, strict=True):
        expected = cv2.resize(image, size, interpolation=how)
        shifted = np.roll(expected, 1, axis=1)
        assert cv2.PSNR(made, expected) > 33
        assert cv2.PSNR(made, expected) > cv2.PSNR(made, shifted) + 3


def test_a_part_of_a_picture_is_written_like_a_copy_of_it(tmp_path: Path) -> None:
    whole = pan(1, (300, 200))[0]
    part = whole[10:190, 20:280]
    np.testing.assert_array_equal(
        scaled(tmp_path / "part.mp4", [part], (128, 96)),
        scaled(tmp_path / "copy.mp4", [part.copy()], (128, 96)),
    )


def test_frames_that_keep_every_pixel_are_not_scaled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be scaled"):
        scaled(tmp_path / "x.mkv", noise(1), (32, 24), LOSSLESS_X264)


def test_a_clip_is_no_further_from_its_source_than_by_the_slow_preset(tmp_path: Path) -> None:
    slow = replace(CLIP, options={"crf": "12", "preset": "medium", "g": "48"})
    images = pan(50)
    distances: dict[bool, list[float]] = {}
    for encoding in (CLIP, slow):
        path = write(tmp_path / f"{len(distances)}.mp4", images, encoding)
        read = [frame.image for frame in read_frames(path)]
        distances[encoding is slow] = [cv2.PSNR(*pair) for pair in zip(images, read, strict=True)]
    assert np.mean(distances[False]) >= np.mean(distances[True])
    assert min(distances[False]) >= min(distances[True])


def test_colour_is_the_mean_of_the_four_pixels_that_share_it(tmp_path: Path) -> None:
    """Alternating red and green lines: their mean, not the lines that happen to be sampled."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[::2, :, 0], image[1::2, :, 1] = 200, 200
    made = next(read_frames(write(tmp_path / "x.mp4", [image], CLIP))).image
    np.testing.assert_allclose(made[8:40, :, :2].mean(axis=(0, 1)), [100, 100], atol=5)


@pytest.mark.parametrize("encoding", LOSSY, ids=by_name)
def test_a_thread_that_writes_changes_no_byte(tmp_path: Path, encoding: Encoding) -> None:
    images = noise(20)
    expected = write(tmp_path / "x.mp4", images, encoding).read_bytes()
    with (
        writer_to(tmp_path / "y.mp4", encoding=encoding) as writer,
        BackgroundCalls(writer.write) as calls,
    ):
        for image in images:
            calls.put(image)
    assert (tmp_path / "y.mp4").read_bytes() == expected


def test_calls_in_the_background_come_in_order_and_end_with_the_block() -> None:
    seen: list[int] = []
    threads = set()

    def look(number: int) -> None:
        seen.append(number)
        threads.add(threading.current_thread())

    with BackgroundCalls(look) as calls:
        for number in range(50):
            calls.put(number)
    assert seen == list(range(50))
    assert threading.current_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("fails_at", [0, 4, 49])
def test_the_error_of_a_call_in_the_background_is_raised_to_the_caller(fails_at: int) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    seen: list[int] = []

    def fail(number: int) -> None:
        seen.append(number)
        if number == fails_at:
            raise error

    def run() -> None:
        with BackgroundCalls(fail) as calls:
            for number in range(50):
                calls.put(number)

    with pytest.raises(OSError, match="No space left") as caught:
        run()
    assert caught.value is error
    assert seen == list(range(fails_at + 1))


def test_after_an_error_of_the_block_waiting_calls_are_dropped() -> None:
    seen: list[int] = []
    begun, gate = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        begun.set()
        assert gate.wait(10)
        seen.append(number)

    def run() -> None:
        with BackgroundCalls(wait) as calls:
            calls.put(0)
            calls.put(1)
            assert begun.wait(10)
            threading.Timer(0.05, gate.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(seen) <= 1
    assert gate.is_set()


def test_a_writer_outside_a_with_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="with"):
        writer_to(tmp_path / "x.mp4").write(noise(1)[0])


_WRITE_A_PAN = """
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from operator import attrgetter
import cv2
import numpy as np
from tpbench.video import CLIP, PREVIEW, VideoWriter
coarse = np.random.default_rng(0).integers(0, 256, (38, 44, 3)).astype(np.uint8)
scene = cv2.resize(coarse, (352, 304))
size = {"width_px": 272, "height_px": 272, "fps": Fraction(25)}
for encoding in (CLIP, PREVIEW):
    with VideoWriter(f"{sys.argv[1]}.{encoding.name}", **size, encoding=encoding) as out:
        for step in range(24):
            out.write(np.ascontiguousarray(scene[step % 8 :][:272, step:][:, :272]))
"""


def test_the_bytes_do_not_hang_on_what_was_in_memory_before(tmp_path: Path) -> None:
    """272 px are 17 macroblocks: x264 would read behind the end of each row of them."""
    written = set()
    for filler in ("1", "85", "170", "255"):
        path = tmp_path / filler
        subprocess.run(
            [sys.executable, "-c", _WRITE_A_PAN, str(path)],
            env=os.environ | {"MALLOC_PERTURB_": filler},  # glibc fills new memory with it
            check=True,
        )
        written.add(tuple(path.with_suffix(f".{e.name}").read_bytes() for e in (CLIP, PREVIEW)))
    assert len(written) == 1

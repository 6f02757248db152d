"""Interlaced pictures come out whole; what was taken whole stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.video import decode_frames, probe, read_frames
from tpbench.video.read import is_combed

if TYPE_CHECKING:
    from tests.conftest import MediaMaker

N = 18


def moment(time: float) -> NDArray[np.uint8]:
    """A bright ball that crosses a dim, soft background, at a time counted in frames."""
    y, x = np.mgrid[:96, :256].astype(np.float64)
    ball = 1 / (1 + np.exp(np.hypot(x - 30 - 11 * time, y - 48) - 24))
    grey = 60 + 20 * np.sin(x / 9) * np.cos(y / 11) + 130 * ball
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)


def woven(number: int, *, later: int = 1) -> NDArray[np.uint8]:
    """A picture whose odd (1) or even (0) lines were taken half a frame later."""
    image = moment(number)
    image[later::2] = moment(number + 0.5)[later::2]
    return image


def bottom_first(number: int) -> NDArray[np.uint8]:
    """What PyAV marks as interlaced has its odd lines first: it can't say otherwise."""
    return woven(number, later=0)


def whole(number: int) -> NDArray[np.uint8]:
    return moment(number)


def write(
    path: Path, picture: Callable[[int], NDArray[np.uint8]], *, marked: bool, depth: str = ""
) -> Path:
    """Write H.264, coded and marked as interlaced or not."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 96, f"yuv420p{depth}"
        tff = {"x264-params": "tff=1"} if marked else {}
        stream.codec_context.options = {"qp": "6", "g": "10", "bf": "2", **tff}
        for number in range(N):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def error(images: list[NDArray[np.uint8]]) -> float:
    """Mean difference to the moments that the pictures stand for, where the ball passes."""
    return float(
        np.mean(
            [np.abs(image.astype(int) - moment(k))[24:72].mean() for k, image in enumerate(images)]
        )
    )


@pytest.mark.parametrize("depth", ["", "10le"])
def test_interlaced_pictures_come_out_whole(tmp_path: Path, depth: str) -> None:
    path = write(tmp_path / "a.mp4", bottom_first, marked=True, depth=depth)

    info = probe(path)
    images = [frame.image for frame in read_frames(path, info=info)]

    assert len(images) == N
    assert error(images) < 0.7 * error([woven(k) for k in range(N)])
    assert not any(is_combed(av.VideoFrame.from_ndarray(image)) for image in images)
    assert info.shown_as == ("interlaced: pictures with combs are deinterlaced",)


def test_every_start_gives_the_same_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", bottom_first, marked=True)
    info = probe(path)
    images = [frame.image for frame in read_frames(path, info=info)]

    for start in (1, 9, 10, 11, 13, N - 1):
        first = next(read_frames(path, info=info, start_frame=start))
        assert np.array_equal(first.image, images[start])


def test_what_is_marked_as_interlaced_but_was_taken_whole_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", whole, marked=True)
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    images = [frame.image for frame in read_frames(path)]

    assert all(np.array_equal(*pair) for pair in zip(images, stored, strict=True))


def test_combs_that_no_mark_tells_of_are_seen_and_can_be_taken_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", woven, marked=False)
    info = probe(path)

    assert not info.interlaced
    assert sum(frame.is_combed() for frame in decode_frames(path, info=info)) > 0.8 * N
    as_interlaced = replace(info, interlaced=True)
    images = [frame.image for frame in read_frames(path, info=as_interlaced)]
    assert error(images) < 0.7 * error([woven(k) for k in range(N)])


def test_pictures_taken_whole_have_no_combs(tmp_path: Path, make_media: MediaMaker) -> None:
    plain = write(tmp_path / "a.mp4", whole, marked=False)

    assert not any(frame.is_combed() for frame in decode_frames(plain))
    assert not any(frame.is_combed() for frame in decode_frames(make_media.cfr()))
    assert probe(plain).shown_as == ()


def test_tiny_pictures_have_no_combs() -> None:
    assert not is_combed(av.VideoFrame(8, 8, "yuv420p"))

"""Black bars are told from dark pictures, and no row of the picture goes with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.extraction.camera import BarSample, content_window, may_have_bars, sample_bars
from tpbench.extraction.config import load_preset
from tpbench.extraction.screening import screen, screen_again
from tpbench.extraction.writing import CropBox
from tpbench.video import decode_frames, probe, read_frames
from tpbench.video.display import Window

if TYPE_CHECKING:
    from tests.conftest import MediaMaker


def scene(
    width: int = 120, height: int = 100, *, seed: int = 0, level: int = 90
) -> NDArray[np.uint8]:
    """A picture of soft blots around a level."""
    blots = np.random.default_rng(seed).uniform(0.4, 1.6, (8, 8, 3))
    image = cv2.resize(level * blots, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)


def framed(
    image: NDArray[np.uint8], bars: tuple[int, int, int, int], *, black: int = 0, noise: float = 0
) -> NDArray[np.uint8]:
    """Put bars to the left, top, right and bottom of a picture."""
    left, top, right, bottom = bars
    frame = cv2.copyMakeBorder(
        image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(black,) * 3
    )
    grain = np.random.default_rng(1).normal(0, noise, frame.shape)
    return np.asarray(np.clip(frame + grain, 0, 255), dtype=np.uint8)


def window_of(images: list[NDArray[np.uint8]]) -> Window | None:
    height, width = images[0].shape[:2]
    samples = [sample_bars(number, image) for number, image in enumerate(images)]
    return content_window(samples, size_px=(width, height))


@given(
    bars=st.tuples(*[st.one_of(st.just(0), st.integers(5, 90)) for _ in range(4)]),
    black=st.integers(0, 16),
    noise=st.sampled_from([0, 1.5]),
    seed=st.integers(0, 20),
)
def test_bars_of_any_width_are_cut_off_to_the_pixel(
    bars: tuple[int, int, int, int], black: int, noise: float, seed: int
) -> None:
    image = framed(scene(seed=seed), bars, black=black, noise=noise)

    window = window_of([image] * 3)

    assert window == (Window(bars[0], bars[1], 120, 100) if any(bars) else None)
    assert may_have_bars(image) == any(bars)


def test_a_dark_background_is_no_bar() -> None:
    images = []
    for shift in range(4):
        image = np.zeros((200, 300, 3), np.uint8)
        cv2.ellipse(image, (150 + 3 * shift, 200), (70, 150), 0, 0, 360, (150, 120, 100), -1)
        images.append(image)

    assert window_of(images) is None


def test_a_picture_too_dark_to_tell_has_no_say() -> None:
    bright, dark = framed(scene(), (0, 40, 0, 40)), framed(scene(level=2), (0, 40, 0, 40))

    assert window_of([dark] * 3) is None
    assert window_of([bright, dark, dark]) == Window(0, 40, 120, 100)


def test_a_shot_too_dark_to_tell_has_the_bars_of_the_video_as_far_as_it_is_black() -> None:
    bright = sample_bars(0, framed(scene(), (0, 40, 0, 40)))
    dark = sample_bars(9, framed(scene(level=2), (0, 40, 0, 40)))
    lamp = framed(scene(level=2), (0, 40, 0, 40))
    lamp[25:30, 50:60] = 255

    def window(sample: BarSample) -> Window | None:
        return content_window([sample], size_px=(120, 180), elsewhere=[bright, bright, sample])

    assert window(dark) == Window(0, 40, 120, 100)
    found = window(sample_bars(9, lamp))
    assert found is not None
    assert found.y0_px <= 25


def test_bars_that_are_there_only_at_times_stay() -> None:
    whole = scene(120, 180)

    assert window_of([framed(scene(), (0, 40, 0, 40))] * 9 + [whole]) is None


def test_of_bars_that_change_the_narrowest_is_cut_off() -> None:
    images = [
        framed(scene(), (0, 40, 0, 40)),
        framed(scene(height=120), (0, 30, 0, 30)),
    ]

    assert window_of(images) == Window(0, 30, 120, 120)


def test_writing_and_logos_on_a_bar_do_not_hide_it() -> None:
    image = framed(scene(200, 150), (0, 60, 0, 60))
    cv2.putText(image, "subtitle", (30, 245), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    cv2.circle(image, (180, 30), 10, (200, 200, 0), -1)

    assert window_of([image] * 3) == Window(0, 60, 200, 150)


def test_a_thin_black_line_is_left_alone() -> None:
    assert window_of([framed(scene(), (2, 0, 0, 0))] * 3) is None


def test_a_square_without_bars_lies_elsewhere_on_the_whole_picture() -> None:
    crop = CropBox(x0_px=10, y0_px=20, side_px=50)

    assert crop.seen_from_outside(Window(100, 7, 200, 200)) == CropBox(
        x0_px=110, y0_px=27, side_px=50
    )
    assert crop.seen_from_outside(None) == crop


class NoFaces:
    """A detector that sees nobody."""

    def detect(self, frames: list[object]) -> list[SimpleNamespace]:
        return [SimpleNamespace(faces=()) for _ in frames]

    def reset(self) -> None:
        pass


def test_a_shot_is_judged_without_its_bars(make_media: MediaMaker) -> None:
    path = make_media.cfr("a.mkv", n=50, size=(96, 96), options={"qp": "4"})
    plain = probe(path)
    config, faces = load_preset("talkingpose"), NoFaces()
    anyone: Any = faces
    wide = make_media.folder / "wide.mkv"
    pad(path, wide)
    info = probe(wide)

    screened = screen(decode_frames(wide, info=info), info=info, config=config, faces=anyone)
    inside = screened.shown(screened.shots[0])
    assert inside.display.window == Window(152, 0, 96, 96)
    frames = decode_frames(wide, info=inside)
    again = screen_again(frames, screened, info=inside, config=config, faces=anyone)
    wanted = screen(decode_frames(path, info=plain), info=plain, config=config, faces=anyone)

    assert (inside.width_px, inside.height_px) == (96, 96)
    assert again.shots == screened.shots
    found, right = ([s.luminance for s in each.pictures] for each in (again, wanted))
    assert found == pytest.approx(right, abs=1)
    assert screened.pictures[0].luminance < 0.5 * right[0]


def pad(source: Path, target: Path) -> None:
    """Copy a video with bars at both sides, 152 px each."""
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 400, 96, "yuv420p"
        stream.codec_context.options = {"qp": "4"}
        for frame in read_frames(source):
            image = framed(frame.image, (152, 0, 152, 0))
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))

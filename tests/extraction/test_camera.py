"""Black bars are told from dark pictures, and no row of the picture goes with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
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

from tpbench.detectors.base import HandDetection, PersonDetection
from tpbench.extraction.camera import (
    BarSample,
    CameraShift,
    content_window,
    may_have_bars,
    sample_bars,
)
from tpbench.extraction.config import load_preset
from tpbench.extraction.screening import screen, screen_again
from tpbench.extraction.writing import CropBox
from tpbench.video import decode_frames, probe, read_frames
from tpbench.video.display import Window
from tpbench.wholebody import LEFT_SHOULDER, RIGHT_ELBOW, RIGHT_SHOULDER, RIGHT_WRIST

if TYPE_CHECKING:
    from tests.conftest import MediaMaker
    from tests.extraction.conftest import MakeTexture


WIDTH, HEIGHT = 640, 360
DIAGONAL = math.hypot(WIDTH, HEIGHT)


@pytest.fixture
def wall(make_texture: MakeTexture) -> NDArray[np.uint8]:
    """A busy background, larger than the picture by 160 px on all sides."""
    return make_texture(WIDTH + 320, HEIGHT + 320)


def _view(wall: NDArray[np.uint8], dx: float, dy: float) -> NDArray[np.uint8]:
    """Look at the wall `dx`, `dy` px right and down of its middle part."""
    centre = (160 + dx + (WIDTH - 1) / 2, 160 + dy + (HEIGHT - 1) / 2)
    view: NDArray[np.uint8] = cv2.getRectSubPix(wall, (WIDTH, HEIGHT), centre)
    return view


@pytest.mark.parametrize(
    ("dx", "dy"), [(1, 0), (0.5, 0.5), (4, 0), (-4, 3), (0, 7), (10, -5), (20, 10), (40, 0)]
)
def test_a_known_shift_is_measured(dx: float, dy: float, wall: NDArray[np.uint8]) -> None:
    camera = CameraShift()
    shifts = [camera.push(_view(wall, k * dx, k * dy), None) for k in range(4)]
    assert math.isnan(shifts[0])
    assert shifts[1:] == pytest.approx([math.hypot(dx, dy) / DIAGONAL] * 3, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 2])
def test_the_share_does_not_depend_on_the_size_of_the_picture(
    factor: float, wall: NDArray[np.uint8]
) -> None:
    camera = CameraShift()
    views = [cv2.resize(_view(wall, x, 0), None, fx=factor, fy=factor) for x in (0, 8)]
    shifts = [camera.push(view, None) for view in views]
    assert shifts[1] == pytest.approx(8 / DIAGONAL, rel=0.1)


@pytest.mark.parametrize("seen_frames", [6, 1])
def test_a_person_who_walks_past_a_still_background_moves_no_camera(
    seen_frames: int, wall: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    person, camera = make_texture(150, 300, seed=5), CameraShift()
    shifts = []
    for k in range(6):
        image, x = _view(wall, 0, 0), 200 + 12 * k
        image[60:, x : x + 150] = person
        box = np.array([x + 45, 80, x + 105, 150], dtype=np.float32)
        shifts.append(camera.push(image, box if k < seen_frames else None))
    assert max(shifts[1:]) < 0.1 / DIAGONAL


def test_corners_are_searched_anew_before_they_have_all_left_the_picture(
    wall: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    """The camera pans over half of a picture, and someone walks through it the other way."""
    person, camera = make_texture(150, 300, seed=5), CameraShift()
    shifts = []
    for k in range(30):
        image, x = _view(wall, 10 * k - 150, 0), 480 - 14 * k
        image[60:, max(x, 0) : max(x + 150, 0)] = person[:, max(-x, 0) :][:, : 640 - max(x, 0)]
        box = np.array([x + 45, 80, x + 105, 150], dtype=np.float32)
        shifts.append(camera.push(image, box))
    assert shifts[1:] == pytest.approx([10 / DIAGONAL] * 29, rel=0.1)


def test_a_pan_behind_a_person_who_fills_the_middle_is_measured(
    wall: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    """The person stands still in the picture, as when the camera follows: only the wall counts."""
    person, camera = make_texture(300, 340, seed=5), CameraShift()
    box = np.array([285, 60, 355, 140], dtype=np.float32)
    shifts = []
    for k in range(3):
        image = _view(wall, 6 * k, 0)
        image[20:, 170:470] = person
        shifts.append(camera.push(image, box))
    assert shifts[1:] == pytest.approx([6 / DIAGONAL] * 2, rel=0.1)


def test_a_plain_wall_tells_nothing() -> None:
    camera, image = CameraShift(), np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    assert all(math.isnan(camera.push(image, None)) for _ in range(3))


def test_a_face_that_leaves_no_background_tells_nothing(wall: NDArray[np.uint8]) -> None:
    camera, box = CameraShift(), np.array([150, 50, 490, 350], dtype=np.float32)
    assert all(math.isnan(camera.push(_view(wall, k, 0), box)) for k in range(3))


@pytest.mark.parametrize(
    "box", [(-900, -900, -800, -800), (5000, 10, 5100, 200), (-30, 100, 40, 200)]
)
def test_a_face_at_or_beyond_the_border_is_no_trouble(
    box: tuple[int, ...], wall: NDArray[np.uint8]
) -> None:
    camera = CameraShift()
    shifts = [camera.push(_view(wall, x, 0), np.array(box, dtype=np.float32)) for x in (0, 5)]
    assert shifts[1] == pytest.approx(5 / DIAGONAL, rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_the_smallest_pictures_tell_nothing_and_raise_nothing(size: tuple[int, int]) -> None:
    camera, image = CameraShift(), np.full((*size, 3), 90, dtype=np.uint8)
    assert all(math.isnan(camera.push(image, None)) for _ in range(2))


@pytest.fixture
def plain() -> NDArray[np.uint8]:
    """A plain wall with a camera's noise."""
    noise = np.random.default_rng(0).normal(0, 1.5, (HEIGHT, WIDTH, 3))
    return np.clip(190 + noise, 0, 255).astype(np.uint8)


def _hand(x: float, y: float) -> HandDetection:
    """A hand of 21 points in a circle of 25 px."""
    angles = np.linspace(0, 2 * np.pi, 21)
    points = np.stack([x + 25 * np.cos(angles), y + 25 * np.sin(angles)], axis=1)
    return HandDetection(keypoints_px=points.astype(np.float32), score=0.9)


def _waving(
    background: NDArray[np.uint8], thing: NDArray[np.uint8], n_hands: int = 1
) -> Iterator[tuple[NDArray[np.uint8], list[HandDetection]]]:
    """Hands far from the face go up and down by 9 px a frame."""
    for k in range(6):
        image, hands = background.copy(), []
        for x in (60, WIDTH - 100)[:n_hands]:
            y = 150 + 9 * k
            image[y - 30 : y + 30, x - 30 : x + 30] = thing
            hands.append(_hand(x, y))
        yield image, hands


@pytest.mark.parametrize("n_hands", [1, 2])
def test_hands_before_a_plain_wall_are_no_camera(
    n_hands: int, plain: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    camera, box = CameraShift(), np.array([290, 60, 350, 140], dtype=np.float32)
    shifts = [
        camera.push(image, box, hands=hands)
        for image, hands in _waving(plain, make_texture(60, 60), n_hands)
    ]
    assert all(math.isnan(shift) for shift in shifts)


def test_an_arm_whose_hand_was_not_found_is_no_camera(
    plain: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    camera, box = CameraShift(), np.array([290, 60, 350, 140], dtype=np.float32)
    shifts = []
    for k, (image, _) in enumerate(_waving(plain, make_texture(60, 60))):
        points = np.full((133, 2), np.nan, dtype=np.float32)
        points[[LEFT_SHOULDER, RIGHT_SHOULDER]] = (380, 170), (260, 170)
        points[[RIGHT_ELBOW, RIGHT_WRIST]] = (190, 200), (105, 170 + 9 * k)
        person = PersonDetection(keypoints_px=points, scores=np.ones(133, dtype=np.float32))
        shifts.append(camera.push(image, box, people=[person]))
    assert all(math.isnan(shift) for shift in shifts)


def test_one_thing_that_moves_before_a_plain_wall_is_no_camera(
    plain: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    """Nobody knows what it is: a screen, a cat, a shadow."""
    camera = CameraShift()
    shifts = [camera.push(image, None) for image, _ in _waving(plain, make_texture(60, 60))]
    assert all(math.isnan(shift) for shift in shifts)


def test_a_pan_past_things_on_a_plain_wall_is_measured(
    plain: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    wide, camera = np.tile(plain, (1, 2, 1)), CameraShift()
    for at, (x, y) in enumerate([(80, 40), (300, 200), (520, 60), (700, 250)]):
        wide[y : y + 80, x : x + 80] = make_texture(80, 80, seed=at)
    shifts = [camera.push(wide[:, 6 * k : 6 * k + WIDTH], None) for k in range(4)]
    assert shifts[1:] == pytest.approx([6 / DIAGONAL] * 3, rel=0.1)


def test_hands_before_a_still_busy_background_leave_it_still(
    wall: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    camera, box = CameraShift(), np.array([290, 60, 350, 140], dtype=np.float32)
    shifts = [
        camera.push(image, box, hands=hands)
        for image, hands in _waving(_view(wall, 0, 0), make_texture(60, 60, seed=3), 2)
    ]
    assert max(shifts[1:]) < 0.1 / DIAGONAL


@pytest.mark.parametrize("swing", [0.12, 0.3])
def test_lamps_that_flicker_move_no_camera(swing: float, wall: NDArray[np.uint8]) -> None:
    camera, view = CameraShift(), _view(wall, 0, 0) // 2 + 20
    shifts = [
        camera.push(np.clip(view * (1 + swing * (-1) ** k), 0, 255).astype(np.uint8), None)
        for k in range(6)
    ]
    assert max(shifts[1:]) < 0.3 / DIAGONAL


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

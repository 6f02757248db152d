"""Videos that benchmarks of extraction work on: cut from the sample talks, or made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.doctor import demo_clips
from tpbench.video import PREVIEW, Encoding, VideoWriter, probe, read_frames

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, of even sides."""

OF_THE_WEB: Final = replace(
    PREVIEW,
    name="web",
    options={"crf": "23", "preset": "veryfast", "g": "128"},
)
"""A keyframe every five seconds, as large sites have them."""
SAMPLES: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
_STEP_FRAMES: Final = 20
_SHORT_MOST_PX: Final = 384
_SHORT_FPS: Final = 25
_SLIDE_PX: Final = (1280, 720)
_SHORT_SHOT_FRAMES: Final = 60
_LEAD_IN_FRAMES: Final = 120
"""One of the sample talks begins with a turned head, and a short piece of it would be rejected."""
_NEXT_START_FRAMES: Final = 37
_MOST_LEVELS: Final = 16
"""Of 255, by which a talk is brightened as it is played again."""
_DARK: Final = 0.06
"""Of the sample talks' light; their mean luma then is 5 to 8, and the preset asks for 10."""
_BELOW_THE_CHIN: Final = 0.55
"""Share of a sample talk's height below which there is no face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talks:
    """Videos that are kept, and the preset that keeps them."""

    videos: tuple[Path, ...]
    preset: str


def sample_talks(given: Sequence[Path] = ()) -> Talks:
    """Return the videos given, else the sample talks in ../shared, else the demo's talking man."""
    if given:
        return Talks(videos=tuple(given), preset="talkingpose")
    if found := sorted(SAMPLES.glob("vid*.mp4")):
        return Talks(videos=tuple(found), preset="talkingpose")
    return Talks(videos=(demo_clips()[0],), preset="demo")


class Reel:
    """A talk that is played on from where it stopped, and at its end from another start.

    Each time round is one level brighter, so that no two videos have the same bytes: those of a
    talk that is shorter than they would be rejected as duplicates, and cost nothing.
    """

    def __init__(self, video: Path) -> None:
        self._video = video
        info = probe(video)
        self.fps: Final[Fraction] = info.fps
        self.size_px: Final = (info.width_px // 2 * 2, info.height_px // 2 * 2)
        self.n_frames: Final = info.frame_count
        self._start = self._at = min(_LEAD_IN_FRAMES, self.n_frames // 5)
        self._rounds = 0

    def take(self, n_frames: int) -> Iterator[Picture]:
        """Yield the next frames; if there are too few left, those from another start."""
        if self._at + n_frames > self.n_frames:
            self._start = (self._start + _NEXT_START_FRAMES) % max(1, self.n_frames - n_frames)
            self._at = self._start
            self._rounds += 1
        start = self._at
        self._at = start + n_frames
        return islice(self._from(start, min(self._rounds, _MOST_LEVELS)), n_frames)

    def _from(self, start: int, levels: int) -> Iterator[Picture]:
        width_px, height_px = self.size_px
        while True:
            for frame in read_frames(self._video, start_frame=start):
                picture = frame.image[:height_px, :width_px]
                yield np.minimum(picture, 255 - levels) + np.uint8(levels)
            start = 0


def write_video(
    path: Path, pictures: Iterable[Picture], fps: Fraction, *, encoding: Encoding = OF_THE_WEB
) -> None:
    """Write pictures of one size as a video, of the web if not said otherwise."""
    frames = iter(pictures)
    first = next(frames)
    height_px, width_px = first.shape[:2]
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=fps, encoding=encoding
    ) as writer:
        writer.write(first)
        for picture in frames:
            writer.write(picture)


def write_kept(folder: Path, talks: Talks, *, count: int, n_frames: int) -> int:
    """Write `count` talks of `n_frames` each, named `talk-<number>`; return the frames in all."""
    reels = [Reel(video) for video in talks.videos]
    for number in range(count):
        reel = reels[number % len(reels)]
        write_video(folder / f"talk-{number:04d}.mp4", reel.take(n_frames), reel.fps)
    return count * n_frames


def write_short(folder: Path, names: Sequence[str], *, n_frames: int) -> None:
    """Cut short, small videos from the talks, each of other frames, under these names."""
    folder.mkdir()
    talks = sample_talks().videos
    for number, name in enumerate(names):
        pictures = _cut(talks[number % len(talks)], number // len(talks), n_frames=n_frames)
        write_video(folder / f"{name}.mp4", pictures, Fraction(_SHORT_FPS), encoding=PREVIEW)


def _cut(talk: Path, number: int, *, n_frames: int) -> Iterator[Picture]:
    """Yield the pictures of a piece; each piece is a little brighter than the one before."""
    info = probe(talk)
    most = max(1, info.frame_count - n_frames)
    scale = min(1.0, _SHORT_MOST_PX / max(info.width_px, info.height_px))
    size = (int(info.width_px * scale) // 2 * 2, int(info.height_px * scale) // 2 * 2)
    start = number * _STEP_FRAMES % most
    for frame in read_frames(talk, start_frame=start, end_frame=start + n_frames):
        small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        yield cv2.add(small, np.full_like(small, number % _MOST_LEVELS))


def write_mix(folder: Path, talks: Talks, *, fives: int, n_frames: int) -> int:
    """Write one talk and four videos to be rejected, `fives` times; return the frames in all.

    The kinds of rejects alternate, so that each five holds four of the five kinds.
    """
    reels = [Reel(video) for video in talks.videos]
    kinds = list(REJECTS)
    for five in range(fives):
        reel = reels[five % len(reels)]
        write_video(folder / f"{five:03d}-talk.mp4", reel.take(n_frames), reel.fps)
        for number in range(4):
            kind = kinds[(4 * five + number) % len(kinds)]
            shown = Shown(talk=reel, other=reels[(five + 1) % len(reels)], number=five)
            pictures = REJECTS[kind](shown, n_frames)
            write_video(folder / f"{five:03d}-{kind}.mp4", pictures, reel.fps)
    return 5 * fives * n_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a reject is made of."""

    talk: Reel
    other: Reel
    """Another talk, or the same one if there is only one."""
    number: int
    """Another one, another video."""


def slides(shown: Shown, n_frames: int) -> Iterator[Picture]:
    """A written page, and a pointer that moves over it."""
    width_px, height_px = _SLIDE_PX
    page = np.full((height_px, width_px, 3), 250, np.uint8)
    words = ["results", "method", "frames", "error", "model", "data", "talk", "figure", "pose"]
    lines = np.random.default_rng(shown.number).integers(0, len(words), (9, 6))
    _print(page, "Results of the talk", (70, 95), 2.0)
    for row, line in enumerate(lines):
        _print(page, "- " + " ".join(words[word] for word in line), (80, 180 + 58 * row), 1.1)
    for at in range(n_frames):
        picture = page.copy()
        cv2.circle(picture, (100 + 5 * at % (width_px - 200), 690), 9, (200, 30, 30), -1)
        yield picture


def _print(page: Picture, text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(page, text, at, 0, size, (20, 20, 60), round(2 * size), cv2.LINE_AA)


def no_face(shown: Shown, n_frames: int) -> Iterator[Picture]:
    """The lower part of a talk: hands, and a body without its head."""
    width_px, height_px = shown.talk.size_px
    side_px = height_px - round(_BELOW_THE_CHIN * height_px)
    left_px = (width_px - side_px) // 2
    for picture in shown.talk.take(n_frames):
        part = picture[-side_px:, left_px : left_px + side_px]
        yield _resized(part, (width_px, height_px))


def two_people(shown: Shown, n_frames: int) -> Iterator[Picture]:
    """Two talks side by side; where there is one, itself and its mirror image."""
    for pair in _two_talks(shown, n_frames):
        yield np.concatenate(pair, axis=1)


def too_dark(shown: Shown, n_frames: int) -> Iterator[Picture]:
    """A talk without light."""
    for picture in shown.talk.take(n_frames):
        yield (picture * _DARK).astype(np.uint8)


def short_shots(shown: Shown, n_frames: int) -> Iterator[Picture]:
    """Two talks, or one and its mirror image, in turn, for a few seconds each."""
    for at, pair in enumerate(_two_talks(shown, n_frames)):
        yield pair[at // _SHORT_SHOT_FRAMES % 2]


def _two_talks(shown: Shown, n_frames: int) -> Iterator[tuple[Picture, Picture]]:
    """Yield frames of two talks, of the size of the first."""
    if shown.talk is shown.other:
        for picture in shown.talk.take(n_frames):
            yield picture, np.ascontiguousarray(picture[:, ::-1])
        return
    pairs = zip(shown.talk.take(n_frames), shown.other.take(n_frames), strict=True)
    for one, other in pairs:
        yield one, _resized(other, shown.talk.size_px)


def _resized(picture: Picture, size_px: tuple[int, int]) -> Picture:
    if picture.shape[1::-1] == size_px:
        return picture
    return np.asarray(cv2.resize(picture, size_px), np.uint8)


REJECTS: Final[dict[str, Callable[[Shown, int], Iterator[Picture]]]] = {
    "slides": slides,
    "no-face": no_face,
    "two-people": two_people,
    "too-dark": too_dark,
    "short-shots": short_shots,
}
"""What is to be rejected, by the name of its kind."""

"""Whether the same of 26 clips is kept as with detection on every frame, or by another checkout.

    python -m benchmarks.same_clips [--against CHECKOUT] [VIDEO ...]

The clips are cut from talks or made of them, and extracted twice with `--skeleton mediapipe`. What
is kept must be the same, and so must the codes of what is rejected. Another checkout may measure a
clip to its end that this one gives up as soon as it is certain: then the codes of this one must be
some of the other's. Keypoints of kept clips are compared as well.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import yaml

from benchmarks.material import (
    REJECTS,
    Picture,
    Reel,
    Shown,
    Talks,
    sample_talks,
    write_video,
)
from benchmarks.sides import CHECKOUT, checkout_argument
from tpbench.dataset import Clip, Dataset, keypoints_path
from tpbench.extraction.config import load_preset
from tpbench.wholebody import VISIBLE_SCORE, load_pose

_FRAMES: Final = 150
_BREAK_FRAMES: Final = range(60, 80)
Change = Callable[[Picture, int], Picture]


def _scaled(picture: Picture, gain: float, add: float = 0.0) -> Picture:
    return np.asarray(cv2.convertScaleAbs(picture, alpha=gain, beta=add), dtype=np.uint8)


def _zoomed(picture: Picture, top: float, bottom: float, left: float, right: float) -> Picture:
    """Show a part of the picture, given as shares of it, at full size."""
    height, width = picture.shape[:2]
    rows = slice(round(top * height), round(bottom * height))
    part = picture[rows, round(left * width) : round(right * width)]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _framed(picture: Picture, share: float) -> Picture:
    """Show the picture small, before black."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    frame = np.zeros_like(picture)
    y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    frame[y : y + small.shape[0], x : x + small.shape[1]] = small
    return frame


def _barred(picture: Picture) -> Picture:
    height = picture.shape[0]
    barred = picture.copy()
    barred[: height // 8] = barred[-(height // 8) :] = 0
    return barred


def _captioned(picture: Picture) -> Picture:
    shown, height = picture.copy(), picture.shape[0]
    cv2.putText(shown, "and this is what we found", (40, height - 40), 0, 0.9, (250, 250, 250), 2)
    return shown


def _covered(picture: Picture, top: float, bottom: float) -> Picture:
    shown, height = picture.copy(), picture.shape[0]
    shown[round(top * height) : round(bottom * height)] = 96
    return shown


def _grey(picture: Picture) -> Picture:
    return np.dstack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)] * 3)


def _shaken(picture: Picture, at: int) -> Picture:
    return np.roll(picture, (round(9 * np.sin(at)), round(14 * np.sin(0.7 * at))), axis=(0, 1))


CHANGES: Final[dict[str, Change]] = {
    "as-it-is": lambda picture, _: picture,
    "from-another-start": lambda picture, _: picture,
    "mirrored": lambda picture, _: np.ascontiguousarray(picture[:, ::-1]),
    "dim": lambda picture, _: _scaled(picture, 0.45),
    "bright": lambda picture, _: _scaled(picture, 1.3, 20),
    "grey": lambda picture, _: np.repeat(picture.mean(axis=2, keepdims=True), 3, 2).astype(
        np.uint8
    ),
    "closer": lambda picture, _: _zoomed(picture, 0, 0.8, 0.1, 0.9),
    "head-only": lambda picture, _: _zoomed(picture, 0, 0.5, 0.25, 0.75),
    "far": lambda picture, _: _framed(picture, 0.5),
    "bars": lambda picture, _: _barred(picture),
    "caption": lambda picture, _: _captioned(picture),
    "blurred": lambda picture, _: cv2.GaussianBlur(picture, (0, 0), 4),
    "noise": lambda picture, at: cv2.add(
        picture, np.random.default_rng(at).integers(0, 14, picture.shape).astype(np.uint8)
    ),
    "shaken": _shaken,
    "lamps-fade": lambda picture, at: _scaled(picture, 1 - 0.5 * at / _FRAMES),
    "hands-covered": lambda picture, _: _covered(picture, 0.55, 1.0),
    "hands-covered-late": lambda picture, at: _covered(picture, 0.55, 1.0 if at > 70 else 0.55),
    "face-covered-for-a-while": lambda picture, at: _covered(
        picture, 0.0, 0.6 if at in _BREAK_FRAMES else 0.0
    ),
}
"""What is done to each frame of a talk, by the name of the clip."""


def _cut(shown: Shown) -> Iterator[Picture]:
    """A talk, then the other one."""
    return chain(shown.talk.take(_FRAMES), _of_size(shown, shown.other.take(_FRAMES)))


def _dissolve(shown: Shown) -> Iterator[Picture]:
    """A talk that dissolves into the other one in 25 frames."""
    others = _of_size(shown, shown.other.take(2 * _FRAMES))
    for at, (one, other) in enumerate(zip(shown.talk.take(2 * _FRAMES), others, strict=True)):
        weight = min(1.0, max(0.0, (at - _FRAMES) / 25))
        yield np.asarray(cv2.addWeighted(one, 1 - weight, other, weight, 0), np.uint8)


def _frozen(shown: Shown) -> Iterator[Picture]:
    (still,) = shown.talk.take(1)
    return iter([still] * _FRAMES)


def _of_size(shown: Shown, pictures: Iterator[Picture]) -> Iterator[Picture]:
    for picture in pictures:
        yield np.asarray(cv2.resize(picture, shown.talk.size_px), np.uint8)


MADE: Final[dict[str, Callable[[Shown], Iterator[Picture]]]] = {
    "cut": _cut,
    "dissolve": _dissolve,
    "frozen": _frozen,
}


def write_clips(folder: Path, talks: Talks) -> None:
    """Write all clips, from the given talks in turn."""
    reels = [Reel(video) for video in talks.videos]
    for number, name in enumerate([*CHANGES, *MADE, *REJECTS]):
        talk, other = (reels[at % len(reels)] for at in (number, number + 1))
        shown = Shown(talk=talk, other=other, number=number)
        if name in CHANGES:
            taken = enumerate(talk.take(_FRAMES))
            pictures: Iterator[Picture] = (CHANGES[name](picture, at) for at, picture in taken)
        elif name in MADE:
            pictures = MADE[name](shown)
        else:
            pictures = REJECTS[name](shown, _FRAMES)
        write_video(folder / f"{name}.mp4", pictures, talk.fps)


def extract(checkout: Path, videos: Path, out: Path, preset: str) -> dict[str, list[Clip]]:
    """Extract with a checkout; return the rows of each video by its name."""
    command = [sys.executable, "-m", "tpbench", "extract", str(videos), "--out", str(out)]
    command += ["--skeleton", "mediapipe", "--preset", preset, "--workers", "2"]
    env = os.environ | {"PYTHONPATH": str(checkout)}
    subprocess.run(  # noqa: S603 - our own command
        command, check=True, cwd=checkout, env=env, stdout=subprocess.DEVNULL
    )
    rows: dict[str, list[Clip]] = {}
    for clip in Dataset.open(out).clips(None):
        rows.setdefault(Path(clip.source_path).stem, []).append(clip)
    return rows


def every_frame_preset(folder: Path, name: str) -> str:
    """Write a preset whose networks run on every frame; return its path."""
    plain = load_preset(name).model_dump(mode="json")
    plain["mediapipe"]["every_frame"] = True
    path = folder / "every-frame.yaml"
    path.write_text(yaml.safe_dump(plain))
    return str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How the rows of one video differ."""

    text: str
    is_fault: bool


def differences(
    before: Sequence[Clip], now: Sequence[Clip], *, may_be_fewer: bool
) -> Iterator[Difference]:
    """Compare the rows of one video.

    Args:
        before: of one side.
        now: of the other.
        may_be_fewer: codes that only `before` has are no fault.
    """
    kept = [[row.clip_id for row in rows if row.status == "kept"] for rows in (before, now)]
    if kept[0] != kept[1]:
        yield Difference(text=f"kept {kept[0]}, now {kept[1]}", is_fault=True)
    others = {row.clip_id: row for row in before if row.status == "rejected"}
    for row in now:
        then = others.pop(row.clip_id, None)
        if row.status != "rejected" or then is None or row.reject_codes == then.reject_codes:
            continue
        fewer = may_be_fewer and set(row.reject_codes) < set(then.reject_codes)
        codes = (", ".join(one.reject_codes) for one in (then, row))
        yield Difference(text=f"{row.clip_id[-17:]}: {', now '.join(codes)}", is_fault=not fewer)


def apart_px(clip: Clip, before: Path, now: Path) -> str:
    """Return how far the keypoints of a kept clip moved."""
    one, other = (load_pose(keypoints_path(folder, clip.clip_id)) for folder in (before, now))
    seen = (one.scores > VISIBLE_SCORE) & (other.scores > VISIBLE_SCORE)
    moved = np.linalg.norm(one.keypoints - other.keypoints, axis=2)[seen]
    return f"{np.median(moved):.2f} px median, {np.percentile(moved, 95):.2f} px 95th percentile"


def main() -> None:
    """Make the clips, extract them twice, and print what differs; exit 1 for a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, help="talks that the clips are made of")
    parser.add_argument(
        "--against",
        type=checkout_argument,
        metavar="CHECKOUT",
        help="another commit; default: this one, with detection on every frame",
    )
    options = parser.parse_args()
    talks = sample_talks(options.videos)
    faults = 0
    with tempfile.TemporaryDirectory(prefix="tpbench-same-") as made:
        folder = Path(made)
        (folder / "videos").mkdir()
        write_clips(folder / "videos", talks)
        preset = talks.preset if options.against else every_frame_preset(folder, talks.preset)
        sides = {"before": (options.against or CHECKOUT, preset), "now": (CHECKOUT, talks.preset)}
        rows = {
            side: extract(checkout, folder / "videos", folder / side, preset)
            for side, (checkout, preset) in sides.items()
        }
        for name in sorted(rows["before"] | rows["now"]):
            before, now = (rows[side].get(name, []) for side in sides)
            found = list(differences(before, now, may_be_fewer=bool(options.against)))
            faults += sum(one.is_fault for one in found)
            print(f"{name}: {'the same' if not found else ''}")
            for one in found:
                print(f"    {'FAULT ' if one.is_fault else ''}{one.text}")
            for clip in now:
                if clip.status == "kept" and clip.clip_id in {row.clip_id for row in before}:
                    print(f"    kept, {apart_px(clip, folder / 'before', folder / 'now')}")
    print(f"{faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

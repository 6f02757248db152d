"""A clip made again from another copy of its source, and compared with what it was.

A copy with the same bytes is read at the same frame numbers. Any other may have another size, rate
or container, and begin a few frames earlier or later: its frames are found by time, and the clip's
marks (`dataset.likeness`) say how many frames it is shifted and whether it shows the same pictures.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Clip
from tpbench.dataset.folder import CLIP_VIDEO, KEYPOINTS, POSE_VIDEO
from tpbench.dataset.likeness import (
    SAME_LIMIT,
    Comparison,
    Marks,
    distance_of,
    grid_of,
    sampled_frames,
)
from tpbench.dataset.pack import Pack
from tpbench.dataset.rebuilt import KEPT_OUTCOMES, RebuildOutcome
from tpbench.extraction.writing import CropBox, write_videos
from tpbench.files import sha256_of
from tpbench.video import AudioSource, Frame, VideoInfo, Window, decode_frames
from tpbench.video.read import as_frame

MOST_SHIFT_FRAMES: Final = 3
"""How far a copy is searched for the beginning of a clip, in frames of the clip, both ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """What became of one clip."""

    clip_id: str
    outcome: RebuildOutcome
    distance: float | None = None
    """See `RebuiltClip`, as for the next ones."""
    shift_frames: int | None = None
    clip_sha256: str | None = None
    """Of the clip in the dataset; None if it is not there."""
    pose_sha256: str | None = None
    error: str | None = None

    @property
    def kept(self) -> bool:
        """Whether the clip is in the dataset."""
        return self.outcome in KEPT_OUTCOMES


def rate_of(row: Clip) -> Fraction:
    """Return the frames a second of a kept clip."""
    return Fraction(row.fps_num or 0, row.fps_den or 1)


class _TooShortError(Exception):
    """A copy ends before the clip does, or begins after it."""


def frame_numbers(row: Clip, fps: Fraction, shift: int) -> NDArray[np.int64]:
    """Return which frames of a copy show the frames of a clip, (n,): the nearest in time.

    Args:
        row: the clip, on the timeline of its own source.
        fps: frames a second of the copy.
        shift: frames of the clip by which the copy is late.
    """
    rate = fps / rate_of(row)
    first = (row.start_frame or 0) + shift
    numbers = np.arange(first, first + (row.n_frames or 0), dtype=np.int64)
    # The nearest whole number to numbers * rate, a half rounded down, in exact integers.
    up, down = rate.numerator, rate.denominator
    return -((down - 2 * numbers * up) // (2 * down))


def crop_in(row: Clip, info: VideoInfo) -> CropBox:
    """Return the square of a clip in a copy of any size.

    Args:
        row: holds the square as shares of width and height.
        info: of the copy.
    """
    x0, y0, x1, y1 = (
        float(corner or 0) for corner in (row.crop_x0, row.crop_y0, row.crop_x1, row.crop_y1)
    )
    width_px, height_px = info.width_px, info.height_px
    side = round(((x1 - x0) * width_px + (y1 - y0) * height_px) / 2)
    side_px = max(1, min(side, width_px, height_px))
    return CropBox(
        x0_px=min(round(x0 * width_px), width_px - side_px),
        y0_px=min(round(y0 * height_px), height_px - side_px),
        side_px=side_px,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCopy:
    """A raw file that may be the source of clips."""

    path: Path
    info: VideoInfo
    sha256: str | None

    def is_original_of(self, row: Clip) -> bool:
        """Whether it has the bytes that the clip was made of, read as they were then."""
        return (
            self.sha256 is not None
            and self.sha256 == row.source_sha256
            and self.info.fps == rate_of(row)
            and self.info.frame_count >= (row.end_frame or 0)
        )

    def numbers(self, row: Clip, shift: int) -> NDArray[np.int64]:
        """Return `frame_numbers` within the copy.

        A few frames that it lacks at its ends are replaced by the nearest.

        Raises:
            _TooShortError: it lacks more.
        """
        numbers = frame_numbers(row, self.info.fps, shift)
        last = self.info.frame_count - 1
        room = ceil(2 * MOST_SHIFT_FRAMES * self.info.fps / rate_of(row))
        if not len(numbers) or numbers[0] < -room or numbers[-1] > last + room:
            raise _TooShortError
        return np.clip(numbers, 0, last)

    def frames(
        self, numbers: NDArray[np.int64], *, info: VideoInfo | None = None
    ) -> Iterator[Frame]:
        """Yield the frames with these numbers, which never fall; repeats are allowed.

        Args:
            numbers: within the copy.
            info: how to show them, if not as the copy's own info says.
        """
        wanted = Counter(numbers.tolist())
        for decoded in decode_frames(
            self.path,
            info=info or self.info,
            start_frame=int(numbers[0]),
            end_frame=int(numbers[-1]) + 1,
        ):
            if times := wanted[decoded.index]:
                yield from repeat(as_frame(decoded), times)

    def placed(self, row: Clip, marks: Marks) -> tuple[float, int]:
        """Return the least distance from a clip, and the shift in frames that gives it.

        Only sampled frames are compared; of several equally good shifts, the smallest.

        Raises:
            _TooShortError: the copy lacks frames of the clip.
        """
        shifts = range(-MOST_SHIFT_FRAMES, MOST_SHIFT_FRAMES + 1)
        samples = list(sampled_frames(row.n_frames or 0, rate_of(row)))
        comparisons = {shift: Comparison(marks) for shift in shifts}
        wanted: defaultdict[int, list[int]] = defaultdict(list)
        for shift in shifts:
            for number in self.numbers(row, shift)[samples]:
                wanted[int(number)].append(shift)
        crop = crop_in(row, self.info)
        for frame in self.frames(np.array(sorted(wanted), dtype=np.int64)):
            grid = grid_of(cropped(frame.image, crop))
            for shift in wanted[frame.index]:
                comparisons[shift].add(grid)
        found = {shift: comparison.distance for shift, comparison in comparisons.items()}
        best = min(shifts, key=lambda shift: (round(found[shift], 3), abs(shift)))
        return found[best], best


def cropped(image: NDArray[np.uint8], crop: CropBox) -> NDArray[np.uint8]:
    """Return the square of a (H, W, 3) picture, contiguous."""
    x1, y1 = crop.x0_px + crop.side_px, crop.y0_px + crop.side_px
    return np.ascontiguousarray(image[crop.y0_px : y1, crop.x0_px : x1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaker:
    """Makes the clips of a pack again, below a staging folder."""

    pack: Pack
    staging: Path

    def remake(self, row: Clip, marks: Marks, copy: SourceCopy) -> Remade:
        """Make one clip, and compare it with the pack's; other pictures leave no file.

        Raises:
            MediaError: the copy, or the keypoints of the pack, can't be read.
        """
        if copy.is_original_of(row):
            return self._as_it_was(row, copy) or self._compared(row, marks, copy, shift=None)
        try:
            distance, shift = copy.placed(row, marks)
        except _TooShortError:
            ends_s = float((row.end_frame or 0) / rate_of(row))
            said = f"has {copy.info.duration_s:.1f} s, and the clip ends at {ends_s:.1f} s"
            return _other(row, None, f"{copy.path.name}: {said}")
        if distance > SAME_LIMIT:
            return _other(row, distance, _too_far(copy, distance))
        hashes = self._write(row, copy, shift, copy.info)
        if hashes == (row.clip_sha256, row.pose_sha256):
            return _identical(row, shift)
        return self._compared(row, marks, copy, shift=shift)

    def _as_it_was(self, row: Clip, copy: SourceCopy) -> Remade | None:
        """Write a clip of the same source; return it if the bytes are the same, too."""
        ways = _ways_of_showing(copy.info)
        for info in ways:
            clip_sha256, pose_sha256 = self._write(row, copy, 0, info)
            if pose_sha256 != row.pose_sha256:
                return None  # with this encoder, no way gives the same bytes
            if clip_sha256 == row.clip_sha256:
                return _identical(row, None)
        if len(ways) > 1:
            self._write(row, copy, 0, copy.info)
        return None

    def _compared(self, row: Clip, marks: Marks, copy: SourceCopy, *, shift: int | None) -> Remade:
        """Compare a written clip with the pack's, picture by picture."""
        video, poses = (kind.path(self.staging, row.clip_id) for kind in (CLIP_VIDEO, POSE_VIDEO))
        distance = distance_of(video, marks)
        if distance > SAME_LIMIT:
            for path in (video, poses, KEYPOINTS.path(self.staging, row.clip_id)):
                path.unlink()
            return _other(row, distance, _too_far(copy, distance))
        return Remade(
            clip_id=row.clip_id,
            outcome="re-encoded",
            distance=distance,
            shift_frames=shift,
            clip_sha256=sha256_of(video),
            pose_sha256=sha256_of(poses),
        )

    def _write(self, row: Clip, copy: SourceCopy, shift: int, info: VideoInfo) -> tuple[str, str]:
        """Write the three files of a clip; return the sha256 of the clip and of the pose video.

        The keypoints are the pack's, byte for byte.
        """
        rate = rate_of(row)
        audio = None
        if info.has_audio:
            first, end = ((frame or 0) + shift for frame in (row.start_frame, row.end_frame))
            # As an extraction computes it, or the sound of the same source might differ.
            start_s, end_s = first / float(rate), end / float(rate)
            audio = AudioSource(path=copy.path, start_s=start_s, end_s=end_s, info=info)
        video, poses = write_videos(
            self.staging,
            row.clip_id,
            source=copy.path,
            frames=copy.frames(copy.numbers(row, shift), info=info),
            crop=crop_in(row, info),
            pose=self.pack.pose(row),
            fps=rate,
            audio=audio,
        )
        keypoints = KEYPOINTS.make_place(self.staging, row.clip_id)
        shutil.copyfile(self.pack.require_keypoints(row), keypoints)
        return sha256_of(video), sha256_of(poses)


def _ways_of_showing(info: VideoInfo) -> list[VideoInfo]:
    """Return the ways in which a shot may have been read when the clip was made.

    A manifest doesn't say whether a shot was deinterlaced although the file declares no
    interlacing, or was read without its black bars, which matters where pixels are not square.
    """
    ways = [info] if info.interlaced else [info, replace(info, interlaced=True)]
    if info.display.pixel_aspect == 1:
        return ways
    whole = Window(0, 0, info.width_px, info.height_px)
    return ways + [way.windowed(whole) for way in ways]


def _identical(row: Clip, shift: int | None) -> Remade:
    return Remade(
        clip_id=row.clip_id,
        outcome="identical",
        shift_frames=shift,
        clip_sha256=row.clip_sha256,
        pose_sha256=row.pose_sha256,
    )


def _other(row: Clip, distance: float | None, error: str) -> Remade:
    return Remade(clip_id=row.clip_id, outcome="other pictures", distance=distance, error=error)


def _too_far(copy: SourceCopy, distance: float) -> str:
    return f"{copy.path.name}: shows other pictures (distance {distance:.2f}, limit {SAME_LIMIT})"

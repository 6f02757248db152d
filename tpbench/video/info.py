"""What a video is: size, rate, length, and where its pictures lie on the timeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tpbench.video.display import (
    Display,
    Window,
)
from tpbench.video.timeline import (
    JITTER_SLOTS,
    Laid,
    Mended,
    Timeline,
    believable,
    largest_offset,
    mend_stamps,
    rate_of_runs,
    rates_to_try,
)

_WAVER_FRAMES: Final = (0.75, 1.25)
"""How far a picture may be from its frame's time, in frames, so that none is lost; the second where
the first is not enough."""
_STEADY_PHASE: Final = 0.5
"""Length of the mean of all stamps' phases on the unit circle from which on they share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a video on one clock, without a jump."""

    first_frame: int
    """Frame number of its first picture."""
    zero_s: Fraction
    """Time of that frame on the clock of the file's stamps."""
    clock: int
    """How often the clock restarted before: times of the same clock can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Where all pictures of a video are on its timeline."""

    fps: Fraction
    slots: NDArray[np.int64]
    """(n,) never falling: from which frame on each picture is shown; the first is 0."""
    stamps: NDArray[np.int64]
    """(n,) in ticks; also of pictures that had none, or a wrong one."""
    parts: tuple[Part, ...]
    is_grid: bool
    """One part, whose frames `Timeline.slot` gives with the first stamp as its start."""
    notes: tuple[str, ...]
    """What is not even about the stamps."""

    @property
    def n_frames(self) -> int:
        """Frames on the timeline."""
        return int(self.slots[-1]) + 1

    @property
    def is_even(self) -> bool:
        """Whether every picture is shown in one frame, no more and no less."""
        return bool((self.slots == np.arange(len(self.slots))).all())


class _Laid(NamedTuple):
    """One run on its grid."""

    slots: NDArray[np.int64]
    """From 0."""
    zero: float
    """Ticks from the first stamp to the time of the first frame."""
    waver: float
    """Frames that the worst picture is from its frame's time."""
    error: float
    """Frames that a picture is from its frame's time on average."""


def lay_out(stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction]) -> Layout:
    """Lay all pictures of a video on one timeline.

    Args:
        stamps: (n,) in order of display, in ticks, or `NO_STAMP`; n >= 1.
        time_base: seconds a tick.
        declared: what the container says the rate is, the most trusted first; may be nonsense.

    Raises:
        ValueError: no picture has a stamp.
    """
    mended = mend_stamps(stamps, time_base, believable(declared))
    runs = [run.stamps for run in mended.runs]
    fps, is_uneven = rate_of_runs(runs, time_base, declared)
    is_grid = (
        not is_uneven and len(runs) == 1 and largest_offset(runs[0], time_base, fps) <= JITTER_SLOTS
    )
    if not is_uneven:
        laid = [_on_grid(run, time_base, fps) for run in runs]
    else:
        fps, laid = _uneven(runs, time_base, fps, declared)
    slots, parts, at = [], [], 0
    for run, on in zip(mended.runs, laid, strict=True):
        zero = 0 if is_grid else round(on.zero)
        zero_s = (int(run.stamps[0]) + zero) * time_base
        parts.append(Part(first_frame=at, zero_s=zero_s, clock=run.clock))
        slots.append(at + on.slots)
        at += int(on.slots[-1]) + 1
    return Layout(
        fps=fps,
        slots=np.concatenate(slots),
        stamps=np.concatenate(runs),
        parts=tuple(parts),
        is_grid=is_grid,
        notes=tuple(_notes(mended, laid, parts, fps, is_uneven=is_uneven)),
    )


def _on_grid(run: NDArray[np.int64], time_base: Fraction, fps: Fraction) -> _Laid:
    """Give picture i frame i."""
    offsets = _frames_since_first(run, time_base, fps) - np.arange(len(run))
    phase = float(np.median(offsets))
    return _laid(np.arange(len(run)), phase / float(time_base * fps), offsets - phase)


def _uneven(
    runs: Sequence[NDArray[np.int64]],
    time_base: Fraction,
    usual: Fraction,
    declared: Sequence[Fraction],
) -> tuple[Fraction, list[_Laid]]:
    """Give each picture a frame of its own where that can be, otherwise go by the nearest frame."""
    found: list[tuple[float, Fraction, list[_Laid]]] = []
    for fps in rates_to_try(runs, time_base, declared):
        for most in _WAVER_FRAMES:
            laid = [_wavering(run, time_base, fps, most) for run in runs]
            whole = [on for on in laid if on is not None]
            if len(whole) == len(runs):
                error = sum(on.error * len(on.slots) for on in whole)
                found.append((round(error / sum(map(len, runs)), 2), fps, whole))
                break
    if found:
        _, fps, best = min(found, key=itemgetter(0))
        return fps, best
    return usual, [_nearest(run, time_base, usual) for run in runs]


def _wavering(
    run: NDArray[np.int64], time_base: Fraction, fps: Fraction, most: float
) -> _Laid | None:
    """Give every picture the next frame unless its time is `most` frames later; None if too fast.

    The first pass goes by the first stamp, the second by the median of all.
    """
    times = _frames_since_first(run, time_base, fps)
    rough = _next_frames(times.tolist(), most)
    if rough is None:
        return None
    phase = float(np.median(times - rough))
    slots = _next_frames((times - phase).tolist(), most)
    if slots is None:
        return None
    phase = float(np.median(times - slots))
    return _laid(slots, phase / float(time_base * fps), times - slots - phase)


def _next_frames(times: Sequence[float], most: float) -> NDArray[np.int64] | None:
    slots = [0]
    for time in times[1:]:
        slot = slots[-1] + 1
        if time - slot > most:
            slot = math.floor(time + 0.5)
        elif slot - time > most:
            return None
        slots.append(slot)
    return np.array(slots, np.int64)


def _nearest(run: NDArray[np.int64], time_base: Fraction, fps: Fraction) -> _Laid:
    """Give every picture the frame nearest to its time."""
    times = _frames_since_first(run, time_base, fps)
    mean = complex(np.exp(2j * np.pi * times).mean())
    phase = math.atan2(mean.imag, mean.real) / (2 * math.pi) if abs(mean) > _STEADY_PHASE else 0.0
    slots = np.floor(times - phase + 0.5).astype(np.int64)
    zero = (phase + float(slots[0])) / float(time_base * fps)
    return _laid(slots - slots[0], zero, times - phase - slots)


def _laid(slots: NDArray[np.int64], zero: float, offsets: NDArray[np.float64]) -> _Laid:
    apart = np.abs(offsets)
    return _Laid(slots, zero, float(apart.max()), float(apart.mean()))


def _frames_since_first(
    run: NDArray[np.int64], time_base: Fraction, fps: Fraction
) -> NDArray[np.float64]:
    frames: NDArray[np.float64] = (run - run[0]).astype(np.float64) * float(time_base * fps)
    return frames


def _notes(
    mended: Mended,
    laid: Sequence[_Laid],
    parts: Sequence[Part],
    fps: Fraction,
    *,
    is_uneven: bool,
) -> list[str]:
    notes = []
    jumps = [round(float(part.first_frame / fps), 2) for part in parts[1:]]
    if jumps:
        shown = ", ".join(f"{time_s:g} s" for time_s in jumps[:3])
        more = f" and {len(jumps) - 3} more" if len(jumps) > 3 else ""
        notes.append(f"its clock jumps after {shown}{more}: a cut there, and nothing in between")
    if mended.n_unstamped:
        notes.append(
            f"{mended.n_unstamped} pictures without a time stamp are placed between others"
        )
    if mended.n_strays:
        notes.append(f"{mended.n_strays} time stamps fit nothing around them and are not used")
    steps = np.concatenate([np.diff(on.slots) for on in laid])
    repeated, dropped = int((steps[steps > 1] - 1).sum()), int((steps == 0).sum())
    if repeated or dropped:
        notes.append(
            f"variable rate: at {float(fps):g} frames a second {repeated} frames repeat the "
            f"picture before them and {dropped} pictures are left out"
        )
    elif is_uneven:
        worst = max(on.waver for on in laid)
        notes.append(f"uneven time stamps: pictures up to {worst:.2f} frames from their place")
    return notes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureIndex:
    """Which packet every picture of a video comes from whose stamps don't tell."""

    places: NDArray[np.int32]
    """By number of packet: place of its picture in order of display, -1 if it shows none."""
    first_key: int
    """Number of the packet at which the first picture is decoded."""
    keys: NDArray[np.int64]
    """Numbers of all packets that decoding can start at, rising. Empty where a packet holds two
    pictures, which are counted from the first then."""
    joints: frozenset[int]
    """Those at which another recording begins."""
    leading: NDArray[np.bool_]
    """By number of packet: whether its picture leans on what is not in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What `probe` finds out about a video."""

    width_px: int
    """As displayed: turned as the file asks, pixels made square."""
    height_px: int
    """As displayed."""
    fps: Fraction
    """Exact rate of the constant-rate timeline (29.97 is 30000/1001)."""
    frame_count: int
    """Frames on the timeline; reading gives exactly this many."""
    duration_s: float
    """frame_count / fps."""
    codec: str
    """libav's name, such as `h264`."""
    pixel_format: str
    """libav's name of the decoded format, such as `yuv420p10le`."""
    display: Display
    """How its pictures are shown: crop, pixel aspect, orientation, colours."""
    variable_rate: bool
    """Whether the timeline repeats or drops pictures of the source."""
    time_base: Fraction
    """Seconds a tick of the source's stamps."""
    start_pts: int
    """Stamp of frame 0, in ticks."""
    interlaced: bool = False
    """Whether all pictures count as interlaced, not only those that say so themselves."""
    has_audio: bool
    """Whether there is at least one audio stream."""
    picture_count: int = 0
    """Pictures in the file, as the decoder shows them; frames repeat or leave out some of them
    where the rate varies."""
    seams: tuple[int, ...] = ()
    """Frames at which another recording begins: the clock jumps there, or the size changes."""
    parts: tuple[Part, ...] = ()
    """Stretches between jumps of the clock, and their times on it; empty: one, from `start_pts`."""
    notes: tuple[str, ...] = ()
    """What is odd about the stamps and sizes of its pictures, and what was made of it."""
    shown_as: tuple[str, ...] = ()
    """What its pictures are that they are not shown as; each begins with a keyword and a colon."""
    incomplete: tuple[int, ...] = ()
    """Frames whose picture lacks data by what the container says. Decoders may conceal that without
    a word, in this picture and in those that lean on it. At a seam, where one recording was cut
    off, it is no news."""
    laid: Laid | None = field(default=None, repr=False, compare=False)
    """Where all pictures are, unless they lie on the even grid from `start_pts` on. Stamps fall
    where the clock goes back."""
    index: PictureIndex | None = field(default=None, repr=False, compare=False)
    """Where to find the pictures of `laid`, if stamps don't tell."""

    def windowed(self, window: Window) -> VideoInfo:
        """Return this as if nothing but a part of its pictures existed."""
        display = replace(self.display, window=window)
        return replace(self, display=display, width_px=window.width_px, height_px=window.height_px)

    @property
    def is_even(self) -> bool:
        """Whether frame i is picture i, at its own time: nothing was made of odd stamps."""
        return not self.variable_rate and not self.notes

    @property
    def timeline(self) -> Timeline:
        """The arithmetic between stamps and frame numbers."""
        return Timeline(
            fps=self.fps,
            time_base=self.time_base,
            start_pts=self.start_pts,
            laid=self.laid,
        )

    def part_at(self, frame: int) -> Part:
        """Return the part that a frame belongs to."""
        parts = self.parts or (
            Part(first_frame=0, zero_s=self.start_pts * self.time_base, clock=0),
        )
        return [part for part in parts if part.first_frame <= max(frame, 0)][-1]

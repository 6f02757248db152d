"""One constant-rate timeline for each video: repaired stamps, rates, frame numbers and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_STAMP: Final = np.iinfo(np.int64).min
"""Stands for a missing stamp."""
HOLE_S: Final = 1.0
"""A pause longer than this, or than four usual intervals where these are longer, ends a part.
Shorter ones are filled by repeating the picture before them."""
BACK_S: Final = 0.2
"""A clock that goes back by more than this has restarted, for sound as for pictures."""
_HOLE_INTERVALS: Final = 4
_LONGEST_USUAL_S: Final = 1.0
"""Pictures further apart than this are not video: each is a part of its own."""
_LEAST_ROOM: Final = 0.25
"""Pictures without a stamp between two that have one need this share of their usual time."""
_MOST_STRAYS: Final = 2
"""Most pictures in a row that can be strays; more of them are a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRun:
    """Consecutive pictures on one clock, without a jump."""

    stamps: NDArray[np.int64]
    """(n,) never falling, in ticks; one for every picture."""
    clock: int
    """How often the clock restarted before: stamps of one clock are comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """All pictures of a video in runs."""

    runs: tuple[ClockRun, ...]
    n_unstamped: int
    """Pictures without a stamp, which were placed between their neighbours."""
    n_strays: int
    """Pictures whose stamp did not fit their neighbours, which were placed likewise."""


def mend_stamps(
    stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction] = ()
) -> Mended:
    """Place every picture on a clock, and split where the clock jumps.

    Args:
        stamps: (n,) stamps in order of display, in ticks, or `NO_STAMP`; n >= 1.
        time_base: seconds a tick.
        declared: plausible rates that the container names, for videos whose stamps give none.

    Raises:
        ValueError: no picture has a stamp.
    """
    known = np.flatnonzero(stamps != NO_STAMP)
    if not len(known):
        raise ValueError("no picture has a stamp")
    usual = _usual_interval(stamps, known, time_base, declared)
    kept, starts, backs = _jumps(stamps, known, _Steps(stamps, float(time_base), usual))
    runs: list[ClockRun] = []
    bounds = [0, *starts, len(stamps)]
    for number, (first, end) in enumerate(pairwise(bounds)):
        inside = kept[(kept >= first) & (kept < end)]
        filled = _filled(stamps, inside, first, end, usual)
        runs.append(ClockRun(stamps=filled, clock=sum(backs[:number])))
    return Mended(
        runs=tuple(runs), n_unstamped=len(stamps) - len(known), n_strays=len(known) - len(kept)
    )


def _usual_interval(
    stamps: NDArray[np.int64],
    known: NDArray[np.intp],
    time_base: Fraction,
    declared: Sequence[Fraction],
) -> float:
    """Return the usual interval between pictures in ticks, at most a second."""
    # In floats: strays may be further apart than integers can hold.
    intervals = np.diff(stamps[known].astype(np.float64)) / np.diff(known)
    forward = intervals[(intervals > 0) & (intervals * float(time_base) <= _LONGEST_USUAL_S)]
    if len(forward):
        return float(np.median(forward))
    return float(1 / (time_base * (declared[0] if declared else 25)))


@dataclass(frozen=True, slots=True)
class _Steps:
    """Tests whether one picture can follow another on the same clock."""

    stamps: NDArray[np.int64]
    tick_s: float
    usual: float

    def ticks(self, before: int, after: int) -> int:
        return int(self.stamps[after]) - int(self.stamps[before])

    def fits(self, before: int, after: int) -> bool:
        hole = max(HOLE_S / self.tick_s, _HOLE_INTERVALS * self.usual)
        between = after - before - 1
        least = (between + 1) * self.usual * _LEAST_ROOM if between else 0
        return least <= self.ticks(before, after) <= hole + between * self.usual

    def restarts(self, before: int, after: int) -> bool:
        """Whether the clock went back to an earlier time, rather than pausing or jumping ahead."""
        late = self.ticks(before, after) - (after - before) * self.usual
        return late * self.tick_s < -BACK_S

    def leaves_room(self, before: int, after: int) -> bool:
        """Whether `after` can follow `before` with all pictures between them."""
        room = self.ticks(before, after) / self.usual
        return self.fits(before, after) and room >= after - before - 0.5


def _jumps(
    stamps: NDArray[np.int64], known: NDArray[np.intp], steps: _Steps
) -> tuple[NDArray[np.intp], list[int], list[bool]]:
    """Find where the clock jumps.

    Returns:
        The pictures whose stamps count; the first picture of every run but the first; and for each
        of these whether the clock restarted there.
    """
    order = [int(at) for at in known]
    kept = [order[0]]
    starts: list[int] = []
    backs: list[bool] = []
    at = 1
    while at < len(order):
        before, now = kept[-1], order[at]
        if steps.fits(before, now):
            kept.append(now)
        elif skip := _strays_ahead(order, at, before, steps):
            at += skip
            continue
        elif len(kept) > 1 and kept[-1] not in starts[-1:] and _stray_before(kept, now, steps):
            kept[-1] = now
        else:
            kept.append(now)
            starts.append(now)
            backs.append(steps.restarts(before, now))
        at += 1
    return np.array(kept, np.intp), starts, backs


def _strays_ahead(order: list[int], at: int, before: int, steps: _Steps) -> int:
    """Return how many pictures from place `at` on are strays: those after them fit `before`."""
    for skip in range(1, _MOST_STRAYS + 1):
        behind = order[at + skip : at + skip + 2]
        if not behind or not steps.leaves_room(before, behind[0]):
            continue
        # Two must fit: the first pictures of a part may pass the last of the one before.
        if len(behind) == 1 or steps.fits(*behind):
            return skip
    return 0


def _stray_before(kept: list[int], now: int, steps: _Steps) -> bool:
    """Whether the last kept picture was the stray: `now` fits the one before it, but not it."""
    return steps.ticks(kept[-1], now) < 0 and steps.leaves_room(kept[-2], now)


def _filled(
    stamps: NDArray[np.int64], known: NDArray[np.intp], first: int, end: int, usual: float
) -> NDArray[np.int64]:
    """Return stamps of pictures `first` to `end`, with unknown ones interpolated."""
    if len(known) == end - first:
        return stamps[first:end]
    zero = int(stamps[known[0]])
    places = np.arange(first, end)
    ticks = np.interp(places, known, (stamps[known] - zero).astype(np.float64))
    ticks += np.minimum(places - known[0], 0) * usual + np.maximum(places - known[-1], 0) * usual
    return zero + np.rint(ticks).astype(np.int64)


MIN_FPS = Fraction(1)
MAX_FPS = Fraction(240)
DEFAULT_FPS = Fraction(25)
"""For a video of one picture that declares no believable rate."""
COMMON_FPS: Final = sorted(
    {Fraction(whole) for whole in range(1, 241)}
    | {Fraction(1000 * whole, 1001) for whole in (12, 15, 24, 30, 48, 60, 90, 120, 240)}
    | {Fraction(15, 2), Fraction(25, 2)}
)
"""Rates that cameras, broadcasters and screen recorders use: stamps close to one mean that one."""
_COMMON_FPS_FLOATS = np.array([float(rate) for rate in COMMON_FPS])

JITTER_SLOTS = 0.25
"""Stamps this far from an even grid are still a constant rate: no picture changes its slot."""
_NEARLY_ALL = 0.98
"""If this share of the stamps is on a grid, it is accepted, wherever the others are."""
_REGULAR_SHARE = 0.8
"""The usual interval decides if at least this share of the pictures is present."""


def rate_of_runs(
    runs: Sequence[NDArray[np.int64]], time_base: Fraction, declared: Sequence[Fraction]
) -> tuple[Fraction, bool]:
    """Choose the rate of the timeline.

    A rate fits when every stamp lies on its grid, or nearly all do exactly; rates in common use are
    tried before odd ones. Each run has its own grid, aligned to its first stamp or else to the
    median of all. If none fits, the source is variable: its usual rate (the average where more than
    a fifth of the pictures is missing), snapped to the nearest rate in common use.

    Args:
        runs: (n,) presentation stamps each, rising, in ticks; n >= 1. Between runs the clock jumps.
        time_base: seconds a tick.
        declared: rates that the container declares, the most trusted first; may be wrong.

    Returns:
        The rate in frames a second, and whether the source is variable.
    """
    if all(run[-1] == run[0] for run in runs):
        return (believable(declared) or [DEFAULT_FPS])[0], False

    def largest(rate: Fraction, *, centred: bool) -> float:
        return max(float(_offsets(run, time_base, rate, centred=centred).max()) for run in runs)

    candidates = rates_to_try(runs, time_base, declared)
    usual, counted, _ = _rates_of(runs, time_base)
    strict = min(1.5 * float(time_base) * usual + 0.01, JITTER_SLOTS)
    for rate in candidates:
        if largest(rate, centred=False) <= strict:
            return rate, False
    for rate in candidates:
        offsets = np.concatenate([_offsets(run, time_base, rate, centred=True) for run in runs])
        if np.mean(offsets <= strict) >= _NEARLY_ALL:
            return rate, bool(offsets.max() > JITTER_SLOTS)
    for centred in (False, True):
        for rate in candidates:
            if largest(rate, centred=centred) <= JITTER_SLOTS:
                return rate, False
    return _nearby(counted)[0], True


def believable(declared: Sequence[Fraction]) -> list[Fraction]:
    """Return the declared rates that are plausible for a video."""
    return [rate for rate in declared if MIN_FPS <= rate <= MAX_FPS]


def rates_to_try(
    runs: Sequence[NDArray[np.int64]], time_base: Fraction, declared: Sequence[Fraction]
) -> list[Fraction]:
    """Return the rates a video may have, the most likely first: `runs` as for `rate_of_runs`."""
    named = believable(declared)
    usual, counted, average = _rates_of(runs, time_base)
    rates = [
        *(rate for rate in named if rate in COMMON_FPS),
        *_nearby(usual),
        *named,
        *_nearby(counted),
        *_nearby(average),
    ]
    return list(dict.fromkeys(rates))


def _frames_since_first(
    run: NDArray[np.int64], time_base: Fraction, fps: Fraction
) -> NDArray[np.float64]:
    frames: NDArray[np.float64] = (run - run[0]).astype(np.float64) * float(time_base * fps)
    return frames


def _offsets(
    run: NDArray[np.int64], time_base: Fraction, rate: Fraction, *, centred: bool = False
) -> NDArray[np.float64]:
    """Return each stamp's distance, in slots, from the grid of the first stamp or of the median."""
    offsets = _frames_since_first(run, time_base, rate) - np.arange(len(run))
    apart: NDArray[np.float64] = np.abs(offsets - np.median(offsets) if centred else offsets)
    return apart


def _nearby(rate: float) -> list[Fraction]:
    """Return the three nearest rates in common use."""
    apart = np.abs(_COMMON_FPS_FLOATS / rate - 1)
    return [COMMON_FPS[place] for place in np.argsort(apart, kind="stable")[:3]]


def _rates_of(runs: Sequence[NDArray[np.int64]], time_base: Fraction) -> tuple[float, float, float]:
    """Return pictures a second, estimated in three ways.

    By the usual interval; by counting as many pictures for each interval as it has room for, which
    single wavering stamps do not affect; and on average. All three are the average where many
    pictures are missing or extra.
    """
    intervals = np.concatenate([np.diff(run) for run in runs])
    span_s = float(intervals.sum()) * float(time_base)
    average = counted = len(intervals) / span_s
    median = float(np.median(intervals[intervals > 0]))
    regular = intervals[np.abs(intervals - median) < 0.5 * median]
    usual = 1 / ((float(regular.mean()) if len(regular) else median) * float(time_base))
    if _REGULAR_SHARE <= average / usual <= 1 / _REGULAR_SHARE:
        room = np.maximum(np.rint(intervals * float(time_base) * usual), 1)
        counted = float(room.sum()) / span_s
    else:
        usual = average
    usual, counted, average = np.clip(
        (usual, counted, average), float(MIN_FPS), float(MAX_FPS)
    ).tolist()
    return usual, counted, average


_WAVER_FRAMES: Final = (0.75, 1.25)
"""How far a picture may be from its frame's time, in frames, so that none is lost; the second value
applies where the first is not enough."""
_MOST_APART_FRAMES: Final = 1.7
"""A layout that puts a picture further than this from its time, in frames, is not taken."""
_STEADY_PHASE: Final = 0.5
"""Stamps share one phase if the mean of their phases on the unit circle is longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a video on one clock, without a jump."""

    first_frame: int
    """Frame number of its first picture."""
    zero_s: Fraction
    """Time of that frame on the clock of the file's stamps."""
    clock: int
    """How often the clock restarted before: times of the same clock are comparable."""


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
    """Whether there is only one part, on the even grid of its first stamp."""
    notes: tuple[str, ...]
    """Irregularities of the stamps."""

    @property
    def n_frames(self) -> int:
        """Frames on the timeline."""
        return int(self.slots[-1]) + 1

    @property
    def is_even(self) -> bool:
        """Whether every picture is shown in exactly one frame."""
        return bool((self.slots == np.arange(len(self.slots))).all())


class _Laid(NamedTuple):
    """One run on its grid."""

    slots: NDArray[np.int64]
    """From 0."""
    zero: float
    """Ticks from the first stamp to the time of the first frame."""
    apart: NDArray[np.float64]
    """(n,) distance of each picture from its frame's time, in frames."""


def lay_out(stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction]) -> Layout:
    """Place all pictures of a video on one timeline.

    Args:
        stamps: (n,) in order of display, in ticks, or `NO_STAMP`; n >= 1.
        time_base: seconds a tick.
        declared: rates that the container declares, the most trusted first; may be wrong.

    Raises:
        ValueError: no picture has a stamp.
    """
    mended = mend_stamps(stamps, time_base, believable(declared))
    runs = [run.stamps for run in mended.runs]
    fps, is_uneven = rate_of_runs(runs, time_base, declared)
    is_grid = not is_uneven and len(runs) == 1
    is_grid = is_grid and bool(_offsets(runs[0], time_base, fps).max() <= JITTER_SLOTS)
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
    """Assign frame i to picture i."""
    slots = np.arange(len(run))
    offsets = _frames_since_first(run, time_base, fps) - slots
    phase = float(np.median(offsets))
    return _Laid(slots, phase / float(time_base * fps), np.abs(offsets - phase))


def _uneven(
    runs: Sequence[NDArray[np.int64]],
    time_base: Fraction,
    usual: Fraction,
    declared: Sequence[Fraction],
) -> tuple[Fraction, list[_Laid]]:
    """Assign each picture its own frame where possible, otherwise the nearest frame."""
    found: list[tuple[float, Fraction, list[_Laid]]] = []
    for fps in rates_to_try(runs, time_base, declared):
        for most in _WAVER_FRAMES:
            laid = [_wavering(run, time_base, fps, most) for run in runs]
            whole = [on for on in laid if on is not None]
            if len(whole) == len(runs):
                error = sum(float(on.apart.mean()) * len(on.slots) for on in whole)
                found.append((round(error / sum(map(len, runs)), 2), fps, whole))
                break
    if found:
        _, fps, best = min(found, key=itemgetter(0))
        return fps, best
    return usual, [_nearest(run, time_base, usual) for run in runs]


def _wavering(
    run: NDArray[np.int64], time_base: Fraction, fps: Fraction, most: float
) -> _Laid | None:
    """Assign each picture the next frame unless its time is `most` frames later.

    The first pass aligns to the first stamp, the second to the median of all. None if the pictures
    come too fast, or if the phase that suits most of them leaves one too far from its time.
    """
    times = _frames_since_first(run, time_base, fps)
    rough = _next_frames(times.tolist(), most)
    if rough is None:
        return None
    slots = _next_frames((times - float(np.median(times - rough))).tolist(), most)
    if slots is None:
        return None
    phase = float(np.median(times - slots))
    apart = np.abs(times - slots - phase)
    if apart.max() > _MOST_APART_FRAMES:
        return None
    return _Laid(slots, phase / float(time_base * fps), apart)


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
    """Assign every picture the frame nearest to its time."""
    times = _frames_since_first(run, time_base, fps)
    mean = complex(np.exp(2j * np.pi * times).mean())
    phase = math.atan2(mean.imag, mean.real) / (2 * math.pi) if abs(mean) > _STEADY_PHASE else 0.0
    slots = np.floor(times - phase + 0.5).astype(np.int64)
    zero = (phase + float(slots[0])) / float(time_base * fps)
    return _Laid(slots - slots[0], zero, np.abs(times - phase - slots))


def _notes(
    mended: Mended, laid: Sequence[_Laid], parts: Sequence[Part], fps: Fraction, *, is_uneven: bool
) -> list[str]:
    notes = []
    jumps = [round(float(part.first_frame / fps), 2) for part in parts[1:]]
    if jumps:
        shown = ", ".join(f"{time_s:g} s" for time_s in jumps[:3])
        more = f" and {len(jumps) - 3} more" if len(jumps) > 3 else ""
        notes.append(f"its clock jumps after {shown}{more}: a cut there, and nothing in between")
    if n := mended.n_unstamped:
        notes.append(f"{n} pictures without a time stamp are placed between others")
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
        worst = max(float(on.apart.max()) for on in laid)
        notes.append(f"uneven time stamps: pictures up to {worst:.2f} frames from their place")
    return notes

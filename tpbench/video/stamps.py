"""Putting the stamps of a video's pictures right: strays, pictures without one, clocks that jump.

Pictures come in order of display, as the decoder gives them; their stamps may jump. Where the clock
goes back, or on by more than `HOLE_S`, a new part begins: nothing says how much time lies between,
so nothing is shown in between. One or two pictures whose stamps fit neither side, while the
pictures around them fit each other, are strays: they, and pictures without a stamp, are placed
evenly between their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from numpy.typing import NDArray

NO_STAMP: Final = np.iinfo(np.int64).min
"""Stands for a stamp that is not there."""

HOLE_S: Final = 1.0
"""A pause longer than this, or than four usual intervals where these are longer, ends a part.
Shorter ones are filled by showing the picture before them on."""

BACK_S: Final = 0.2
"""A clock that goes back by more than this has restarted, for sound as for pictures."""

_HOLE_INTERVALS: Final = 4
_LONGEST_USUAL_S: Final = 1.0
"""Slower than a picture a second is no video: such pictures are parts of their own."""

_LEAST_ROOM: Final = 0.25
"""Pictures without a stamp between two that have one need this much of their usual time."""

_MOST_STRAYS: Final = 2
"""Pictures in a row that can be strays; more of them are a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Pictures one after the other on one clock, without a jump."""

    stamps: NDArray[np.int64]
    """(n,) never falling, in ticks; one for every picture."""

    clock: int
    """How often the clock restarted before: stamps of one clock can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """All pictures of a video in runs."""

    runs: tuple[Run, ...]
    n_unstamped: int
    """Pictures without a stamp, which were placed between their neighbours."""

    n_strays: int
    """Pictures whose stamp fitted nothing around them, which were placed likewise."""


def mend_stamps(
    stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction] = ()
) -> Mended:
    """Place every picture on a clock, and split where the clock jumps.

    Args:
        stamps: (n,) stamps in order of display, in ticks, or `NO_STAMP`; n >= 1.
        time_base: seconds a tick.
        declared: believable rates that the container names, for videos whose stamps tell none.

    Raises:
        ValueError: no picture has a stamp.
    """
    known = np.flatnonzero(stamps != NO_STAMP)
    if not len(known):
        reason = "no picture has a stamp"
        raise ValueError(reason)
    usual = _usual_interval(stamps, known, time_base, declared)
    kept, starts, backs = _jumps(stamps, known, _Steps(stamps, float(time_base), usual))
    runs: list[Run] = []
    bounds = [0, *starts, len(stamps)]
    for number, (first, end) in enumerate(pairwise(bounds)):
        inside = kept[(kept >= first) & (kept < end)]
        runs.append(
            Run(
                stamps=_filled(stamps, inside, first, end, usual),
                clock=sum(backs[:number]),
            )
        )
    return Mended(
        runs=tuple(runs),
        n_unstamped=len(stamps) - len(known),
        n_strays=len(known) - len(kept),
    )


def _usual_interval(
    stamps: NDArray[np.int64],
    known: NDArray[np.intp],
    time_base: Fraction,
    declared: Sequence[Fraction],
) -> float:
    """Return the usual ticks from picture to picture, at most a second's."""
    # In floats: strays may lie further apart than integers reach.
    intervals = np.diff(stamps[known].astype(np.float64)) / np.diff(known)
    forward = intervals[(intervals > 0) & (intervals * float(time_base) <= _LONGEST_USUAL_S)]
    if len(forward):
        return float(np.median(forward))
    return float(1 / (time_base * (declared[0] if declared else 25)))


@dataclass(frozen=True, slots=True)
class _Steps:
    """Tells whether one picture can follow another on the same clock."""

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
        """Whether the clock is back at an earlier time, not only waiting or ahead."""
        late = self.ticks(before, after) - (after - before) * self.usual
        return late * self.tick_s < -BACK_S

    def leaves_room(self, before: int, after: int) -> bool:
        """Whether the one can follow the other with all pictures between them."""
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
    """Return how many pictures from place `at` on are strays: those behind them fit `before`."""
    for skip in range(1, _MOST_STRAYS + 1):
        behind = order[at + skip : at + skip + 2]
        if not behind or not steps.leaves_room(before, behind[0]):
            continue
        # Two must fit: the first pictures of a part may pass the last of the one before.
        if len(behind) == 1 or steps.fits(*behind):
            return skip
    return 0


def _stray_before(kept: list[int], now: int, steps: _Steps) -> bool:
    """Whether the last picture was the stray: the one before it and `now` fit, as it does not."""
    return steps.ticks(kept[-1], now) < 0 and steps.leaves_room(kept[-2], now)


def _filled(
    stamps: NDArray[np.int64], known: NDArray[np.intp], first: int, end: int, usual: float
) -> NDArray[np.int64]:
    """Return stamps of pictures `first` to `end`, with those that are not known put between."""
    if len(known) == end - first:
        return stamps[first:end]
    zero = int(stamps[known[0]])
    places = np.arange(first, end)
    ticks = np.interp(places, known, (stamps[known] - zero).astype(np.float64))
    ticks += np.minimum(places - known[0], 0) * usual + np.maximum(places - known[-1], 0) * usual
    return zero + np.rint(ticks).astype(np.int64)

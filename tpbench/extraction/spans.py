"""Cutting shots into spans that are alike, and long spans into clips of a wanted length."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Frames `start_frame` to `end_frame` (exclusive) of one shot."""

    shot_id: int
    start_frame: int
    end_frame: int

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.end_frame - self.start_frame


def split_by_promise(
    shot: Span, samples: Sequence[tuple[int, bool]], *, max_gap_frames: int, min_frames: int
) -> list[Span]:
    """Tile a shot into spans that are good throughout and spans that are not.

    Holes of up to `max_gap_frames` do not end a good span, and a good span of under `min_frames` is
    no span of its own: it goes to its bad neighbours. A good span begins and ends at a good sample,
    or at the edge of the shot where its first or last sample is good.

    Args:
        shot: what to tile.
        samples: (frame, good) of the frames looked at, rising, all inside the shot.
        max_gap_frames: most frames between two good samples that have bad ones between them.
        min_frames: shortest good span.

    Returns:
        At least one span; they touch and cover the shot.
    """
    good: list[tuple[int, int]] = []
    bad_between = True
    for frame, is_good in samples:
        if not is_good:
            bad_between = True
            continue
        if good and (not bad_between or frame - good[-1][1] <= max_gap_frames):
            good[-1] = (good[-1][0], frame + 1)
        else:
            good.append((frame, frame + 1))
        bad_between = False
    if samples and good:
        if samples[0][1]:
            good[0] = (shot.start_frame, good[0][1])
        if samples[-1][1]:
            good[-1] = (good[-1][0], shot.end_frame)
    good = [(start, end) for start, end in good if end - start >= min_frames]
    edges = sorted({shot.start_frame, shot.end_frame, *(edge for pair in good for edge in pair)})
    return [
        Span(shot_id=shot.shot_id, start_frame=start, end_frame=end)
        for start, end in pairwise(edges)
    ]


def cut_evenly(span: Span, *, max_frames: int) -> list[Span]:
    """Cut a span into the fewest parts of at most `max_frames`, equal to within one frame."""
    count = ceil(span.n_frames / max_frames)
    edges = [span.start_frame + span.n_frames * part // count for part in range(count + 1)]
    return [
        Span(shot_id=span.shot_id, start_frame=start, end_frame=end)
        for start, end in pairwise(edges)
    ]

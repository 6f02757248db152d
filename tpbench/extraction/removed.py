"""What of a source may still be extracted into a dataset from which something was removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

from tpbench.dataset import Clip
from tpbench.dataset.removal import Removals, SourceMarks, video_id_of_name
from tpbench.extraction.shots import Shot, Span
from tpbench.extraction.sources import Source, read_provenance, source_id

REMOVED: Final = "removed"
"""A key of what a worker returns of a source that was removed from the dataset."""


def marks_of(source: Source, *, url: str | None = None) -> SourceMarks:
    """Return what is known of a source: all of it if the source has its sha256."""
    return SourceMarks(
        source_id=source_id(source),
        sha256=source.sha256,
        url=url,
        video_id=video_id_of_name(source.path.stem),
    )


def is_removed(source: Source, removals: Removals) -> bool:
    """Whether a source was removed as a whole.

    Args:
        source: with its sha256, or it is not recognised by its bytes.
        removals: of the dataset.
    """
    if not removals:
        return False
    return removals.removes_source_with(marks_of(source, url=read_provenance(source.path).url))


def is_partly_removed(source: Source, removals: Removals) -> bool:
    """Whether a source was removed, or anything in it; see `is_removed`."""
    if not removals:
        return False
    return removals.concern(marks_of(source, url=read_provenance(source.path).url))


def nothing_kept() -> dict[str, Any]:
    """Return what a worker returns of a source that was removed: it has no rows."""
    nothing = {"clips": [], "source_sha256": "", "n_frames": 0, "duration_s": 0.0, "stage_s": {}}
    return {**nothing, REMOVED: True}


def result_that_stays(result: dict[str, Any], removals: Removals) -> dict[str, Any] | None:
    """Return the result of a source without the rows that were removed; None: nothing stays.

    Args:
        result: what a worker returned, with its rows under "clips".
        removals: of the dataset.
    """
    first = next(map(Clip.from_json, result["clips"]), None)
    if first is None or not removals.concern(marks := SourceMarks.of(first)):
        return result
    if removals.removes_source_with(marks):
        return None
    rows = [row for row in result["clips"] if not removals.removes_row(Clip.from_json(row))]
    return result | {"clips": rows} if rows else None


def shots_that_stay(
    shots: Sequence[Shot], removed_s: Sequence[tuple[float, float]], *, fps: Fraction, min_s: float
) -> Iterator[Shot]:
    """Cut stretches out of shots, as if there were a cut at both of their ends.

    Args:
        shots: of a source, in time order.
        removed_s: (start, end) in seconds of what was removed, sorted.
        fps: of the source.
        min_s: parts of a cut shot that are shorter are left out.
    """
    removed = [
        (floor(Fraction(start) * fps), ceil(Fraction(end) * fps)) for start, end in removed_s
    ]
    for shot in shots:
        for first, last in _outside(shot.span, removed):
            span = replace(shot.span, start_frame=first, end_frame=last)
            if span == shot.span or span.n_frames >= min_s * fps:
                yield replace(shot, span=span)


def _outside(span: Span, removed: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a span, (first frame, end), that are in nothing removed."""
    at = span.start_frame
    for start, end in removed:
        if at < end and start < span.end_frame:
            if at < start:
                yield at, start
            at = end
    if at < span.end_frame:
        yield at, span.end_frame

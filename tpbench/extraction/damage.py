"""Damaged videos: shots without damage are kept, and the stretches between them are reported.

A lost packet corrupts pictures up to the next keyframe. Frames decoded before it are intact, and so
are those from a later keyframe on. Both the shot with the damage and the shot in which decoding
resumes are left out, since only a part of each is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tpbench.detectors.base import Detector
from tpbench.errors import DamageError
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.screening import Screened, screen
from tpbench.extraction.shots import Shot, Span
from tpbench.video import DecodedFrame, VideoInfo, decode_frames, probe

_DOUBT_FRAMES: Final = 20
"""Pictures shown this shortly before the damage may depend on it: decoders reorder up to 16."""
_MAX_DAMAGED_PLACES: Final = 50
"""After this many damaged places, the rest of a video is skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A stretch that is left out because of damage."""

    span: Span
    error: DamageError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WholeShots:
    """The shots of a video that were decoded without damage, and the stretches between them."""

    screened: Screened
    lost: tuple[Lost, ...]


def screen_whole_shots(
    path: Path,
    *,
    info: VideoInfo,
    config: ExtractionConfig,
    faces: Detector,
    watch: Callable[[Iterable[DecodedFrame]], Iterator[DecodedFrame]],
) -> WholeShots:
    """Screen a video as `screen` does; after damage, continue at the next keyframe.

    Args:
        path: the video.
        info: its probe.
        config: settings.
        faces: the face detector.
        watch: wraps the decoded frames, such as to count them.

    Raises:
        DamageError: no shot is undamaged.
        MediaError: the video can't be read.
    """
    parts: list[Screened] = []
    shots: list[Shot] = []
    damages: list[tuple[int, DamageError]] = []
    start = 0
    while True:
        frames = _UntilDamage(path, info, start)
        part = screen(watch(frames), info=info, config=config, faces=faces, first_frame=start)
        parts.append(part)
        if frames.error is not None and not damages:
            info = probe(path, numbered=True)
        end = info.frame_count if frames.error is None else _trusted_end(info, frames.next_frame)
        shots += [
            shot
            for number, shot in enumerate(part.shots)
            if (number > 0 or start == 0) and shot.span.end_frame <= end
        ]
        if frames.error is None:
            break
        damages.append((frames.next_frame, frames.error))
        later = [key for key in _keyframes(info) if key > frames.next_frame]
        if not later or len(damages) == _MAX_DAMAGED_PLACES:
            break
        start = later[0]
    if damages and not shots:
        raise damages[0][1]
    return WholeShots(
        screened=Screened(
            info=info,
            shots=tuple(
                replace(shot, span=replace(shot.span, shot_id=number))
                for number, shot in enumerate(shots)
            ),
            pictures=tuple(sample for part in parts for sample in part.pictures),
            faces=tuple(sample for part in parts for sample in part.faces),
            bars=tuple(sample for part in parts for sample in part.bars),
            ends_early=bool(shots) and shots[-1].span.end_frame < info.frame_count,
        ),
        lost=tuple(_lost(shots, damages, info.frame_count)) if damages else (),
    )


class _UntilDamage:
    """Yields frames until a video is damaged, and keeps the error."""

    def __init__(self, path: Path, info: VideoInfo, start: int) -> None:
        self._path = path
        self._frames = decode_frames(path, info=info, start_frame=start)
        self._incomplete = min(
            (frame for frame in info.incomplete if frame >= start), default=info.frame_count
        )
        self.next_frame = start
        self.error: DamageError | None = None

    def __iter__(self) -> Iterator[DecodedFrame]:
        try:
            for frame in self._frames:
                if frame.index >= self._incomplete:
                    reason = f"damaged: a picture near {frame.time_s:.2f} s lacks data"
                    self.error = DamageError(self._path, reason)
                    return
                yield frame
                self.next_frame = frame.index + 1
        except DamageError as error:
            self.error = error


def _keyframes(info: VideoInfo) -> list[int]:
    """Return the frames at which decoding can begin, ascending; empty if unknown."""
    if info.index is None or info.laid is None:
        return []
    slots = info.laid.slots[info.index.places[info.index.keys]]
    return sorted(int(slot) for slot in slots)


def _trusted_end(info: VideoInfo, damaged: int) -> int:
    """Return the end (exclusive) of the frames that cannot depend on the first damaged one.

    Frames shown before a keyframe are decoded before all frames shown after it.
    """
    earlier = [key for key in _keyframes(info) if key < damaged]
    return max([damaged - _DOUBT_FRAMES, *earlier[-1:]])


def _lost(
    shots: list[Shot], damages: list[tuple[int, DamageError]], n_frames: int
) -> Iterator[Lost]:
    """Yield the stretches between the undamaged shots, each with the first damage in it."""
    edges = [0, *(e for s in shots for e in (s.span.start_frame, s.span.end_frame)), n_frames]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if start == end:
            continue
        inside = [error for frame, error in damages if start <= frame <= end]
        span = Span(shot_id=-1, start_frame=start, end_frame=end)
        yield Lost(span=span, error=(inside or [damages[0][1]])[0])

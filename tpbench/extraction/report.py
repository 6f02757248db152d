"""`report.html`: a visual summary of a dataset, in one file that opens in any browser.

The page is `report.html.j2`. Its histograms are drawn by the template: they follow the page's light
and dark colours, show counts under the pointer and take a tenth of the bytes of matplotlib's.
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from tpbench.dataset import Clip, Dataset, DatasetInfo, Measurement
from tpbench.detectors.base import models_by_role
from tpbench.errors import MediaError
from tpbench.extraction.rows import OTHER_CODES
from tpbench.extraction.thumbnails import evenly, read_thumbnails
from tpbench.files import atomic_write_text
from tpbench.foreign import ForeignFileError, require_own
from tpbench.wholebody import PoseSource

logger = logging.getLogger(__name__)

REPORT_NAME: Final = "report.html"

MAX_CLIPS: Final = 24
"""Most clips with players; browsers load the beginning of each."""
MAX_SAMPLES: Final = 12
_MAX_SAMPLES_PER_CLIP: Final = 3
_SIDE_PX: Final = 384
_POSTER_PX: Final = 256
_JPEG_QUALITY: Final = 80

_MAX_ROWS: Final = 200
"""Most rows of a table, so that phones can scroll them; the manifest holds the rest."""
_BINS: Final = 32
_FEW_CLIPS: Final = 10
"""Histograms of fewer clips say little: they are folded."""

Part = Literal["kept", "elsewhere", "refused"]
"""Outcome of a clip: kept, rejected by other filters only, or rejected by this filter."""


def write_report(folder: Path) -> Path:
    """Write `folder/report.html` from a finished dataset: one file, without scripts or downloads.

    Only its players need other files: the clips and pose videos beside it.

    All text of outside origin (names, addresses, errors) is escaped, and a content security policy
    in the page blocks anything that still slips through.

    Raises:
        DatasetError: there is no finished dataset in `folder`.
    """
    dataset = Dataset.open(folder)
    info, clips = dataset.info, dataset.clips(None)
    kept = [clip for clip in clips if clip.status == "kept"]
    rejected = [clip for clip in clips if clip.status == "rejected"]
    plots = [plot for item in info.measurements if (plot := histogram(item, clips))]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "short": short,
        "number": "{:,}".format,
        "percent": "{:.1%}".format,
        "clock": clock,
    }
    template = resources.files("tpbench.extraction").joinpath("report.html.j2")
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        info=info,
        samples=list(sample_frames(dataset, kept)),
        players=[_player(dataset, clip) for clip in choose_clips(kept, MAX_CLIPS)],
        titles=OTHER_CODES | {item.code: item.title for item in info.measurements if item.code},
        by_code={item.code: item for item in info.measurements if item.code},
        plots=plots,
        few_clips=max((plot.n_clips for plot in plots), default=0) < _FEW_CLIPS,
        rejected=list(rejections(folder, evenly(rejected, _MAX_ROWS))),
        models=list(_models(info)),
        broken=[clip for clip in clips if clip.status in {"failed", "quarantined"}],
        max_rows=_MAX_ROWS,
        config=json.dumps(info.config, indent=2, ensure_ascii=False),
        file_name=lambda path: Path(path).name,
    )
    path = folder / REPORT_NAME
    atomic_write_text(path, page + "\n")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """A kept clip and its pose video, as addresses relative to the page."""

    clip: Clip
    video: str | None
    """None if the file is missing."""
    pose: str | None
    first: Sample | None
    """Shown until a video is played; None if the files can't be read."""


def _player(dataset: Dataset, clip: Clip) -> Player:
    def address(path: Path) -> str | None:
        return path.relative_to(dataset.folder).as_posix() if path.is_file() else None

    return Player(
        clip=clip,
        video=address(dataset.clip_path(clip)),
        pose=address(dataset.pose_path(clip)),
        first=next(_samples_of(dataset, clip, [0], side_px=_POSTER_PX), None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A rejected stretch, with the frame that decided if it is known."""

    clip: Clip
    frame: int | None
    """Of the source."""
    picture: str | None
    """`data:` URI of a JPEG."""

    @property
    def time_s(self) -> float | None:
        """When the frame is shown, in seconds from the start of the source."""
        if self.frame is None or self.clip.fps is None:
            return None
        return self.frame / self.clip.fps


def rejections(folder: Path, clips: Iterable[Clip]) -> Iterator[Rejection]:
    """Add thumbnails to rejected clips, which are in the order of their ids."""
    for source_id, group in groupby(clips, key=lambda clip: clip.source_id):
        found = read_thumbnails(folder, source_id)
        for clip in group:
            seen = found.get(clip.clip_id)
            yield Rejection(
                clip=clip,
                frame=None if seen is None else seen.frame,
                picture=None if seen is None else _data_uri("jpeg", seen.jpeg),
            )


def _models(info: DatasetInfo) -> Iterator[tuple[str, str, str]]:
    """Yield role, names of the model files, and digest."""
    wanted = info.config.get("skeleton")
    skeletons: tuple[PoseSource, ...] = get_args(PoseSource)
    # Datasets of earlier versions have no such setting.
    names = next((models_by_role(item) for item in skeletons if item == wanted), {})
    for role, digest in info.models.items():
        yield role, ", ".join(names.get(role, ())), digest


def clock(seconds: float) -> str:
    """Return a time in a video as minutes and seconds.

    >>> clock(75.25)
    '1:15.2'
    """
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def short(value: float) -> str:
    """Format a value for readers: few digits, and no exponent for ordinary magnitudes."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One part of a stacked bar, in the units of the drawing."""

    part: Part
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Clips by one measured value, and the layout of the drawing."""

    measurement: Measurement
    threshold: float | None
    edges: NDArray[np.float64]
    """(B + 1,) bin edges, including the threshold."""
    counts: dict[Part, NDArray[np.int64]]
    """(B,) each, in stacking order."""
    kept_median: float | None
    """None where nothing was kept."""
    width: int = 340
    height: int = 168
    left: int = 6
    right: int = 334
    top: int = 26
    base: int = 142

    @property
    def n_clips(self) -> int:
        """Clips that have the measurement."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    @property
    def highest(self) -> int:
        """Clips in the fullest bin."""
        return int(np.sum(list(self.counts.values()), axis=0).max())

    def x(self, value: float) -> float:
        """Return where a value lies in the drawing."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def bars(self) -> Iterator[tuple[str, list[Bar]]]:
        """Yield each non-empty bin: its description and its stacked bars."""
        for index, (low, high) in enumerate(zip(self.edges[:-1], self.edges[1:], strict=True)):
            numbers = {part: int(counts[index]) for part, counts in self.counts.items()}
            stack, y = [], float(self.base)
            for part, number in numbers.items():
                # At least a visible sliver, even for one clip among thousands.
                height = max(number / self.highest * (self.base - self.top), 1.5)
                if number:
                    y -= height
                    x, width = self.x(low) + 0.5, self.x(high) - self.x(low) - 1
                    stack.append(Bar(part=part, x=x, y=y, width=width, height=height))
            if stack:
                span = f"{short(low)} to {short(high)} {self.measurement.unit}".strip()
                said = ", ".join(
                    (
                        f"{numbers['kept']:,} kept",
                        f"{numbers['refused']:,} rejected for this",
                        f"{numbers['elsewhere']:,} rejected for something else",
                    )
                )
                yield f"{span}: {said}", stack

    def ticks(self) -> list[float]:
        """Return the values labelled below the axis."""
        return nice_ticks(float(self.edges[0]), float(self.edges[-1]))


def histogram(measurement: Measurement, clips: Sequence[Clip]) -> Histogram | None:
    """Count the clips by one measurement; None if no clip has it.

    Values far outside the middle 99 % are counted in the outermost bins, so that a few of them do
    not flatten the rest. A threshold that differs between clips is not shown.
    """
    values: dict[Part, list[float]] = {"kept": [], "elsewhere": [], "refused": []}
    for clip in clips:
        if (value := clip.measurements.get(measurement.name)) is not None:
            here: Part = "refused" if measurement.code in clip.reject_codes else "elsewhere"
            values["kept" if clip.status == "kept" else here].append(value)
    if not any(values.values()):
        return None
    limits = {
        limit for clip in clips if (limit := clip.thresholds.get(measurement.name)) is not None
    }
    threshold = limits.pop() if len(limits) == 1 else None
    edges = _edges(np.concatenate([np.array(part, float) for part in values.values()]), threshold)
    return Histogram(
        measurement=measurement,
        threshold=threshold,
        edges=edges,
        counts={part: _count(np.array(of), edges, measurement) for part, of in values.items()},
        kept_median=float(np.median(values["kept"])) if values["kept"] else None,
    )


def nice_ticks(low: float, high: float, *, want: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) within [low, high].

    >>> nice_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / want
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(index * step, digits) + 0.0 for index in range(first, last + 1)]


def _edges(values: NDArray[np.float64], threshold: float | None) -> NDArray[np.float64]:
    """Return (B + 1,) bin edges over the middle 99 %, including the threshold."""
    low, high = (float(value) for value in np.quantile(values, (0.005, 0.995)))
    if threshold is None:
        threshold = low
    low, high = min(low, threshold), max(high, threshold)
    width = (high - low) / _BINS or max(abs(high) * 0.05, 0.05)
    # At least one bin beyond the threshold, so that its rejected side shows even if empty.
    left = max(math.ceil((threshold - low) / width), 1)
    right = max(math.ceil((high - threshold) / width), 1)
    return threshold + width * np.arange(-left, right + 1, dtype=np.float64)


def _count(
    values: NDArray[np.float64], edges: NDArray[np.float64], measurement: Measurement
) -> NDArray[np.int64]:
    """Count values by bin: the threshold itself on its kept side, outliers at the edges."""
    side: Literal["left", "right"] = "left" if measurement.direction == "at_most" else "right"
    index = np.searchsorted(edges, values, side=side) - 1
    return np.bincount(index.clip(0, len(edges) - 2), minlength=len(edges) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One frame of one clip, ready to be put into a page."""

    clip: Clip
    frame_index: int
    """Of the clip."""
    picture: str
    """`data:` URI of a JPEG."""
    skeleton: str
    """`data:` URI of a PNG that is transparent where nothing is drawn."""


def sample_frames(dataset: Dataset, clips: Sequence[Clip]) -> Iterator[Sample]:
    """Yield about `MAX_SAMPLES` frames, spread over identities first, then clips, then frames.

    A clip whose files can't be read, link elsewhere or do not match the manifest is left out with a
    logged warning: `Dataset.verify` fails for it, but the report can still show the rest.
    """
    chosen = choose_clips(clips, MAX_SAMPLES)
    each = min(_MAX_SAMPLES_PER_CLIP, MAX_SAMPLES // max(len(chosen), 1))
    for clip in chosen:
        frames = clip.n_frames or 0
        indices = sorted({int((place + 0.5) / each * frames) for place in range(each)})
        yield from _samples_of(dataset, clip, indices, side_px=_SIDE_PX)


def choose_clips(clips: Sequence[Clip], limit: int) -> list[Clip]:
    """Pick up to `limit` clips, evenly over the identities; second clips only to fill up."""
    rounds: dict[int, list[Clip]] = {}
    seen: dict[str | None, int] = {}
    for clip in clips:
        turn = seen.get(clip.identity, 0)
        seen[clip.identity] = turn + 1
        rounds.setdefault(turn, []).append(clip)
    chosen: list[Clip] = []
    for turn in sorted(rounds):
        offered, room = rounds[turn], limit - len(chosen)
        if len(offered) > room:
            offered = [offered[index * len(offered) // room] for index in range(room)]
        chosen += offered
        if len(chosen) == limit:
            break
    return sorted(chosen, key=lambda clip: clip.clip_id)


def _samples_of(
    dataset: Dataset, clip: Clip, indices: Sequence[int], *, side_px: int
) -> Iterator[Sample]:
    try:
        yield from _read_samples(dataset, clip, indices, side_px)
    except (MediaError, ForeignFileError, OSError, IndexError) as error:
        logger.warning("no sample frame of %s: %s", clip.clip_id, error)


def _read_samples(
    dataset: Dataset, clip: Clip, indices: Sequence[int], side_px: int
) -> Iterator[Sample]:
    from tpbench.dwpose_drawing import draw_pose
    from tpbench.video import frames_at

    # The page is shared: it may only contain what the manifest describes.
    require_own(dataset.folder, dataset.keypoints_path(clip), clip.keypoints_sha256)
    require_own(dataset.folder, dataset.clip_path(clip), clip.clip_sha256)
    pose = dataset.load_pose(clip)
    for frame in frames_at(dataset.clip_path(clip), indices):
        height, width = frame.image.shape[:2]
        moment = slice(frame.index, frame.index + 1)
        drawing = draw_pose(pose.keypoints[moment], pose.scores[moment], height, width)
        yield Sample(
            clip=clip,
            frame_index=frame.index,
            picture=_jpeg_uri(_shrink(frame.image, side_px)),
            skeleton=_layer_uri(drawing, side_px),
        )


def _shrink(image: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg_uri(image: NDArray[np.uint8]) -> str:
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)[1]
    return _data_uri("jpeg", encoded.tobytes())


def _layer_uri(drawing: NDArray[np.uint8], side_px: int) -> str:
    """Encode a drawing on black as a layer: black becomes transparent, colours are kept."""
    import cv2

    covered = np.where(drawing.max(axis=-1, keepdims=True) > 0, 255, 0).astype(np.uint8)
    coverage = _shrink(np.repeat(covered, 3, axis=-1), side_px)[..., :1]
    # Shrinking mixed the edges with black: divide by the drawn share of each pixel.
    colour = _shrink(drawing, side_px).astype(np.float32) * 255 / np.maximum(coverage, 1)
    layer = np.concatenate([colour[..., ::-1].clip(0, 255), coverage], axis=-1)
    quality = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    encoded = cv2.imencode(".png", layer.round().astype(np.uint8), quality)[1]
    return _data_uri("png", encoded.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

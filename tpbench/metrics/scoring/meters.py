"""Per-frame measurements: each meter turns pairs of frames into columns or features.

A meter is a row of `METERS`: its columns, and a `start` that takes the setting of a clip and
returns the step, which takes a chunk of frames and yields a row of values for each. Networks are
imported and loaded when a step that uses them is started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.pixels import (
    CAP_DB,
    capped,
    colour_shift,
    disco_l1,
    disco_ssim,
    laplacian_variance,
    mean_absolute_error,
    psnr,
    ssim,
)
from tpbench.metrics.pose import (
    REGIONS,
    Box,
    PartSums,
    pose_statistics,
    region_box,
    region_crop,
    region_scores,
)
from tpbench.metrics.registry import MetricRow
from tpbench.metrics.scoring.tools import (
    ClipSetting,
    ColumnMeter,
    FeatureMeter,
    FrameChunk,
    Maker,
    Meter,
    PairMeasure,
    PairMeter,
    SkeletonFinder,
    n_windows,
)
from tpbench.metrics.temporal import LAGS, WINDOW_FRAMES, EarlierPairs, LagCosines, jitter_error

if TYPE_CHECKING:
    from tpbench.metrics.networks import Backbone, FedRange, Picture

Image = NDArray[np.uint8]
Row = Sequence[float]
"""Values of one frame, in the order of the columns."""
Step = Callable[[FrameChunk], Iterable[Row]]
"""Takes the next frames of a clip and yields one row for each."""
Start = Callable[[ClipSetting], Step]
"""Takes the setting of a clip and returns the step for its frames."""
POSE_PARTS: Final = ("body", "hands", "face")
"""Parts whose pose accuracy is reported separately."""
_INCEPTION_DIM: Final = 2048
_I3D_DIM: Final = 400
_DISCO_SIDE_PX: Final = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRow:
    """One meter."""

    name: str
    columns: tuple[str, ...] = ()
    """Per-frame columns it produces; none for feature meters."""
    start: Start | None = None
    """Returns the step for a clip; only for meters with columns."""
    features: Callable[[ClipSetting], Meter] | None = None
    """Builds the meter for a clip; only for feature meters."""
    version: int = 1
    """Raised whenever a value can change: values of older versions are measured again."""
    weights: tuple[str, ...] = ()
    """Names in `tpbench weights list`."""
    needs_pose: bool = False
    """Whether it uses skeletons, of the real frames at least."""
    min_side_px: int = 1
    """Smaller images can't be measured."""
    feature_dim: int = 0
    """Length of the feature vectors it writes; 0: none."""
    feature_stride: int = 0
    """Frames between the starts of two windows of 16, each a vector; 0: one vector per frame."""

    def build(self, setting: ClipSetting) -> Meter:
        """Build the meter for one clip, and load its network."""
        if self.features is not None:
            return self.features(setting)
        if self.start is None:
            raise TypeError(f"meter '{self.name}' has neither `start` nor `features`")
        if isinstance(self.start, EachPair):
            return PairMeter(self.columns, self.start.measure)
        return ColumnMeter(self.columns, self.start(setting))


@dataclass(frozen=True, slots=True)
class EachPair:
    """The `start` of a meter that measures each pair of frames by itself."""

    measure: PairMeasure

    def __call__(self, _: ClipSetting) -> Step:
        """Return the step for the frames of a clip."""
        return lambda chunk: map(self.measure, chunk.real, chunk.generated)


def each_pair(measure: Callable[[Image, Image], float | Row]) -> EachPair:
    """Return the `start` of a meter that applies one function to each pair of frames.

    Args:
        measure: takes the real and the generated image, (H, W, 3) uint8 RGB of one size, and
            returns the value, or one value per column. Frames come in any order, and several
            threads may call it at once.
    """

    def row(real: Image, generated: Image) -> Row:
        found = measure(real, generated)
        return found if isinstance(found, Sequence) else (found,)

    return EachPair(row)


def _psnr(real: Image, generated: Image) -> Row:
    """PSNR, capped, and whether the frames are identical (1) or not (0)."""
    value = psnr(real, generated)
    return capped(value), float(math.isinf(value))


def disco_psnr(real: Image, generated: Image) -> float:
    """Return PSNR of one frame in dB as DisCo's script computes it: 100 only for identical frames.

    Raises:
        ValueError: they are no images or differ in size.
    """
    value = psnr(real, generated)
    return CAP_DB if math.isinf(value) else value


def _tje(delta: int) -> Start:
    """Terms of TJE, each on the later of its two frames; the first `delta` frames have none."""

    def start(_: ClipSetting) -> Step:
        earlier = EarlierPairs(delta)

        def step(chunk: FrameChunk) -> Iterator[Row]:
            for real, generated in zip(chunk.real, chunk.generated, strict=True):
                before = earlier.before(real, generated)
                yield (jitter_error(real, before[0], generated, before[1]) if before else math.nan,)

        return step

    return start


def _motion(_: ClipSetting) -> Step:
    """Motion of each clip since its previous frame."""
    earlier = EarlierPairs(1)

    def step(chunk: FrameChunk) -> Iterator[Row]:
        for pair in zip(chunk.real, chunk.generated, strict=True):
            before = earlier.before(*pair)
            if before is None:
                yield math.nan, math.nan
            else:
                yield [mean_absolute_error(*two) for two in zip(pair, before, strict=True)]

    return step


def _lag(_: ClipSetting) -> Step:
    """Cosine of each clip's frame to the frames `LAGS` earlier in the same clip."""
    of_real, of_generated = LagCosines(), LagCosines()

    def step(chunk: FrameChunk) -> Iterator[Row]:
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            yield *of_real.update(real), *of_generated.update(generated)

    return step


def _sharpness(real: Image, generated: Image) -> Row:
    return laplacian_variance(real), laplacian_variance(generated)


def _pose(setting: ClipSetting) -> Step:
    """Sums per part and frame, from which AKD, PCK and missing rates are computed."""
    finder = SkeletonFinder(setting.toolbox.suite("generated"), setting.fps)

    def step(chunk: FrameChunk) -> Iterator[Row]:
        real, found = chunk.real_skeletons(), finder.find(chunk.generated)
        for at, image in enumerate(chunk.real):
            parts = pose_statistics(
                real.keypoints[at],
                real.scores[at],
                found.keypoints[at],
                found.scores[at],
                width_px=image.shape[1],
                height_px=image.shape[0],
            )
            yield [float(value) for part in POSE_PARTS for value in parts[part]]

    return step


def _regions(_: ClipSetting) -> Step:
    """PSNR (capped) and SSIM inside the boxes; NaN on frames without one."""

    def step(chunk: FrameChunk) -> Iterator[Row]:
        for at, boxes in enumerate(_boxes(chunk)):
            values: list[float] = []
            for box in boxes:
                if box is None:
                    values += [math.nan, math.nan]
                else:
                    psnr_db, similarity = region_scores(chunk.real[at], chunk.generated[at], box)
                    values += [capped(psnr_db), similarity]
            yield values

    return step


def _region_lpips(setting: ClipSetting) -> Step:
    """LPIPS of the boxes, resized to one size; NaN on frames without one."""
    network = setting.toolbox.lpips("alex", "signed")

    def step(chunk: FrameChunk) -> Iterable[Row]:
        boxes = _boxes(chunk)
        found = [(at, to, box) for at, row in enumerate(boxes) for to, box in enumerate(row) if box]
        values = np.full((len(boxes), len(REGIONS)), np.nan)
        if found:
            real, generated = (
                np.stack([region_crop(side[at], box) for at, _, box in found])
                for side in (chunk.real, chunk.generated)
            )
            frames, regions = [at for at, _, _ in found], [to for _, to, _ in found]
            values[frames, regions] = network.distances(real, generated)
        return [tuple(row) for row in values]

    return step


def _boxes(chunk: FrameChunk) -> list[list[Box | None]]:
    """Return the box of each region of each frame; None where the real skeleton lacks it."""
    pose = chunk.real_skeletons()
    size = {"width_px": chunk.real[0].shape[1], "height_px": chunk.real[0].shape[0]}
    return [
        [region_box(region, points, scores, **size) for region in REGIONS]
        for points, scores in zip(pose.keypoints, pose.scores, strict=True)
    ]


def _lpips(backbone: Backbone, fed: FedRange) -> Start:
    """LPIPS of each pair of frames."""

    def start(setting: ClipSetting) -> Step:
        network = setting.toolbox.lpips(backbone, fed)

        def step(chunk: FrameChunk) -> Iterator[Row]:
            found = network.distances(np.stack(chunk.real), np.stack(chunk.generated))
            return ((float(value),) for value in found)

        return step

    return start


def _inception(setting: ClipSetting) -> FeatureMeter:
    """One Inception vector per frame, for FID and KID."""
    network = setting.toolbox.inception()

    def make(images: Sequence[Image]) -> NDArray[np.float32]:
        return network.features(np.stack(images))

    return FeatureMeter(setting, n=setting.n_frames, dim=_INCEPTION_DIM, make_maker=lambda: make)


def _windowed(
    *, stride: int, prepare: Callable[[Image], Picture] | None = None
) -> Callable[[ClipSetting], Meter]:
    """One I3D vector per window of 16 frames, a window every `stride` frames."""

    def build(setting: ClipSetting) -> FeatureMeter:
        from tpbench.metrics.i3d import WindowStream

        network = setting.toolbox.i3d()

        def make_maker() -> Maker:
            stream = WindowStream(stride=stride)

            def make(images: Sequence[Image]) -> NDArray[np.float32]:
                found = [np.empty((0, _I3D_DIM), dtype=np.float32)]
                for image in images:
                    window = stream.push(prepare(image) if prepare else image)
                    if window is not None:
                        found.append(network.features(window[None]))
                return np.concatenate(found)

            return make

        n = n_windows(setting.n_frames, stride=stride)
        return FeatureMeter(setting, n=n, dim=_I3D_DIM, make_maker=make_maker)

    return build


def pil_squashed(image: Image) -> NDArray[np.float32]:
    """Squash an image to 224 x 224 as DisCo's script does, by PIL's bicubic on unrounded channels.

    As clean-fid's `make_resizer("PIL", False, "bicubic", (224, 224))`: each channel in mode F, so
    values are not whole levels and overshoot at edges (-29 to 280 between black and white).

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (224, 224, 3) float32, in levels.
    """
    from PIL import Image as Pil

    size = (_DISCO_SIDE_PX, _DISCO_SIDE_PX)
    channels = (Pil.fromarray(image[..., at].astype(np.float32)) for at in range(3))
    return np.stack([np.asarray(one.resize(size, Pil.Resampling.BICUBIC)) for one in channels], -1)


_LPIPS_ALEX: Final = ("lpips-alexnet",)
_LPIPS_VGG: Final = ("lpips-vgg16",)
_I3D: Final = ("i3d-torchscript",)

_ROWS: Final = (
    MeterRow(name="psnr", columns=("psnr", "identical"), start=each_pair(_psnr), version=2),
    MeterRow(name="ssim", columns=("ssim",), start=each_pair(ssim), min_side_px=11),
    MeterRow(name="l1", columns=("l1",), start=each_pair(mean_absolute_error)),
    MeterRow(name="disco_psnr", columns=("disco_psnr",), start=each_pair(disco_psnr)),
    MeterRow(
        name="disco_ssim", columns=("disco_ssim",), start=each_pair(disco_ssim), min_side_px=7
    ),
    MeterRow(name="disco_l1", columns=("disco_l1",), start=each_pair(disco_l1)),
    MeterRow(name="tje_d1", columns=("tje_d1",), start=_tje(1)),
    MeterRow(name="tje_d2", columns=("tje_d2",), start=_tje(2)),
    MeterRow(name="tje_d5", columns=("tje_d5",), start=_tje(5)),
    MeterRow(name="motion", columns=("motion_real", "motion_generated"), start=_motion),
    MeterRow(
        name="lag",
        columns=tuple(f"lag_{side}_{lag}" for side in ("real", "generated") for lag in LAGS),
        start=_lag,
    ),
    MeterRow(
        name="colour",
        columns=(
            *(f"colour_{kind}_{axis}" for kind in ("shift", "spread") for axis in "lab"),
            "colour_delta_e",
        ),
        start=each_pair(colour_shift),
    ),
    MeterRow(
        name="sharpness",
        columns=("sharpness_real", "sharpness_generated"),
        start=each_pair(_sharpness),
    ),
    MeterRow(
        name="lpips_alex",
        columns=("lpips_alex",),
        start=_lpips("alex", "signed"),
        weights=_LPIPS_ALEX,
        min_side_px=31,
    ),
    MeterRow(
        name="lpips_vgg",
        columns=("lpips_vgg",),
        start=_lpips("vgg", "signed"),
        weights=_LPIPS_VGG,
        min_side_px=16,
    ),
    MeterRow(
        name="disco_lpips",
        columns=("disco_lpips",),
        start=_lpips("vgg", "unit"),
        weights=_LPIPS_VGG,
        min_side_px=16,
    ),
    MeterRow(
        name="regions",
        columns=tuple(f"{region}_{metric}" for region in REGIONS for metric in ("psnr", "ssim")),
        start=_regions,
        version=2,
        needs_pose=True,
    ),
    MeterRow(
        name="region_lpips",
        columns=tuple(f"{region}_lpips" for region in REGIONS),
        start=_region_lpips,
        weights=_LPIPS_ALEX,
        needs_pose=True,
    ),
    MeterRow(
        name="pose",
        columns=tuple(f"pose_{part}_{name}" for part in POSE_PARTS for name in PartSums._fields),
        start=_pose,
        needs_pose=True,
    ),
    MeterRow(
        name="inception",
        features=_inception,
        weights=("fid-inception",),
        feature_dim=_INCEPTION_DIM,
    ),
    MeterRow(
        name="i3d",
        features=_windowed(stride=WINDOW_FRAMES),
        weights=_I3D,
        feature_dim=_I3D_DIM,
        feature_stride=WINDOW_FRAMES,
    ),
    MeterRow(
        name="disco_i3d",
        features=_windowed(stride=1, prepare=pil_squashed),
        version=2,
        weights=_I3D,
        feature_dim=_I3D_DIM,
        feature_stride=1,
    ),
)

METERS: Final[Mapping[str, MeterRow]] = {row.name: row for row in _ROWS}
"""Every meter by name."""
FEATURES_OF: Final[Mapping[str, str]] = {
    "fid": "inception",
    "kid": "inception",
    "drift_fid_slope": "inception",
    "drift_fid_delta": "inception",
    "fvd": "i3d",
    "drift_fvd_slope": "i3d",
    "drift_fvd_delta": "i3d",
    "disco_fvd": "disco_i3d",
}
"""By metric over all clips: the feature meter that it is computed from."""


def meters_for(metrics: Iterable[MetricRow]) -> tuple[MeterRow, ...]:
    """Return the meters whose output these metrics are computed from, in the table's order."""
    wanted: set[str] = set()
    for metric in metrics:
        if metric.id in FEATURES_OF:
            wanted.add(FEATURES_OF[metric.id])
        wanted.update(row.name for row in _ROWS if set(row.columns) & set(metric.columns))
    return tuple(row for row in _ROWS if row.name in wanted)

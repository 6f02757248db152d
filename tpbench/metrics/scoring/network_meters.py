"""Meters that need networks: LPIPS, and the feature vectors of FID, KID and FVD."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.networks import I3D_DIM, INCEPTION_DIM, WINDOW_FRAMES, WindowStream
from tpbench.metrics.scoring.features import FeatureWriter, mark_used, n_windows, read_features
from tpbench.metrics.scoring.tools import ClipSetting, ColumnMeter, FrameChunk

if TYPE_CHECKING:
    from tpbench.metrics.lpips_distance import LpipsDistance
    from tpbench.metrics.networks import I3DFeatures, InceptionFeatures, Picture


def alex_meter(setting: ClipSetting) -> ColumnMeter:
    """Return the meter of `lpips`."""
    return _meter("lpips_alex", setting.toolbox.lpips("alex", "signed"))


def vgg_meter(setting: ClipSetting) -> ColumnMeter:
    """Return the meter of `lpips_vgg`."""
    return _meter("lpips_vgg", setting.toolbox.lpips("vgg", "signed"))


def disco_meter(setting: ClipSetting) -> ColumnMeter:
    """Return the meter of `disco_lpips`: VGG that gets [0, 1]."""
    return _meter("disco_lpips", setting.toolbox.lpips("vgg", "unit"))


def _meter(column: str, network: LpipsDistance) -> ColumnMeter:
    return ColumnMeter(
        [column],
        lambda chunk: network.distances(np.stack(chunk.real), np.stack(chunk.generated))[:, None],
    )


Pictures = Sequence[NDArray[np.uint8]]
Maker = Callable[[Pictures], NDArray[np.float32]]
"""Takes the next frames of a clip and returns the vectors (k, dim) they complete."""

_DISCO_SIDE_PX = 224


class FeatureMeter:
    """Makes features of both clips; those of the real one only where they are not kept already.

    Args:
        setting: of the clip; says where the features go.
        n: vectors that a clip of this length gives.
        dim: their length.
        make_maker: of one clip; called once for each side.
    """

    def __init__(
        self, setting: ClipSetting, *, n: int, dim: int, make_maker: Callable[[], Maker]
    ) -> None:
        self._generated = FeatureWriter(setting.generated_features, n=n, dim=dim)
        setting.cleanup.callback(self._generated.discard)
        self._make_generated = make_maker()
        self._real: FeatureWriter | None = None
        if read_features(setting.real_features, n=n, dim=dim) is None:
            self._real = FeatureWriter(setting.real_features, n=n, dim=dim)
            setting.cleanup.callback(self._real.discard)
        else:
            mark_used(setting.real_features)
        self._make_real = make_maker()

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        self._generated.append(self._make_generated(chunk.generated))
        if self._real is not None:
            self._real.append(self._make_real(chunk.real))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """Give the files their names; there are no columns."""
        self._generated.commit()
        if self._real is not None:
            self._real.commit()
        return {}


def inception_meter(setting: ClipSetting) -> FeatureMeter:
    """Return the meter of FID and KID: one Inception vector per frame."""
    network: InceptionFeatures = setting.toolbox.inception()

    def make(images: Pictures) -> NDArray[np.float32]:
        return network.features(np.stack(images))

    return FeatureMeter(setting, n=setting.n_frames, dim=INCEPTION_DIM, make_maker=lambda: make)


def i3d_meter(setting: ClipSetting) -> FeatureMeter:
    """Return the meter of FVD: one I3D vector per window of 16 frames, windows side by side."""
    return _windowed(setting, stride=WINDOW_FRAMES, prepare=lambda image: image)


def disco_i3d_meter(setting: ClipSetting) -> FeatureMeter:
    """Return the meter of DisCo's FVD: a window from every frame on, squashed to 224 by PIL."""
    return _windowed(setting, stride=1, prepare=pil_squashed)


def _windowed(
    setting: ClipSetting, *, stride: int, prepare: Callable[[NDArray[np.uint8]], Picture]
) -> FeatureMeter:
    network: I3DFeatures = setting.toolbox.i3d()

    def make_maker() -> Maker:
        stream = WindowStream(stride=stride)

        def make(images: Pictures) -> NDArray[np.float32]:
            found = [np.empty((0, I3D_DIM), dtype=np.float32)]
            for image in images:
                window = stream.push(prepare(image))
                if window is not None:
                    found.append(network.features(window[None]))
            return np.concatenate(found)

        return make

    count = n_windows(setting.n_frames, stride=stride)
    return FeatureMeter(setting, n=count, dim=I3D_DIM, make_maker=make_maker)


def pil_squashed(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Squash a picture to 224 x 224 as DisCo's script does, by PIL's bicubic on unrounded channels.

    That of clean-fid's `make_resizer("PIL", False, "bicubic", (224, 224))`: each channel in mode F,
    so that values are no whole levels and overshoot at edges (-29 to 280 between black and white).

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (224, 224, 3) float32, in levels.
    """
    from PIL import Image

    size = (_DISCO_SIDE_PX, _DISCO_SIDE_PX)
    channels = (Image.fromarray(image[..., at].astype(np.float32)) for at in range(3))
    return np.stack(
        [np.asarray(one.resize(size, Image.Resampling.BICUBIC)) for one in channels], axis=-1
    )

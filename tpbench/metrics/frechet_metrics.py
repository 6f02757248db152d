"""FID and FVD: the Fréchet distance between features of real and generated frames, or windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tpbench.metrics.feature_statistics import FeatureAccumulator
from tpbench.metrics.frechet import (
    FrechetScore,
    frechet_distance,
    sample_warning,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

    from tpbench.metrics.feature_statistics import FeatureStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetMetric:
    """A Fréchet distance by the name that papers know."""

    name: str

    dim: int
    """Length of a feature vector."""

    ddof: int
    """Covariances are divided by n - ddof."""

    enough: int
    """Vectors of each set from which on the value is held to be reliable."""

    unit: str
    """What a vector stands for, in the plural."""

    def score(self, real: FeatureStatistics, generated: FeatureStatistics) -> FrechetScore:
        """Return |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the pooled vectors.

        Frames and windows of a clip resemble each other, so that even many of few clips are a small
        sample. No interval is given: resampling them would measure the bias of the distance more
        than its spread.

        Args:
            real: of the real vectors.
            generated: of the generated ones; their number need not be equal, but see the warning.

        Returns:
            Value 0 or more, lower is better.

        Raises:
            ValueError: the vectors are of another length.
        """
        if (real.dim, generated.dim) != (self.dim, self.dim):
            found = f"{real.dim} and {generated.dim}"
            msg = f"{self.name}: want features of length {self.dim}, got {found}"
            raise ValueError(msg)
        return FrechetScore(
            value=frechet_distance(real, generated, ddof=self.ddof),
            n_real=real.n,
            n_generated=generated.n,
            warning=sample_warning(real.n, generated.n, enough=self.enough, what=self.unit),
        )

    def pooled(self, clips: Iterable[tuple[ArrayLike, ArrayLike]]) -> FrechetScore:
        """Return `score` over all vectors of all clips.

        Args:
            clips: of each its real vectors, (k, d), and its generated ones, (m, d); k or m may be
                0, and they need not be equal.

        Raises:
            ValueError: other shapes, not all numbers finite, or no real or no generated vectors.
        """
        real, generated = FeatureAccumulator(self.dim), FeatureAccumulator(self.dim)
        for of_real, of_generated in clips:
            real.update(of_real)
            generated.update(of_generated)
        return self.score(real.compute(), generated.compute())


FID: Final = FrechetMetric(name="FID", dim=2048, ddof=1, enough=10_000, unit="frames")
"""On pytorch-fid's 2048 Inception features, covariances as `numpy.cov` has them (Heusel et al.
2017, whose authors hold 10,000 frames to be enough)."""

FVD: Final = FrechetMetric(name="FVD", dim=400, ddof=0, enough=2048, unit="windows")
"""On the 400 logits of I3D (Unterthiner et al. 2018), covariances over n as StyleGAN-V has them
(other scripts divide by n - 1: 5 % at 16 windows). Where StyleGAN-V draws one random window of each
of 2048 videos, all windows at stride 16 are pooled here, which is deterministic; with 256 of them
about a third of the spread is still bias."""

DISCO_FVD: Final = FrechetMetric(name="DisCo's FVD", dim=400, ddof=1, enough=2048, unit="windows")
"""As the TikTok tables have it: windows from every frame on, covariances over n - 1."""

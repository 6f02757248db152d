"""FVD: the Fréchet distance between the I3D features of real and generated windows of 16 frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tpbench.metrics.frechet import (
    FrechetAccumulator,
    FrechetScore,
    frechet_distance,
    sample_warning,
)

if TYPE_CHECKING:
    from tpbench.metrics.feature_statistics import FeatureStatistics

FVD_DIM: Final = 400
FVD_ENOUGH: Final = 2048
"""Windows of each set that StyleGAN-V takes; with 256 about a third of the spread is still bias."""


def fvd(real: FeatureStatistics, generated: FeatureStatistics) -> FrechetScore:
    """Return FVD of pooled windows.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) on the 400 logits of I3D (Unterthiner et al. 2018),
    covariances over n as StyleGAN-V has them (other scripts divide by n - 1: 5 % at 16 windows).
    Where StyleGAN-V draws one random window per video, all windows at stride 16 are pooled here,
    which is deterministic. No interval is given: resampling windows would measure the bias of FVD
    more than its spread.

    Args:
        real: of the real windows, d = 400.
        generated: of the generated windows; their number need not be equal, but see the warning.

    Returns:
        Value 0 or more, lower is better.

    Raises:
        ValueError: the vectors are of another length.
    """
    if (real.dim, generated.dim) != (FVD_DIM, FVD_DIM):
        msg = f"FVD: want features of length {FVD_DIM}, got {real.dim} and {generated.dim}"
        raise ValueError(msg)
    return FrechetScore(
        value=frechet_distance(real, generated, ddof=0),
        n_real=real.n,
        n_generated=generated.n,
        warning=sample_warning(real.n, generated.n, enough=FVD_ENOUGH, what="windows"),
    )


def fvd_accumulator() -> FrechetAccumulator:
    """Return an empty accumulator that pools I3D features over clips."""
    return FrechetAccumulator(dim=FVD_DIM, score=fvd)

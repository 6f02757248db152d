"""FID: the Fréchet distance between the Inception features of real and generated frames."""

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

FID_DIM: Final = 2048
FID_ENOUGH: Final = 10_000
"""Frames of each set from which on the authors of FID hold it to be reliable."""


def fid(real: FeatureStatistics, generated: FeatureStatistics) -> FrechetScore:
    """Return FID of pooled frames.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances over n - 1, on the 2048 features of
    pytorch-fid's Inception (Heusel et al. 2017). Frames of a clip resemble each other, so that even
    many frames of few clips are a small sample. No interval is given: resampling frames would
    measure the bias of FID more than its spread.

    Args:
        real: of the real frames, d = 2048.
        generated: of the generated frames; their number need not be equal, but see the warning.

    Returns:
        Value 0 or more, lower is better.

    Raises:
        ValueError: the vectors are of another length.
    """
    if (real.dim, generated.dim) != (FID_DIM, FID_DIM):
        msg = f"FID: want features of length {FID_DIM}, got {real.dim} and {generated.dim}"
        raise ValueError(msg)
    return FrechetScore(
        value=frechet_distance(real, generated, ddof=1),
        n_real=real.n,
        n_generated=generated.n,
        warning=sample_warning(real.n, generated.n, enough=FID_ENOUGH, what="frames"),
    )


def fid_accumulator() -> FrechetAccumulator:
    """Return an empty accumulator that pools Inception features over clips."""
    return FrechetAccumulator(dim=FID_DIM, score=fid)

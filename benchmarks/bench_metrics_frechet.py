"""Time of a Fréchet distance: SciPy's matrix square root against ours, on the same features.

    OMP_NUM_THREADS=1 python benchmarks/bench_metrics_frechet.py [--rounds 3] [--full-rank]

Features have the length of Inception's and a 1/k spectrum. `--full-rank` adds the case of more
vectors than features, in which both work with covariances. Prints medians and the ratio; both sides
start from the features and end with the distance.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from tpbench.metrics.distances import feature_statistics, frechet_distance

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Features = NDArray[np.float64]

DIM = 2048


def features(n: int, *, seed: int) -> Features:
    """Return (n, DIM) with variances 1/k."""
    draw = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, DIM + 1))
    return (draw.standard_normal((n, DIM)) + 0.1 * draw.standard_normal(DIM)) * scale


def by_sqrtm(a: Features, b: Features) -> float:
    """As pytorch-fid: numpy.cov and scipy.linalg.sqrtm."""
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(axis=0) - b.mean(axis=0)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def ours(a: Features, b: Features) -> float:
    """Statistics and distance of this package."""
    return frechet_distance(feature_statistics(a), feature_statistics(b))


def timed(function: Callable[[Features, Features], float], a: Features, b: Features) -> float:
    """Return the wall time of one call in seconds."""
    began_s = time.perf_counter()
    function(a, b)
    return time.perf_counter() - began_s


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full-rank", action="store_true")
    options = parser.parse_args()
    for n in [100, 643, *([4096] if options.full_rank else [])]:
        a, b = features(n, seed=1), features(n, seed=2)
        slow_s, fast_s = [], []
        for _ in range(options.rounds):  # in turn: other work on the machine hits both
            slow_s.append(timed(by_sqrtm, a, b))
            fast_s.append(timed(ours, a, b))
        slow, fast = statistics.median(slow_s), statistics.median(fast_s)
        off = abs(ours(a, b) / by_sqrtm(a, b) - 1)
        print(
            f"n={n} d={DIM}: sqrtm {slow:.2f} s, ours {fast * 1000:.0f} ms, "
            f"{slow / fast:.0f} times faster, relative difference {off:.1e}"
        )


if __name__ == "__main__":
    main()

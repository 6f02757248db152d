"""Peak memory of a scoring, by the length of its clips."""

from __future__ import annotations

import itertools
import logging
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.processes import started
from tpbench.metrics.registry import METRICS, protocol
from tpbench.video import LOSSLESS_X264, VideoWriter

_log = logging.getLogger(__name__)

SIDE_PX = 128

SCORE_AND_SAY_PEAK = """
import re, sys
from pathlib import Path
from tpbench import score
folder = Path(sys.argv[1])
out = folder / "out"
report = score(folder / "real", folder / "generated", out=out, metrics=sys.argv[2:], workers=1)
assert report.complete
status = Path("/proc/self/status").read_text()
n_frames = sum(clip.n_frames for clip in report.clips.values())
print(n_frames, re.search(r"VmHWM:\\s*(\\d+)", status)[1])
"""


def write_clip(path: Path, n_frames: int, *, seed: int) -> None:
    """A card that pans for 99 frames, and back."""
    noise = np.random.default_rng(seed).uniform(0, 255, size=(SIDE_PX, SIDE_PX + 99, 3))
    card = cv2.GaussianBlur(noise, (0, 0), 2.0).astype(np.uint8)
    there = [card[:, t : t + SIDE_PX].copy() for t in range(100)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        path, width_px=SIDE_PX, height_px=SIDE_PX, fps=Fraction(25), encoding=LOSSLESS_X264
    ) as writer:
        for image in itertools.islice(itertools.cycle(there + there[-2:0:-1]), n_frames):
            writer.write(image)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_five_thousand_frames_take_hardly_more_memory_than_five_hundred(tmp_path: Path) -> None:
    """If frames were held, 5,000 would take 500 MB more. `--log-cli-level=INFO` shows the peaks."""
    metrics = [
        name
        for name in protocol("tpbench-v2").metrics
        if not METRICS[name].weights and not METRICS[name].needs
    ]
    peaks_kb = {}
    for n_frames in (500, 5000):
        folder = tmp_path / str(n_frames)
        write_clip(folder / "real" / "clip.mkv", n_frames, seed=1)
        write_clip(folder / "generated" / "clip.mkv", n_frames, seed=2)
        with started("-c", SCORE_AND_SAY_PEAK, str(folder), *metrics) as process:
            said, complaint = process.communicate()
            assert process.returncode == 0, complaint
        scored, peak_kb = said.split()
        assert int(scored) == n_frames
        peaks_kb[n_frames] = int(peak_kb)
        _log.info("%d frames: %.0f MB at the most", n_frames, peaks_kb[n_frames] / 1024)

    assert peaks_kb[5000] <= 1.1 * peaks_kb[500], peaks_kb

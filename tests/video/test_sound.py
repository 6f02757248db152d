"""Sound of many channels, or of channels in an order of their own: kept, and never clipped."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from tests.video.boxes import with_channels
from tpbench.video import CLIP, AudioSource, VideoWriter, probe

CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6, "6.1": 7, "7.1": 8}
RATE_HZ = 48000


def write(
    path: Path,
    *,
    layout: str,
    loud: list[int] | None = None,
    codec: str = "pcm_s16le",
    tracks: int = 1,
) -> Path:
    """Write 2 s of video with a tone of 0.7 from 1 s on.

    Args:
        path: where to; its ending decides the container.
        layout: libav's name of the channels.
        loud: channels that sound; all if not given.
        codec: of the sound.
        tracks: sound tracks; the last one is marked as default, those before it are silent.
    """
    channels = CHANNELS[layout]
    tone = 0.7 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ)
    tone[:RATE_HZ] = 0
    samples = np.zeros((2 * RATE_HZ, channels))
    samples[:, loud if loud is not None else range(channels)] = tone[:, None]
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [output.add_stream(codec, rate=RATE_HZ) for _ in range(tracks)]
        for sound in sounds:
            assert isinstance(sound, av.AudioStream)
            sound.codec_context.layout = layout
            sound.disposition = Disposition.default if sound is sounds[-1] else Disposition(0)
        for _ in range(50):
            image = np.zeros((48, 64, 3), np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(video.encode(None))
        for sound in sounds:
            values = samples if sound is sounds[-1] else np.zeros_like(samples)
            frame = av.AudioFrame.from_ndarray(
                (values * 32767).astype(np.int16).reshape(1, -1), format="s16", layout=layout
            )
            frame.sample_rate = RATE_HZ
            assert isinstance(sound, av.AudioStream)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def clip_of(path: Path, *, start_frame: int = 0) -> NDArray[np.float32]:
    """Cut a clip of the source; return its sound, (channels, n), without the encoder's lead."""
    info = probe(path)
    fps = float(info.fps)
    clip = path.with_name("clip.mp4")
    sound = AudioSource(path=path, start_s=start_frame / fps, end_s=info.duration_s, info=info)
    with VideoWriter(
        clip, width_px=64, height_px=48, fps=info.fps, encoding=CLIP, audio=sound
    ) as writer:
        for _ in range(start_frame, info.frame_count):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    with av.open(str(clip)) as container:
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)


def starts_s(samples: NDArray[np.float32]) -> float:
    """When the sound sets in."""
    return float(np.flatnonzero(np.abs(samples).max(axis=0) > 0.2)[0] / RATE_HZ)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "ac3")])
def test_a_mix_of_loud_channels_is_not_clipped(tmp_path: Path, name: str, codec: str) -> None:
    samples = clip_of(write(tmp_path / name, layout="5.1", codec=codec))

    assert 0.5 < np.abs(samples).max() < 0.95
    assert starts_s(samples) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("layout", ["5.1", "6.1", "7.1"])
@pytest.mark.parametrize("start_frame", [0, 20])
def test_channels_in_an_order_of_their_own_are_kept_in_step(
    tmp_path: Path, layout: str, start_frame: int
) -> None:
    samples = clip_of(write(tmp_path / "a.mov", layout=layout), start_frame=start_frame)

    assert samples.shape[0] == 2
    assert 0.5 < np.abs(samples).max() < 0.95
    assert starts_s(samples) == pytest.approx(1 - start_frame / 25, abs=0.02)


@pytest.mark.parametrize(("loud", "comes_out"), [(0, 1), (1, 0)])
def test_right_and_left_change_places_where_the_file_says_so(
    tmp_path: Path, loud: int, comes_out: int
) -> None:
    path = write(tmp_path / "a.mov", layout="stereo", loud=[loud])
    path.write_bytes(with_channels(path.read_bytes(), [2, 1]))

    samples = clip_of(path)

    assert np.abs(samples[comes_out]).max() > 0.5
    assert np.abs(samples[1 - comes_out]).max() < 0.1


@pytest.mark.parametrize("labels", [[3, 1], [1, 1], [33, 400], [65536, 65537]], ids=str)
def test_an_order_that_no_rule_mixes_is_mixed_alike(tmp_path: Path, labels: list[int]) -> None:
    path = write(tmp_path / "a.mov", layout="stereo")
    path.write_bytes(with_channels(path.read_bytes(), labels))

    samples = clip_of(path)

    assert 0.5 < np.abs(samples).max() < 0.95


@pytest.mark.parametrize("name", ["a.mkv", "a.mov"])
def test_the_sound_of_a_clip_is_that_of_the_track_marked_as_default(
    tmp_path: Path, name: str
) -> None:
    samples = clip_of(write(tmp_path / name, layout="mono", tracks=2))

    assert samples.shape[0] == 1
    assert 0.5 < np.abs(samples).max() < 0.95

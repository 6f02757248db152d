"""Which stream is the film, which its sound, what is refused, and what is none of our business."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.stream import Disposition

from tests.conftest import MediaMaker
from tpbench.errors import MediaError
from tpbench.video import probe, read_frames
from tpbench.video.source import main_sound, main_video, open_container, require_plain_stream


@dataclass(frozen=True)
class Track:
    """One video stream of a made file."""

    side_px: int
    grey: int
    default: bool = False
    n: int = 10
    cover: bool = False


def write(path: Path, tracks: list[Track]) -> Path:
    """Write a file with several video streams, one grey each."""
    with av.open(str(path), "w") as output:
        streams = []
        for track in tracks:
            stream = output.add_stream("mpeg4", rate=25)
            stream.width = stream.height = track.side_px
            stream.pix_fmt = "yuv420p"
            flags = Disposition.default if track.default else Disposition(0)
            stream.disposition = Disposition.attached_pic if track.cover else flags
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            image = np.full((track.side_px, track.side_px, 3), track.grey, np.uint8)
            for _ in range(track.n):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            output.mux(stream.encode(None))
    return path


NO_MARK = Disposition(0)
PROXY = Track(side_px=32, grey=50)
FILM = Track(side_px=96, grey=150)


MAIN = Track(side_px=32, grey=50, default=True)
POSTER = Track(side_px=128, grey=220, n=1, default=True)


@pytest.mark.parametrize(
    ("name", "tracks", "grey"),
    [
        pytest.param("a.mkv", [PROXY, FILM], 150, id="the larger one"),
        pytest.param("a.mkv", [FILM, PROXY], 150, id="the larger one, first"),
        pytest.param("a.ts", [PROXY, FILM], 150, id="the larger one in TS"),
        pytest.param("a.ts", [FILM, PROXY], 150, id="the larger one in TS, first"),
        pytest.param("a.mkv", [FILM, MAIN], 50, id="the one marked as default though smaller"),
        pytest.param("a.mp4", [POSTER, FILM], 150, id="never a single picture"),
    ],
)
def test_of_several_streams_the_film_is_read(
    tmp_path: Path, name: str, tracks: list[Track], grey: int
) -> None:
    path = write(tmp_path / name, tracks)
    assert probe(path).width_px == (96 if grey == 150 else 32)
    assert abs(float(next(read_frames(path)).image.mean()) - grey) < 4.5


def fake(*, width: int = 64, height: int = 48, disposition: Disposition = NO_MARK) -> Any:  # noqa: ANN401 - a stand-in
    codec = SimpleNamespace(width=width, height=height)
    return SimpleNamespace(codec_context=codec, disposition=disposition, frames=0)


def film_among(*streams: Any) -> Any:  # noqa: ANN401 - as above
    holder: Any = SimpleNamespace(streams=SimpleNamespace(video=streams))
    return main_video(holder)


def test_covers_and_thumbnails_are_no_film() -> None:
    film = fake()
    for name in ("attached_pic", "timed_thumbnails", "still_image", "dependent"):
        cover = fake(width=4000, disposition=Disposition[name])
        assert film_among(cover, film) is film
        assert film_among(cover) is None


def test_a_marked_proxy_gives_way_to_a_film_five_million_pixels_larger() -> None:
    proxy, film = fake(disposition=Disposition.default), fake(width=3840, height=2160)
    assert film_among(proxy, film) is film


@pytest.mark.parametrize(
    ("layouts", "default", "index"),
    [
        pytest.param(["mono", "mono"], 0, 1, id="the first, marked as default"),
        pytest.param(["mono", "mono"], 1, 2, id="the second, marked as default"),
        pytest.param(["mono", "stereo", "stereo"], None, 2, id="the first with most channels"),
    ],
)
def test_of_several_sounds_the_marked_or_fullest_is_taken(
    tmp_path: Path, layouts: list[str], default: int | None, index: int
) -> None:
    with open_container(sounds(tmp_path / "a.mkv", layouts, default)) as container:
        track = main_sound(container, container.streams.video[0])
        assert track is not None
        assert track.index == index


def sounds(path: Path, layouts: list[str], default: int | None) -> Path:
    """Write a video with several silent sound tracks."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks: list[AudioStream] = []
        for number, layout in enumerate(layouts):
            track = output.add_stream("pcm_s16le", rate=8000)
            track.codec_context.layout = layout
            track.disposition = Disposition.default if number == default else Disposition(0)
            tracks.append(track)
        image = np.zeros((48, 64, 3), np.uint8)
        output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for track, layout in zip(tracks, layouts, strict=True):
            channels = 1 if layout == "mono" else 2
            samples = np.zeros((1, 800 * channels), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate = 8000
            output.mux(track.encode(frame))
            output.mux(track.encode(None))
        output.mux(video.encode(None))
    return path


KEY = "76a6c65c5ea762046bd749a2e632ccbb"
CENC = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": KEY, "encryption_kid": KEY}


def written(path: Path, options: dict[str, str] | None = None) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (12, 128, 128, 3), np.uint8)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p"
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    return path


def scramble(path: Path, *, packet_bytes: int, header_at: int, from_packet: int) -> Path:
    """Encrypt the payloads of a transport stream, and say so in its headers."""
    packets = np.fromfile(path, np.uint8).reshape(-1, packet_bytes)
    pid = (packets[:, header_at + 1] & 0x1F).astype(int) << 8 | packets[:, header_at + 2]
    video = np.isin(pid, [0x100, 0x1011])
    chosen = np.flatnonzero(video & (packets[:, header_at + 3] & 0x30 == 0x10))
    for at in chosen[chosen >= from_packet]:
        packets[at, header_at + 3] |= 0x80
        packets[at, header_at + 4 :] ^= 0x5A
    packets.tofile(path)
    return path


def test_common_encryption_is_named_and_not_called_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", CENC)
    with pytest.raises(MediaError, match=r"a\.mp4: is encrypted"):
        probe(path)


@pytest.mark.parametrize("from_packet", [0, 300])
@pytest.mark.parametrize("ending", ["ts", "m2ts"])
def test_a_scrambled_transport_stream_is_named_also_if_it_begins_in_the_clear(
    tmp_path: Path, ending: str, from_packet: int
) -> None:
    options = {"mpegts_m2ts_mode": "1"} if ending == "m2ts" else None
    path = written(tmp_path / f"a.{ending}", options)
    size, at = (192, 4) if ending == "m2ts" else (188, 0)
    assert len(list(read_frames(path))) == 12
    scramble(path, packet_bytes=size, header_at=at, from_packet=from_packet)
    with pytest.raises(MediaError, match="is encrypted"):
        list(read_frames(path))


def test_a_damaged_transport_stream_is_not_called_encrypted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ts")
    packets = np.fromfile(path, np.uint8).reshape(-1, 188)
    packets[5:40:7, 4:] ^= 0x5A
    packets.tofile(path)
    with pytest.raises(MediaError) as caught:
        list(read_frames(path))
    assert "encrypted" not in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "metadata"), [("encv", {}), ("drmi", {}), ("[0][0][0][0]", {"enc_key_id": "AAAA"})]
)
def test_streams_that_a_container_declares_encrypted_are_named(
    tmp_path: Path, tag: str, metadata: dict[str, str]
) -> None:
    stream: Any = SimpleNamespace(codec_context=SimpleNamespace(codec_tag=tag), metadata=metadata)
    with pytest.raises(MediaError, match="is encrypted"):
        require_plain_stream(tmp_path / "a.mkv", stream)


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "flv", "ts"])
def test_tags_of_file_and_streams_that_are_no_utf8_are_none_of_our_business(
    ending: str, make_media: MediaMaker
) -> None:
    codec = "mpeg4" if ending == "avi" else "libx264"
    plain = make_media.cfr(f"plain.{ending}", n=5, codec=codec, bframes=0)
    path = plain.with_name(f"tagged.{ending}")
    with av.open(str(plain)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        output.metadata.update({"title": "MQQller", "service_name": "MQQller"})
        stream.metadata.update({"title": "MQQller", "handler_name": "MQQller"})
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    data = path.read_bytes()
    assert b"MQQller" in data
    path.write_bytes(data.replace(b"MQQller", b"M\xfc\xfcller"))

    assert probe(path).frame_count == 5
    assert len(list(read_frames(path))) == 5

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from tpbench.errors import MediaError
from tpbench.video import probe, read_frames
from tpbench.video.source import require_plain_stream

if TYPE_CHECKING:
    from pathlib import Path

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

"""Telling an encrypted video from a damaged one: downloading it again would not help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.errors import MediaError

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

ENCRYPTED: Final = "is encrypted (DRM): get a copy without it, or leave it out"
"""What a `MediaError` says of such a file."""

_ENCRYPTED_TAGS: Final = frozenset({"encv", "drmi"})
"""Sample entries of MP4 and MOV for encrypted video whose own codec is not told (ISO/IEC 14496-12
and FairPlay)."""

_TS_HEADER_AT: Final = {188: 0, 192: 4}
"""Where the header starts, by the size of a packet: M2TS puts a time in front."""

_TS_CHUNK_BYTES: Final = 188 * 192 * 100
_TS_SYNC: Final = 0x47
_MIN_SCRAMBLED_SHARE: Final = 0.02
"""Of the packets with a payload: damage may set the scrambling bits of a few."""


def require_plain_stream(path: Path, stream: VideoStream) -> None:
    """Raise MediaError if the container declares the stream as encrypted."""
    tag = getattr(stream.codec_context, "codec_tag", "")
    if tag in _ENCRYPTED_TAGS or "enc_key_id" in stream.metadata:  # the latter is Matroska's
        raise MediaError(path, ENCRYPTED)


def is_encrypted(packet: Packet[VideoStream]) -> bool:
    """Return whether a packet is encrypted, as Common Encryption (CENC) marks them.

    The first seconds of a protected video are often in the clear, so every packet is to be asked.
    """
    return bool(packet.has_sidedata("encryption_info"))


def require_plain_transport_stream(path: Path, container: InputContainer) -> None:
    """Raise MediaError if the packets of an MPEG transport stream are scrambled.

    Their headers say so (ISO/IEC 13818-1, `transport_scrambling_control`), but libav only reports
    pictures that can't be decoded. The file is read to its end, so this is for files that failed.
    """
    if container.format.name != "mpegts":
        return
    with path.open("rb") as file:
        head = file.read(2 * max(_TS_HEADER_AT))
    for size, at in _TS_HEADER_AT.items():
        if len(head) >= 2 * size and head[at] == head[at + size] == _TS_SYNC:
            if _scrambled_share(path, size, at) >= _MIN_SCRAMBLED_SHARE:
                raise MediaError(path, ENCRYPTED)
            return


def _scrambled_share(path: Path, packet_bytes: int, header_at: int) -> float:
    scrambled, total = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_TS_CHUNK_BYTES):
            whole = len(chunk) // packet_bytes * packet_bytes
            headers = np.frombuffer(chunk[:whole], np.uint8).reshape(-1, packet_bytes)
            headers = headers[:, header_at : header_at + 4]
            has_payload = (headers[:, 0] == _TS_SYNC) & (headers[:, 3] & 0x10 > 0)
            total += int(has_payload.sum())
            scrambled += int((has_payload & (headers[:, 3] & 0xC0 > 0)).sum())
    return scrambled / total if total else 0.0

"""Turned and mirrored pictures stand as their viewer sees them, whoever says how."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.video.making import write_video
from tpbench.errors import MediaError
from tpbench.video import probe, read_frames
from tpbench.video.bitstream import OrientationMessages
from tpbench.video.display import UPRIGHT, Orientation, orientation_of_matrix

EIGHT = [Orientation(quarter_turns=turns, mirrored=m) for turns in range(4) for m in (False, True)]
ONE = 1 << 16

MATRICES = {
    # a, b, c, d as a container has them: x' = a x + c y, y' = b x + d y, y downwards
    (1, 0, 0, 1): Orientation(),
    (0, 1, -1, 0): Orientation(quarter_turns=3),
    (-1, 0, 0, -1): Orientation(quarter_turns=2),
    (0, -1, 1, 0): Orientation(quarter_turns=1),
    (-1, 0, 0, 1): Orientation(mirrored=True),
    (1, 0, 0, -1): Orientation(mirrored=True, quarter_turns=2),
    (0, 1, 1, 0): Orientation(mirrored=True, quarter_turns=1),
    (0, -1, -1, 0): Orientation(mirrored=True, quarter_turns=3),
}


def matrix(a: float, b: float, c: float, d: float) -> bytes:
    entries = [round(value * ONE) for value in (a, b, 0, c, d, 0, 0, 0)]
    return struct.pack("=9i", *entries, 1 << 30)


def upright_image(number: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A picture with a bright corner top left and a darker one top right: no symmetry."""
    image = np.full((size[1], size[0], 3), 40 + number, np.uint8)
    image[: size[1] // 2, : size[0] // 2] = 220
    image[: size[1] // 2, size[0] // 2 :] = 130
    return image


def stored_for(orientation: Orientation, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo an orientation."""
    turned = np.rot90(image, -orientation.quarter_turns)
    return np.ascontiguousarray(turned[:, ::-1] if orientation.mirrored else turned)


def write(
    path: Path,
    stored: Callable[[int], NDArray[np.uint8]],
    *,
    n: int = 24,
    says: bytes | None = None,
    messages: dict[int, str] | None = None,
) -> Path:
    """Write H.264, a keyframe every 12 pictures.

    Args:
        path: where to; its ending decides the container.
        stored: gives picture k.
        n: pictures.
        says: a display matrix of the container.
        messages: options of libav's `h264_metadata` for the packets from picture k on.
    """

    def turn(stream: VideoStream) -> None:
        if says is not None:
            stream.set_display_matrix(struct.unpack("=9i", says))

    first = path if messages is None else path.with_name("plain.ts")
    write_video(
        first,
        map(stored, range(n)),
        pixel_format="yuv444p",
        options={"g": "12", "bf": "2", "qp": "4"},
        set_up=turn,
    )
    if messages is not None:
        say(first, path, messages)
    return path


def say(source: Path, target: Path, messages: dict[int, str]) -> None:
    """Copy a video, with other messages from each of these packets on."""
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        current: BitStreamFilterContext | None = None
        for number, packet in enumerate(container.demux(video=0)):
            if number in messages:
                options = f"h264_metadata={messages[number]}" if messages[number] else "null"
                current = av.bitstream.BitStreamFilterContext(options, container.streams.video[0])
            for changed in [packet] if current is None else current.filter(packet):
                if changed.size:
                    changed.stream = stream
                    output.mux(changed)


def differences(path: Path, *, start_frame: int = 0) -> float:
    """Largest mean difference of any frame to the upright picture."""
    return max(
        float(np.abs(frame.image.astype(int) - upright_image(frame.index)).mean())
        for frame in read_frames(path, start_frame=start_frame)
    )


@pytest.mark.parametrize("scale", [1, 0.5, 3])
@pytest.mark.parametrize("entries", MATRICES, ids=str)
def test_all_eight_matrices_are_told_apart_whatever_their_scale(
    entries: tuple[int, int, int, int], scale: float
) -> None:
    found = orientation_of_matrix(matrix(*(value * scale for value in entries)))
    assert found == MATRICES[entries]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
@pytest.mark.parametrize("entries", MATRICES, ids=str)
def test_a_video_stands_upright_whatever_its_container_asks_for(
    tmp_path: Path, entries: tuple[int, int, int, int], name: str
) -> None:
    orientation = MATRICES[entries]
    path = write(
        tmp_path / name,
        lambda number: stored_for(orientation, upright_image(number)),
        says=matrix(*entries),
    )
    info = probe(path)
    assert info.display.orientation == orientation
    assert (info.width_px, info.height_px) == (64, 48)
    assert differences(path) < 3
    assert differences(path, start_frame=15) < 3


@pytest.mark.parametrize("entries", [(0.7071, 0.7071, -0.7071, 0.7071), (1, 0, 0.5, 1)])
def test_an_odd_angle_or_a_slant_is_refused_in_a_line(
    tmp_path: Path, entries: tuple[float, float, float, float]
) -> None:
    path = write(tmp_path / "odd.mp4", upright_image, says=matrix(*entries))
    with pytest.raises(MediaError, match=r"odd\.mp4: asks to be turned by an odd angle"):
        probe(path)


@pytest.mark.parametrize("entries", [(0, 0, 0, 0), (1, 0, 1, 0)])
def test_a_matrix_that_shows_nothing_says_nothing(entries: tuple[int, int, int, int]) -> None:
    assert orientation_of_matrix(matrix(*entries)) == UPRIGHT


@pytest.mark.parametrize(("name", "n"), [("a.mkv", 24), ("a.ts", 12), ("a.mp4", 24)])
@pytest.mark.parametrize("orientation", EIGHT, ids=str)
def test_what_the_stream_itself_says_holds_for_all_its_pictures(
    tmp_path: Path, orientation: Orientation, name: str, n: int
) -> None:
    path = write(
        tmp_path / name,
        lambda number: stored_for(orientation, upright_image(number)),
        n=n,
        messages={0: message(orientation)},
    )
    assert probe(path).display.orientation == orientation
    assert differences(path) < 3
    assert differences(path, start_frame=5) < 3


def test_what_the_stream_says_may_begin_and_end_in_mid_stream(tmp_path: Path) -> None:
    mirrored = Orientation(mirrored=True)

    def stored(number: int) -> NDArray[np.uint8]:
        image = upright_image(number)
        return stored_for(mirrored, image) if 12 <= number < 24 else image

    path = write(tmp_path / "a.mkv", stored, n=36, messages={12: message(mirrored), 24: ""})

    assert [slot for slot, _ in probe(path).display.told] == [12, 24]
    assert differences(path) < 3
    for start in (11, 12, 20, 23, 24, 30):
        assert differences(path, start_frame=start) < 3


def test_a_turn_to_the_other_shape_in_mid_stream_fits_into_the_frame(tmp_path: Path) -> None:
    turned = Orientation(quarter_turns=1)
    path = write(tmp_path / "a.mkv", upright_image, messages={12: message(turned)})
    last = list(read_frames(path))[-1].image
    assert last.shape == (48, 64, 3)
    assert last[:, :10].max() < 20  # 36 px wide, in the middle
    assert last[:, -10:].max() < 20
    assert last[:, 20:44].min() > 30


def message(orientation: Orientation) -> str:
    """Options of libav's `h264_metadata` that say the orientation."""
    flip = ":flip=horizontal" if orientation.mirrored else ""
    return f"display_orientation=insert:rotate={90 * orientation.quarter_turns}{flip}"


def nal(kind: int, payload: bytes, *, hevc: bool) -> bytes:
    head = bytes([kind << 1, 1]) if hevc else bytes([kind])
    return b"\x00\x00\x00\x01" + head + payload


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_message_holds_until_another_one_or_a_new_sequence(codec: str) -> None:
    hevc = codec == "hevc"
    context = SimpleNamespace(codec=SimpleNamespace(canonical_name=codec), extradata=None)
    stream: Any = SimpleNamespace(codec_context=context)
    sei, idr, slice_ = (39, 19, 1) if hevc else (6, 5, 1)
    mirrored_and_turned = (0b010 << 21 | 16384 << 5 | 1 << 4).to_bytes(3, "big")
    other = bytes([4, 2, 9, 9])  # another message before it, in the same unit
    messages = OrientationMessages(stream)

    def told(*units: tuple[int, bytes]) -> list[Orientation | None]:
        packet = b"".join(nal(kind, payload, hevc=hevc) for kind, payload in units)
        return messages.push(memoryview(packet))

    said = told((sei, other + bytes([47, 3]) + mirrored_and_turned + b"\x80"), (idr, b"x"))
    assert said == [Orientation(mirrored=True, quarter_turns=1)]
    assert told((slice_, b"xxx")) == []
    assert told((sei, other + b"\x80"), (slice_, b"x")) == []
    assert told((idr, b"xxx")) == [None]
    assert told((idr, b"xxx")) == []
    assert told((sei, bytes([47, 1, 0x80, 0x80])), (slice_, b"x")) == [None]  # cancelled

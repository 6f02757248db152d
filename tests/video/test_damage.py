"""Damage that a decoder only logs is damage; what it logs about whole pictures is none."""

from __future__ import annotations

from pathlib import Path

import av
import av.logging
import pytest

from tests.conftest import MediaMaker
from tests.video.making import copy_packets
from tpbench.errors import MediaError
from tpbench.video import probe, read_frames
from tpbench.video.decode import damage_in

CHECKED = {"level": "3", "slicecrc": "1"}


def flipped(path: Path, *, packet: int, share: float) -> Path:
    """Flip one bit in a picture."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        at, size = packets[packet].pos, packets[packet].size
    data = bytearray(path.read_bytes())
    data[(at or 0) + int(size * share)] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_wrong_checksum_of_ffv1_is_damage_as_in_any_codec(
    make_media: MediaMaker, share: float
) -> None:
    path = make_media.cfr("a.mkv", n=12, codec="ffv1", bframes=0, options=CHECKED)
    read: list[int] = []
    with pytest.raises(MediaError, match=r"near 0.20 s can't be decoded \(ffv1: .*CRC mismatch"):
        read.extend(frame.index for frame in read_frames(flipped(path, packet=5, share=share)))
    assert read == [0, 1, 2, 3]


def test_the_same_line_about_another_file_counts_again(make_media: MediaMaker) -> None:
    path = make_media.cfr("a.mkv", n=12, codec="ffv1", bframes=0, options=CHECKED)
    spoilt = flipped(path, packet=5, share=0.5)
    for _ in range(2):
        with pytest.raises(MediaError, match="CRC mismatch"):
            list(read_frames(spoilt))


def test_a_whole_file_read_beside_a_spoilt_one_stays_whole(make_media: MediaMaker) -> None:
    whole = make_media.cfr("whole.mkv", n=12, codec="ffv1", bframes=0, options=CHECKED)
    spoilt = make_media.cfr("spoilt.mkv", n=12, codec="ffv1", bframes=0, options=CHECKED)
    flipped(spoilt, packet=5, share=0.5)
    frames, others = read_frames(whole), read_frames(spoilt)
    first = [next(frames).index for _ in range(4)]
    with pytest.raises(MediaError, match=r"spoilt.mkv: damaged"):
        list(others)
    assert [*first, *(frame.index for frame in frames)] == list(range(12))


def test_lines_about_other_things_than_the_picture_are_harmless() -> None:
    lines = [
        "SEI type 5 size 400 truncated at 392",
        "unable to decode APP fields: Invalid data found when processing input",
        "co located POCs unavailable",
        "no frame!",
    ]
    errors = [(av.logging.ERROR, "h264", line) for line in lines]
    harmless = [*errors, (av.logging.WARNING, "h264", "concealing 8 errors")]
    damage = (av.logging.ERROR, "ffv1", "slice CRC mismatch 12345678!\n")
    assert damage_in(harmless) is None
    assert damage_in([*harmless, damage]) == "ffv1: slice CRC mismatch 12345678!"


def test_pictures_that_lean_on_a_part_cut_away_are_no_damage_behind_a_seam(
    make_media: MediaMaker,
) -> None:
    options = {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}
    whole = make_media.cfr("whole.ts", n=40, gop=10, options=options)
    late = make_media.folder / "late.ts"
    copy_packets(whole, late, lambda number, packet: packet if number >= 4 else None)
    path = make_media.folder / "both.ts"
    path.write_bytes(whole.read_bytes() + late.read_bytes())

    info = probe(path)
    numbers = [make_media.frame_number(frame.image) for frame in read_frames(path, info=info)]
    again = [frame.index for frame in read_frames(path, info=info, start_frame=50)]

    assert info.seams == (40,)
    assert again == list(range(50, info.frame_count))
    assert numbers[:40] == list(range(40))
    assert numbers[40:] == list(range(numbers[40], 40))
    assert 4 < numbers[40] <= 12


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["vid1.mp4", "vid3.mp4", "pose1.mp4", "pose3.mp4"])
def test_real_talks_are_whole(shared_dir: Path, name: str) -> None:
    path = shared_dir / "data" / "talkingpose_samples" / name
    info = probe(path)
    n_read = sum(1 for _ in read_frames(path, info=info, max_side_px=16))
    assert (n_read, info.notes, info.seams) == (info.frame_count, (), ())


def test_reading_from_the_middle_ends_where_a_tick_is_said_to_last_minutes(
    make_media: MediaMaker,
) -> None:
    path = make_media.cfr("ticks.avi", codec="mpeg4", n=30)
    data = bytearray(path.read_bytes())
    scale_at = data.index(b"strh") + 8 + 20
    data[scale_at : scale_at + 8] = (2**31 - 1).to_bytes(4, "little") + (13).to_bytes(4, "little")
    path.write_bytes(data)
    assert probe(path).time_base > 60
    assert len(list(read_frames(path, start_frame=20))) == probe(path).frame_count - 20

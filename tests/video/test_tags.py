"""Tags in any encoding: a title that is no UTF-8 costs no video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import pytest

from tpbench.video import probe, read_frames

if TYPE_CHECKING:
    from tests.conftest import MediaMaker


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

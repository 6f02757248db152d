from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.conftest import MediaMaker
from tpbench.video.stated import stated_duration_s


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.avi"])
def test_a_header_states_the_duration(make_media: MediaMaker, name: str) -> None:
    path = make_media.cfr(name, n=75, fps=25, size=(64, 48))
    assert stated_duration_s(path) == pytest.approx(3.0, abs=0.05)


def test_what_is_no_video_states_none(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "b.mp4").mkdir()
    for name in ("a.mp4", "b.mp4", "missing.mp4"):
        assert stated_duration_s(tmp_path / name) is None


def test_a_duration_that_the_size_belies_is_not_believed(make_media: MediaMaker) -> None:
    path = make_media.cfr("a.mkv", n=25, fps=25, size=(64, 48))
    content = bytearray(path.read_bytes())
    struct.pack_into(">d", content, content.index(b"\x44\x89\x88") + 3, 1e12)
    path.write_bytes(content)
    assert stated_duration_s(path) is None

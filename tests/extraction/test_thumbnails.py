from __future__ import annotations

import base64
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.extraction.thumbnails import (
    MAX_PER_SOURCE,
    THUMBNAILS,
    Thumbnail,
    evenly,
    read_thumbnails,
    thumbnails_path,
    write_thumbnails,
)
from tpbench.video import CLIP, VideoWriter, probe

N_FRAMES = 40


def _level(frame: int) -> int:
    return 20 + 5 * frame


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose frames can be told apart by their brightness."""
    path = tmp_path_factory.mktemp("source") / "talk.mp4"
    with VideoWriter(path, width_px=320, height_px=180, fps=Fraction(25), encoding=CLIP) as writer:
        for frame in range(N_FRAMES):
            writer.write(np.full((180, 320, 3), _level(frame), dtype=np.uint8))
    return path


def _decoded(thumbnail: Thumbnail) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    raw = np.frombuffer(thumbnail.jpeg, dtype=np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_COLOR), dtype=np.uint8)


def test_thumbnails_show_the_frames_asked_for_without_the_source(
    source: Path, tmp_path: Path
) -> None:
    write_thumbnails(tmp_path, "talk", source, probe(source), {"a": 3, "b": 31})
    found = read_thumbnails(tmp_path, "talk")
    assert {clip_id: item.frame for clip_id, item in found.items()} == {"a": 3, "b": 31}
    for item in found.values():
        assert _decoded(item).shape == (90, 160, 3)
        assert abs(float(_decoded(item).mean()) - _level(item.frame)) <= 2
        assert len(item.jpeg) < 16 << 10


def test_the_same_source_gives_the_same_file(source: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_thumbnails(tmp_path / folder, "talk", source, probe(source), {"a": 3})
    files = [thumbnails_path(tmp_path / folder, "talk").read_bytes() for folder in ("one", "two")]
    assert files[0] == files[1]


def test_what_was_rejected_before_is_replaced(source: Path, tmp_path: Path) -> None:
    write_thumbnails(tmp_path, "talk", source, probe(source), {"a": 3})
    write_thumbnails(tmp_path, "talk", source, probe(source), {"b": 4})
    assert list(read_thumbnails(tmp_path, "talk")) == ["b"]
    write_thumbnails(tmp_path, "talk", source, probe(source), {})
    assert list((tmp_path / THUMBNAILS).glob("*/*")) == []


def test_a_source_has_a_bounded_number(source: Path, tmp_path: Path) -> None:
    frames = {f"clip{frame}": frame for frame in range(N_FRAMES)}
    write_thumbnails(tmp_path, "talk", source, probe(source), frames)
    found = read_thumbnails(tmp_path, "talk")
    assert len(found) == MAX_PER_SOURCE < N_FRAMES
    assert found == read_thumbnails(tmp_path, "talk")


def test_a_frame_that_cannot_be_read_costs_only_its_own(tmp_path: Path, source: Path) -> None:
    info = probe(source)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    write_thumbnails(tmp_path, "talk", broken, info, {"a": 3})
    assert read_thumbnails(tmp_path, "talk") == {}


def test_a_dataset_that_was_removed_is_not_created_again(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_thumbnails(tmp_path / "gone", "talk", source, probe(source), {"a": 3})


_NO_JPEG = base64.b64encode(b"GIF89a").decode()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"thumbnails": 3}',
        '{"thumbnails": {"a": {"frame": 1}}}',
        json.dumps({"thumbnails": {"a": {"frame": 1, "jpeg": _NO_JPEG}}}),
        json.dumps({"thumbnails": {"a": {"frame": 1, "jpeg": '"><script>'}}}),
    ],
)
def test_what_holds_no_thumbnails_is_left_out_with_a_warning(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = thumbnails_path(tmp_path, "talk")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert read_thumbnails(tmp_path, "talk") == {}
    assert "no thumbnails of talk" in caplog.text


def test_a_link_out_of_the_dataset_is_not_followed(source: Path, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    write_thumbnails(other, "talk", source, probe(source), {"a": 3})
    (home / THUMBNAILS).symlink_to(other / THUMBNAILS)
    assert read_thumbnails(home, "talk") == {}


@given(n=st.integers(0, 300), limit=st.integers(1, 50))
def test_items_are_taken_evenly_and_in_order(n: int, limit: int) -> None:
    taken = evenly(range(n), limit)
    assert len(taken) == min(n, limit)
    assert taken == sorted(set(taken))
    gaps = np.diff([-1, *taken, n])
    assert not taken or gaps.max() <= 2 * (n / len(taken)) + 1

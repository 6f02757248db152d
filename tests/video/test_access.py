"""Picking frames by number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.video import frames_at

if TYPE_CHECKING:
    from tests.conftest import MediaMaker


@pytest.fixture(scope="module")
def picked_from(session_media: MediaMaker) -> Path:
    return session_media.cfr("picked_from.mp4", n=90, gop=20)


@settings(max_examples=20, deadline=None)
@given(indices=st.lists(st.integers(0, 89), max_size=6))
def test_frames_come_in_the_order_asked(
    session_media: MediaMaker, picked_from: Path, indices: list[int]
) -> None:
    frames = list(frames_at(picked_from, indices))

    assert [frame.index for frame in frames] == indices
    assert [session_media.frame_number(frame.image) for frame in frames] == indices


@pytest.mark.parametrize("index", [-1, 90])
def test_a_number_the_video_lacks_is_an_index_error(picked_from: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"no frame {index} among the 90"):
        frames_at(picked_from, [0, index])

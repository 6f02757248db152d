from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.errors import ConfigError
from tpbench.work.records import Shard

FRAMES = st.lists(st.integers(0, 900), min_size=1, max_size=60)


@given(FRAMES, st.integers(1, 9))
def test_each_clip_is_in_one_part_and_parts_have_as_many_frames(
    frames: list[int], count: int
) -> None:
    clips = list(enumerate(frames))
    parts = []
    for number in range(1, count + 1):
        shard = Shard(number=number, count=count)
        if len(clips) < number:
            with pytest.raises(ConfigError, match="nothing is left for it"):
                shard.take(clips, frames=lambda clip: clip[1])
        else:
            parts.append(shard.take(clips, frames=lambda clip: clip[1]))
            assert list(parts[-1]) == sorted(parts[-1])
    assert sorted(clip for part in parts for clip in part) == clips
    if len(clips) >= count:
        loads = [sum(max(1, n) for _, n in part) for part in parts]
        assert max(loads) - min(loads) <= max(1, *frames)

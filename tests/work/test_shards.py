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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/0", "there can be 1 to 10,000 shards"),
        ("1/10001", "there can be 1 to 10,000 shards"),
        ("0/4", "shards count from 1/4 to 4/4"),
        (f"1/{'9' * 5000}", "wants NUMBER/COUNT of 1 to 10,000 shards, such as 2/4"),
    ],
)
def test_what_is_wrong_about_a_shard_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Shard.parse(text)
    assert Shard.parse("10000/10000").count == 10_000

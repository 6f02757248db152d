from __future__ import annotations

import pytest

from tpbench.execution.differences import describe_differences

OLD = {"clip": {"min_s": 4, "max_s": 30}, "filters": {"face.too_small": None}, "skeleton": "dwpose"}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (OLD, ""),
        (OLD | {"skeleton": "mediapipe"}, "skeleton dwpose is now mediapipe"),
        (OLD | {"clip": {"min_s": 4}}, "clip.max_s 30 is gone"),
        (OLD | {"name": "x"}, "name x is new"),
        (OLD | {"filters": {"face.too_small": 40}}, "filters.face.too_small null is now 40"),
    ],
)
def test_differences_are_named_with_both_values(new: dict[str, object], said: str) -> None:
    assert describe_differences(OLD, new) == said


def test_no_more_than_three_are_named() -> None:
    assert describe_differences(OLD, {}) == (
        "clip.max_s 30 is gone, clip.min_s 4 is gone, filters.face.too_small null is gone"
        " and 1 more"
    )

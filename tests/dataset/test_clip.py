from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.dataset import Clip, check_clip_id
from tpbench.dataset.folder import COLUMNS
from tpbench.dataset.info import PLAIN_COLUMNS
from tpbench.errors import DatasetError


def test_row_survives_json_text(kept: Callable[..., Clip], rejected: Callable[..., Clip]) -> None:
    for clip in (kept(), rejected(), kept(url="https://example.org/\N{SNOWMAN}", split="test")):
        assert Clip.from_json(json.loads(json.dumps(clip.to_json(), allow_nan=False))) == clip


@given(
    values=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True), st.floats(allow_subnormal=True)
    )
)
def test_json_keeps_exactly_the_finite_measurements(values: dict[str, float]) -> None:
    clip = Clip(
        clip_id="x",
        status="rejected",
        reject_codes=("a.b",),
        source_id="x",
        source_path="x.mp4",
        measurements=values,
    )
    back = Clip.from_json(json.loads(json.dumps(clip.to_json(), allow_nan=False)))
    assert back.measurements == {k: v for k, v in values.items() if math.isfinite(v)}


def test_every_field_of_a_row_is_a_manifest_column() -> None:
    assert {*PLAIN_COLUMNS, "reject_codes"} == set(COLUMNS)


@pytest.mark.parametrize(
    "clip_id", ["", "../x", "a/b", "a b", "a.b", "\N{SNOWMAN}", "a\n", "a\0", "x" * 201]
)
def test_clip_id_that_could_leave_the_folder_is_refused(clip_id: str) -> None:
    with pytest.raises(DatasetError, match="can't be a file name"):
        check_clip_id(clip_id)


@pytest.mark.parametrize("clip_id", ["-dQw4w9WgXc_000000", "_x", "A1", "x" * 200])
def test_video_ids_can_begin_clip_ids(clip_id: str) -> None:
    assert check_clip_id(clip_id) == clip_id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_frames": None}, "needs n_frames"),
        ({"clip_sha256": None, "pose_sha256": None}, "needs clip_sha256, pose_sha256"),
        ({"identity": ""}, "needs identity"),
        ({"reject_codes": ("a.b",)}, "can't have reject codes"),
        ({"status": "rejected"}, "needs a reject code"),
        ({"status": "failed"}, "needs an error"),
        ({"status": "quarantined", "error": "died", "split": "test"}, "can't be in a split"),
        ({"status": "fine"}, "want a status"),
        ({"measurements": {"Face size": 1.0}}, "can't name a measurement"),
    ],
)
def test_row_that_contradicts_itself_is_refused(
    kept: Callable[..., Clip], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        kept(**fields)


def test_row_with_an_unknown_field_is_refused(kept: Callable[..., Clip]) -> None:
    with pytest.raises(DatasetError, match="other fields than this version"):
        Clip.from_json({**kept().to_json(), "mood": "good"})


def test_duration_is_frames_over_exact_rate(kept: Callable[..., Clip]) -> None:
    clip = kept(n_frames=300, fps_num=30000, fps_den=1001, start_s=0.0, end_s=99.0)
    assert clip.duration_s == 300 * 1001 / 30000
    assert clip.fps == pytest.approx(29.97, abs=1e-3)

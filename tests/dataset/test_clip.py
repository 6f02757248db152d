from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.rows import kept, rejected
from tpbench.dataset import Clip, check_clip_id
from tpbench.dataset.manifest import COLUMNS
from tpbench.errors import DatasetError


def test_row_survives_json_text() -> None:
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


def test_manifest_columns_have_the_types_of_the_fields() -> None:
    assert Counter(COLUMNS.values()) == {"string": 21, "list": 1, "int64": 11, "float64": 6}
    assert (COLUMNS["start_pts"], COLUMNS["crop_x0"], COLUMNS["split"]) == (
        "int64",
        "float64",
        "string",
    )


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
        ({"start_s": float("nan")}, "its start_s is nan"),
        ({"crop_x1": float("inf")}, "its crop_x1 is inf"),
    ],
)
def test_row_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        kept(**fields)


def test_row_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(DatasetError, match="other fields than this version"):
        Clip.from_json({**kept().to_json(), "mood": "good"})


def test_duration_is_frames_over_exact_rate() -> None:
    clip = kept(n_frames=300, fps_num=30000, fps_den=1001, start_s=0.0, end_s=99.0)
    assert clip.duration_s == 300 * 1001 / 30000
    assert clip.fps == pytest.approx(29.97, abs=1e-3)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tpbench.benchmark.run_folder import ClipRecord, inputs_key
from tpbench.benchmark.tasks import TaskClip
from tpbench.dataset import Clip, Dataset
from tpbench.errors import SubmissionError

DONE = ClipRecord(
    clip_id="a",
    status="done",
    inputs="1" * 64,
    n_frames=101,
    fps="30000/1001",
    width_px=512,
    height_px=512,
    encoding="lossless-x264",
    generated_sha256="2" * 64,
    preview_sha256="3" * 64,
    frames_sha256="4" * 64,
    gen_s=1.5,
    peak_host_bytes=10**9,
    peak_gpu_bytes=None,
    code="0.1.0",
)


def own(clip: Clip) -> TaskClip:
    return TaskClip(clip_id=clip.clip_id, driving=clip)


@pytest.mark.parametrize(
    "record",
    [DONE, ClipRecord(clip_id="a", status="failed", inputs="1" * 64, reason="nobody there")],
)
def test_a_record_comes_back_from_disk(record: ClipRecord, tmp_path: Path) -> None:
    record.write(tmp_path / "a.json")
    assert ClipRecord.read(tmp_path / "a.json") == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2, this tpbench reads 1"),
        ({"status": "fine"}, "status: Input should be 'done', 'failed' or 'quarantined'"),
        ({"reason": "because"}, "a done clip has frames and no reason"),
        ({"frames_sha256": None}, "a done clip has frames and no reason"),
        ({"status": "failed"}, "a failed clip has a reason and no frames"),
        ({"generated_sha256": "zz"}, "generated_sha256: String should match pattern"),
        ({"n_frames": "101"}, "n_frames: Input should be a valid integer"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"gen_s": 1.25}, "was changed after it was written"),
        ({"digest": "0" * 64}, "was changed after it was written"),
        ({}, "was changed after it was written"),
    ],
)
def test_a_tampered_record_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    DONE.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SubmissionError, match=rf"a\.json: .*{message}"):
        ClipRecord.read(path)


def test_the_record_of_another_clip_is_refused(tmp_path: Path) -> None:
    DONE.write(tmp_path / "b.json")
    with pytest.raises(SubmissionError, match=r"b\.json: the record of another clip, 'a'"):
        ClipRecord.read(tmp_path / "b.json")


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_what_is_no_record_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(SubmissionError, match=r"a\.json: "):
        ClipRecord.read(tmp_path / "a.json")


def test_the_key_of_inputs_hangs_on_all_that_the_frames_hang_on(talks: Path) -> None:
    row = Dataset.open(talks).clip("a")
    clip = own(row)
    same: dict[str, Any] = {
        "configuration": {"steps": 30, "weights": {"unet": "0" * 64}},
        "model": "talkingpose",
        "task": "self v1",
        "seed": 42,
        "encoding": "lossless",
    }
    others: list[dict[str, Any]] = [
        {"configuration": {"steps": 25, "weights": {"unet": "0" * 64}}},
        {"model": "talkingpose:no-feedback"},
        {"task": "self v2"},
        {"seed": 43},
        {"encoding": "ffv1"},
    ]
    key = inputs_key(clip, **same)

    keys = [inputs_key(clip, **(same | other)) for other in others]
    keys += [
        inputs_key(own(replace(row, clip_sha256="5" * 64)), **same),
        inputs_key(own(replace(row, keypoints_sha256="5" * 64)), **same),
    ]

    assert len({key, *keys}) == 8
    reordered = same | {"configuration": {"weights": {"unet": "0" * 64}, "steps": 30}}
    assert inputs_key(clip, **reordered) == key
    assert inputs_key(own(replace(row, identity="moved", split=None)), **same) == key

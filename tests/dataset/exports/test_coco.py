"""COCO-WholeBody keypoints, read by pycocotools itself."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.exports.conftest import LENGTHS, SIDE_PX, by_side
from tpbench.dataset import Dataset
from tpbench.dataset.exports import clip_files, coco, export
from tpbench.dataset.exports.coco import annotation

LISTS = {
    "keypoints": 17,
    "foot_kpts": 6,
    "face_kpts": 68,
    "lefthand_kpts": 21,
    "righthand_kpts": 21,
}


@pytest.fixture(scope="module")
def exported(talks: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "out"
    export(talks.folder, out, to="coco")
    return out


def test_pycocotools_loads_every_frame_and_every_person(exported: Path, talks: Dataset) -> None:
    loader = pytest.importorskip("pycocotools.coco")
    for side, ids in by_side(talks).items():
        with contextlib.redirect_stdout(io.StringIO()):
            read = loader.COCO(str(exported / f"wholebody-{side}.json"))
        frames = sum(LENGTHS[clip_id] for clip_id in ids)
        assert len(read.getImgIds()) == frames
        assert len(read.getAnnIds(catIds=read.getCatIds(catNms=["person"]))) == frames - len(ids)
        assert len(read.loadCats(1)[0]["keypoints"]) == 17


def test_annotations_hold_the_points_of_their_frame(exported: Path, talks: Dataset) -> None:
    for side, ids in by_side(talks).items():
        content = json.loads((exported / f"wholebody-{side}.json").read_text())
        assert content["info"]["digest"] == talks.digest
        images = {image["id"]: image for image in content["images"]}
        assert sorted(images) == list(range(1, len(images) + 1))
        assert [image["file_name"].partition("/")[0] for image in images.values()] == [
            clip_id for clip_id in ids for _ in range(LENGTHS[clip_id])
        ]
        for found in content["annotations"]:
            image = images[found["image_id"]]
            assert (image["width"], image["height"]) == (SIDE_PX, SIDE_PX)
            assert (talks.folder / image["video"]).is_file()
            assert image["file_name"].endswith(f"/{image['frame']:06d}.png")
            for name, number in LISTS.items():
                assert len(found[name]) == 3 * number
            assert found["keypoints"][:3] == [image["frame"], 10.5, 2]
            assert found["num_keypoints"] == 17
            assert found["face_kpts"][3 * 27 :][:6] == [30.26, 40, 2, 0, 0, 0]
            assert found["foot_kpts"] == [0] * 18
            assert found["righthand_kpts"] == [0] * 63
            assert (found["foot_valid"], found["face_valid"]) == (False, True)
            assert (found["lefthand_valid"], found["righthand_valid"]) == (True, False)
            assert found["righthand_box"] == [0, 0, 0, 0]
            assert found["face_box"] == [10.5, 10.5, 19.76, 29.5]


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_boxes_hold_the_labelled_points_and_flags_agree(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(0, 512, (133, 2)), 2)
    seen = rng.random(133) < share
    seen[rng.integers(133)] = True
    found = annotation(np.where(seen[:, None], points, 0), seen, image_id=7)
    flat = [value for name in LISTS for value in found[name]]
    listed = np.array(flat).reshape(133, 3)
    assert np.array_equal(listed[:, 2] == 2, seen)
    assert np.array_equal(listed[seen, :2], points[seen])
    assert found["num_keypoints"] == seen[:17].sum()
    x, y, width, height = found["bbox"]
    assert np.all(points[seen] >= (x, y))
    assert np.all(points[seen] <= np.array((x + width, y + height)) + 0.011)
    assert found["foot_valid"] == seen[17:23].any()
    json.dumps(found, allow_nan=False)


def test_frames_are_written_one_by_one(
    talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poses of a clip are read after the annotations of the clip before it are written."""
    events: list[str] = []
    read, write = clip_files.checked_pose, coco.annotation

    def reading(dataset: Dataset, clip: Any) -> Any:  # noqa: ANN401 - passed on
        events.append(clip.clip_id)
        return read(dataset, clip)

    def writing(*args: Any, **named: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
        events.append("frame")
        return write(*args, **named)

    monkeypatch.setattr(coco, "checked_pose", reading)
    monkeypatch.setattr(coco, "annotation", writing)
    export(talks.folder, tmp_path / "out", to="coco")
    last = [name for name in events if name in LENGTHS]
    assert events[-1] == "frame"
    assert len(last) == 2 * len(LENGTHS)  # once for the size, which these rows lack

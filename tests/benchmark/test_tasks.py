"""Task `cross`: whose picture which clip drives, and what is measured of it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.baselines.talkingpose.tiny import random_pose
from tests.benchmark.conftest import FIRST_NUMBER, write_dataset
from tests.benchmark.evaluating import Evaluator
from tests.benchmark.people import write_clip, write_manifest
from tests.conftest import MediaMaker
from tpbench.benchmark.evaluate import evaluate
from tpbench.benchmark.request import scoring_protocol
from tpbench.benchmark.tasks import (
    CROSS,
    SELF,
    SplitChoice,
    TaskClip,
    cross_clips,
    make_task,
    pair_id,
    read_ids,
    select_clips,
    self_task,
    task_rule,
)
from tpbench.benchmark.verify import verify_run
from tpbench.dataset import (
    Clip,
    Dataset,
    SplitRequest,
    check_clip_id,
    finalise,
    keypoints_path,
    make_split,
    split_dataset,
)
from tpbench.errors import ConfigError, DatasetError, MediaError
from tpbench.files import sha256_of
from tpbench.metrics.registry import protocol
from tpbench.video import probe, read_frames
from tpbench.wholebody import WholeBodyPose, load_pose, save_pose

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def whole(talks: Path) -> Dataset:
    return Dataset.open(talks)


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Split so that both sides have clips."""
    folder = tmp_path_factory.mktemp("selection") / "parted"
    write_dataset(folder, dict.fromkeys("abcdef", 101))
    split_dataset(folder, test_share=0.5, seed=1)
    return Dataset.open(folder)


SPLITS: tuple[SplitChoice, ...] = ("test", "train", "all")


def names(clips: tuple[TaskClip, ...]) -> list[str]:
    return [clip.clip_id for clip in clips]


def test_a_dataset_that_is_not_split_is_used_whole_and_that_is_said(
    whole: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    selection = select_clips(whole, SELF)
    assert (selection.split, names(selection.clips)) == ("all", ["a", "b", "c"])
    assert "is not split: it is used whole" in caplog.text


def test_clips_too_short_for_the_task_are_left_out_and_named(
    whole: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert select_clips(whole, SELF).left_out == {"short": 100}
    assert "1 of 4 clips left out: fewer than 101 frames (short)" in caplog.text


def test_a_split_dataset_gives_its_test_side_unless_told(parted: Dataset) -> None:
    sides = {split: names(select_clips(parted, SELF, split=split).clips) for split in SPLITS}
    assert names(select_clips(parted, SELF).clips) == sides["test"]
    assert sides["test"]
    assert sides["train"]
    assert sorted(sides["test"] + sides["train"]) == sides["all"] == list("abcdef")


def test_a_frozen_test_split_gives_its_clips_and_another_name_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "frozen"
    write_dataset(folder, dict.fromkeys("abcdef", 101))
    make_split(folder, SplitRequest(test_share=0.5, version_name="test-v1"))
    frozen = select_clips(Dataset.open(folder), SELF, split="test-v1")
    assert frozen.split == "test-v1"
    assert frozen.clips == select_clips(Dataset.open(folder), SELF).clips
    with pytest.raises(DatasetError, match=r"no split 'test-v2'; did you mean 'test-v1'\?"):
        select_clips(Dataset.open(folder), SELF, split="test-v2")


def test_an_empty_side_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    write_dataset(folder, {"a": 101, "b": 101})
    split_dataset(folder, test_share=0.0001, seed=0)
    # Later, the video of the test side is removed.
    rows = Dataset.open(folder).clips(split="train")
    info = Dataset.open(folder).info
    finalise(folder, rows, name=info.name, config={}, models={}, measurements=())
    with pytest.raises(DatasetError, match="its test side has no clips; take --split all, or"):
        select_clips(Dataset.open(folder), SELF, split="test")


def test_a_limit_takes_the_first_by_id(whole: Dataset) -> None:
    selection = select_clips(whole, SELF, limit=2)
    assert names(selection.wanted) == ["a", "b"]
    assert names(selection.clips) == ["a", "b", "c"]
    assert selection.digest == select_clips(whole, SELF).digest


def test_the_lists_of_a_split_can_be_given_as_ids(parted: Dataset) -> None:
    ids = read_ids(parted.folder / "splits" / "test.csv")
    assert ids == names(select_clips(parted, SELF, split="test").clips)


def test_comments_and_empty_lines_are_no_ids(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# mine\n\n a \nb\n")
    assert read_ids(tmp_path / "ids.txt") == ["a", "b"]


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff\xfe"])
def test_a_list_without_ids_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ids.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"ids\.txt: "):
        read_ids(tmp_path / "ids.txt")


@pytest.mark.timeout(30)
def test_a_named_pipe_is_no_list_of_ids_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ids.txt")
    with pytest.raises(ConfigError, match="is a named pipe, not a regular file"):
        read_ids(tmp_path / "ids.txt")


def rows(n: int, *, identities: int) -> list[Clip]:
    """Clips of several people in turn."""
    return [
        Clip(
            clip_id=f"clip{at}",
            status="kept",
            source_id=f"source{at}",
            source_path="x.mp4",
            identity=f"person{at % identities}",
            n_frames=101,
            clip_sha256="1" * 64,
            keypoints_sha256="2" * 64,
            pose_sha256="3" * 64,
            fps_num=25,
            fps_den=1,
        )
        for at in range(n)
    ]


def pairs(clips: list[Clip], digest: str = "d" * 64) -> dict[str, str]:
    """Driving clip -> reference."""
    made = cross_clips(clips, dataset_digest=digest, where="it")
    return {clip.driving.clip_id: clip.reference.clip_id for clip in made if clip.reference}


def test_every_clip_drives_once_and_moves_somebody_else() -> None:
    clips = rows(30, identities=4)
    made = cross_clips(clips, dataset_digest="d" * 64, where="it")
    assert sorted(clip.driving.clip_id for clip in made) == sorted(clip.clip_id for clip in clips)
    for clip in made:
        assert clip.reference is not None
        assert clip.reference.identity != clip.driving.identity
        assert clip.clip_id == f"{clip.driving.clip_id}__from__{clip.reference.clip_id}"
    assert [clip.clip_id for clip in made] == sorted(clip.clip_id for clip in made)


def test_references_are_spread_over_identities_and_clips() -> None:
    found = Counter(pairs(rows(400, identities=4)).values())
    assert len(found) > 200
    assert max(found.values()) < 10


def test_pairs_hang_on_the_split_and_on_nothing_else() -> None:
    clips = rows(30, identities=4)
    shuffled = [clips[at] for at in np.random.default_rng(0).permutation(len(clips))]
    assert pairs(shuffled) == pairs(clips)
    assert pairs(clips, "e" * 64) != pairs(clips)
    fewer = pairs(clips[:20])
    assert fewer != {name: pairs(clips)[name] for name in fewer}


def test_one_identity_is_too_few() -> None:
    with pytest.raises(DatasetError, match=r"one identity only \('person0'\).*two or more"):
        pairs(rows(5, identities=1))


def test_long_ids_make_an_id_that_can_be_a_file_name() -> None:
    ids = {pair_id("a" * 199 + end, "b" * 200) for end in "xyz"}
    assert len(ids) == 3
    assert all(check_clip_id(name) for name in ids)


def test_the_task_takes_the_picture_of_one_and_the_poses_of_another(whole: Dataset) -> None:
    clip = next(clip for clip in select_clips(whole, CROSS).clips if clip.driving.clip_id == "b")
    task = make_task(whole.folder, clip, seed=5)
    assert clip.reference is not None
    first = next(iter(read_frames(whole.clip_path(clip.reference)))).image
    assert task.clip_id == clip.clip_id
    assert np.array_equal(task.reference, first)
    assert MediaMaker.frame_number(task.reference) == FIRST_NUMBER
    assert (task.n_frames, task.driving_video) == (104, whole.clip_path(clip.driving))
    assert task.reference_pose is not None
    assert TaskClip.from_json(clip.to_json()) == clip


def test_a_reference_of_another_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.benchmark import conftest

    data = tmp_path / "data"
    write_dataset(data, {"a": 101})
    small = Dataset.open(data).clip("a")
    monkeypatch.setattr(conftest, "WIDTH_PX", 64)
    write_dataset(data, {"b": 101})
    wide = Dataset.open(data).clip("b")
    with pytest.raises(MediaError, match=r"b\.mp4: a reference of 64x32 px for a clip of 48x32 px"):
        make_task(data, TaskClip(clip_id="x", driving=small, reference=wide), seed=0)


def test_what_a_pair_is_made_of_is_part_of_its_inputs() -> None:
    one, other = rows(2, identities=2)
    alone = TaskClip(clip_id="x", driving=one)
    contents = [
        alone.content,
        replace(alone, reference=other).content,
        replace(alone, reference=replace(other, clip_sha256="9" * 64)).content,
    ]
    assert len({str(content) for content in contents}) == 3


def test_clips_may_be_named_by_their_driving_clip(whole: Dataset) -> None:
    all_of_it = select_clips(whole, CROSS)
    assert select_clips(whole, CROSS, ids=["c"]).wanted == all_of_it.clips[2:]
    named = select_clips(whole, CROSS, ids=[all_of_it.clips[0].clip_id])
    assert named.wanted == all_of_it.clips[:1]


@pytest.mark.parametrize("name", ["psnr", "lpips", "tje_d2", "face_psnr", "drift_psnr_slope"])
def test_a_metric_that_needs_ground_truth_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"metric '{name}' needs a ground truth, and the task"):
        scoring_protocol(CROSS, "tpbench-v2", ["motion_ratio", name])


def test_without_a_choice_all_that_fits_is_measured() -> None:
    found = scoring_protocol(CROSS, "tpbench-v2", None)
    assert found.id == "tpbench-v2"
    assert found.digest != protocol("tpbench-v2").digest
    assert set(found.metrics) == set(CROSS.metrics or ())
    assert scoring_protocol(SELF, "tpbench-v2", None) == protocol("tpbench-v2")


def test_a_protocol_without_such_a_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="protocol 'talkingpose' has no metric for the task"):
        scoring_protocol(CROSS, "talkingpose", None)


def test_a_cross_run_is_made_scored_and_verified(talks: Path, tmp_path: Path) -> None:
    rule = task_rule("cross")
    run_it = Evaluator(data=talks, out=tmp_path / "runs")

    made = {
        name: run_it(None, model=name, task="cross", metrics=["motion_ratio"])
        for name in ("frozen", "oracle")
    }

    (run,) = made["frozen"].runs
    assert run.folder.path.parts[-2] == "cross-tpbench-v2"
    assert rule.first_frame == 0
    assert made["frozen"].frames().groupby("clip_id")["frame"].min().tolist() == [0, 0, 0]
    assert made["frozen"].table().loc["motion_ratio", "value"] == 0
    assert made["oracle"].table().loc["motion_ratio", "value"] == 1
    assert set(made["frozen"].clips()["identity"]) == {"person a", "person b", "person c"}
    for name, record in run.records().items():
        assert "__from__" in name
        assert probe(run.folder.generated(name)).frame_count == record.n_frames
    assert verify_run(run.folder.path).level == "rerun"


@pytest.mark.shared
def test_poses_are_held_against_those_of_the_driving_clip(shared_dir: Path, tmp_path: Path) -> None:
    rows_made = []
    for name in ("vid1", "vid3"):
        frames = read_frames(
            shared_dir / "data" / "talkingpose_samples" / f"{name}.mp4", end_frame=24
        )
        images = [cv2.resize(frame.image, (384, 384)) for frame in frames]
        pose = random_pose(len(images), width_px=384, height_px=384)  # the anchors look at none
        rows_made.append(write_clip(tmp_path / "data", name, images, pose))
    write_manifest(tmp_path / "data", rows_made)

    pck, akd, blank = {}, {}, set()
    for model in ("oracle", "frozen"):
        found = evaluate(
            model,
            tmp_path / "data",
            task="cross",
            min_frames=24,
            out=tmp_path / "runs",
            workers=1,
        )
        pck[model] = found.scores["pck_body"].value
        akd[model] = found.scores["akd_hands"].value
        blank |= {name for name, score in found.scores.items() if score.status == "not_measured"}

    assert (pck["oracle"], akd["oracle"]) == (1, 0)
    assert pck["frozen"] < 0.9
    assert akd["frozen"] > 5
    assert blank <= {"fid", "kid", "fvd"}


def test_a_clip_is_animated_by_its_own_poses(talks: Path) -> None:
    dataset = Dataset.open(talks)
    clip = dataset.clip("b")
    task = self_task(talks, clip, seed=5)
    assert MediaMaker.frame_number(task.reference) == FIRST_NUMBER
    assert (task.n_frames, task.fps, task.seed) == (104, Fraction(25), 5)
    assert (task.width_px, task.height_px) == (48, 32)
    assert task.driving.keypoints[:, 0, 0].tolist() == list(range(104))
    assert task.reference_pose is not None
    assert np.array_equal(task.reference_pose.keypoints, task.driving.keypoints[:1])
    assert (task.driving_video, task.audio_path) == (dataset.clip_path(clip), None)


def test_another_limit_is_another_task() -> None:
    rule = task_rule("self", min_frames=24)
    assert (rule.name, rule.min_frames) == ("self.min24", 24)
    assert task_rule("self", min_frames=101) == task_rule("self") == SELF
    assert (SELF.name, SELF.min_frames) == ("self", 101)
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        task_rule("self", min_frames=1)


def test_a_file_that_the_manifest_does_not_describe_is_refused(talks: Path, tmp_path: Path) -> None:
    shutil.copytree(talks, tmp_path / "data")
    clip = Dataset.open(talks).clip("a")
    shutil.copy(keypoints_path(talks, "b"), keypoints_path(tmp_path / "data", "a"))
    with pytest.raises(DatasetError, match=r"a\.npz: not the file that the manifest describes"):
        self_task(tmp_path / "data", clip, seed=0)


def test_a_file_that_is_gone_is_named(talks: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.mp4: can't be read: No such file"):
        self_task(tmp_path, Dataset.open(talks).clip("a"), seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pose: pose.slice_frames(0, 90), "90 poses for a clip of 101 frames"),
        (lambda pose: replace(pose, width_px=64), "poses of 64x32 px for a clip of 48x32 px"),
    ],
)
def test_poses_that_do_not_fit_the_clip_are_refused(
    change: Callable[[WholeBodyPose], WholeBodyPose], message: str, talks: Path, tmp_path: Path
) -> None:
    shutil.copytree(talks, tmp_path / "data")
    path = keypoints_path(tmp_path / "data", "a")
    save_pose(path, change(load_pose(path)))
    clip = replace(Dataset.open(talks).clip("a"), keypoints_sha256=sha256_of(path))
    with pytest.raises(MediaError, match=message):
        self_task(tmp_path / "data", clip, seed=0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"limit": 0}, "at least 1, got 0"),
        ({"limit": -1}, "at least 1, got -1"),
        ({"ids": ["a", "d"]}, "has no clip 'd'"),
    ],
)
def test_a_choice_of_no_clips_is_refused(
    said: dict[str, Any], message: str, whole: Dataset
) -> None:
    with pytest.raises(ConfigError, match=message):
        select_clips(whole, SELF, **said)

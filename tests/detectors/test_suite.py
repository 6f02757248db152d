"""The detectors of an extraction, put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from tests.detectors.onnx_standins import ONE, picture_of
from tests.talks import short_settings, write_talk
from tpbench.dataset import clip_path, keypoints_path
from tpbench.detectors import base
from tpbench.detectors.base import DetectorSuite, Strides, build_suite, weights_digest
from tpbench.detectors.dwpose import DWPoseDetector
from tpbench.detectors.dwpose_suite import DWPoseSuite
from tpbench.detectors.faces import MediaPipeFaceDetector
from tpbench.detectors.mediapipe_skeleton import MediaPipeHandDetector
from tpbench.doctor import demo_clips
from tpbench.errors import MissingWeightsError
from tpbench.extraction.config import load_preset
from tpbench.extraction.pipeline import SourcePipeline
from tpbench.extraction.sources import find_sources
from tpbench.video import Frame, probe
from tpbench.wholebody import load_pose


@pytest.fixture(scope="module")
def dwpose_suite(yolox_path: Path, simcc_path: Path) -> Iterator[DetectorSuite]:
    suite = DetectorSuite(
        faces=MediaPipeFaceDetector(),
        hands=MediaPipeHandDetector(),
        skeleton=DWPoseDetector(yolox_path, simcc_path, device="cpu"),
        skeleton_finds_all=False,
    )
    yield suite
    suite.close()


@pytest.fixture(scope="module")
def mediapipe_suite() -> Iterator[DetectorSuite]:
    suite = build_suite(skeleton="mediapipe", device="cpu", offline=False)
    yield suite
    suite.close()


def portrait(index: int = 0) -> Frame:
    return Frame(image=skimage.data.astronaut(), index=index, time_s=index / 25)


def test_dwpose_brings_the_people_and_mediapipe_faces_and_hands(
    dwpose_suite: DetectorSuite,
) -> None:
    dwpose_suite.reset()
    drawn = Frame(image=picture_of(ONE, 512, 512), index=1, time_s=0.04)
    face, person = dwpose_suite.detect([portrait(), drawn])
    assert dwpose_suite.source == "dwpose"
    assert len(face.faces) == 1
    assert (len(person.faces), len(person.people)) == (0, 1)


def test_with_mediapipe_one_pass_brings_everything(mediapipe_suite: DetectorSuite) -> None:
    mediapipe_suite.reset()
    (found,) = mediapipe_suite.detect([portrait()])
    assert mediapipe_suite.source == "mediapipe"
    assert (len(found.faces), len(found.people)) == (1, 1)


def test_both_suites_find_the_same_faces(
    dwpose_suite: DetectorSuite, mediapipe_suite: DetectorSuite
) -> None:
    dwpose_suite.reset()
    mediapipe_suite.reset()
    one, other = (
        suite.detect([portrait()])[0].faces[0] for suite in (dwpose_suite, mediapipe_suite)
    )
    np.testing.assert_array_equal(one.box_px, other.box_px)
    assert dwpose_suite.face_digest == mediapipe_suite.face_digest
    assert dwpose_suite.skeleton_digest != mediapipe_suite.skeleton_digest


def test_a_source_goes_the_whole_way_with_dwpose(
    dwpose_suite: DetectorSuite, tmp_path: Path
) -> None:
    """What the stand-ins say of a real man makes no sense, so nothing asks whether it does."""
    man = next(path for path in demo_clips() if path.stem == "carphone_pristine")
    config = load_preset("demo")
    config = config.model_copy(update={"filters": config.filters | {"skeleton.jitter": None}})
    pipeline = SourcePipeline(config=config, detectors=dwpose_suite, folder=tmp_path)
    result = pipeline.run(find_sources([man], excluded=tmp_path)[0], lambda _: None)
    (clip,) = result.clips
    pose = load_pose(keypoints_path(tmp_path, clip.clip_id))
    assert (clip.status, clip.n_frames, clip.pose_source) == ("kept", 120, "dwpose")
    assert (pose.source, pose.model_digest) == ("dwpose", dwpose_suite.skeleton_digest)
    assert np.isfinite(pose.keypoints).any()
    assert probe(clip_path(tmp_path, clip.clip_id)).frame_count == 120


def test_what_is_done_beside_a_gpu_gives_the_same_clips(
    yolox_path: Path, simcc_path: Path, tmp_path: Path
) -> None:
    """Decoding, analysis and writing then have a thread each; the stand-ins run anywhere."""
    strides = Strides(people=8, faces=4, hands=4)
    config = short_settings(**{"clip.too_short": 5})
    clip = config.clip.model_copy(update={"min_s": 0.25, "max_s": 0.5})
    config = config.model_copy(update={"clip": clip})
    talk = write_talk(tmp_path / "talk.mp4")
    results = {}
    for on_gpu in (False, True):
        suite = DWPoseSuite(
            faces=MediaPipeFaceDetector(),
            hands=MediaPipeHandDetector(),
            skeleton=DWPoseDetector(yolox_path, simcc_path, device="cpu", detect_every=8),
            strides=strides,
            on_gpu=on_gpu,
        )
        folder = tmp_path / f"{on_gpu}"
        folder.mkdir()
        pipeline = SourcePipeline(config=config, detectors=suite, folder=folder)
        seen: list[int] = []
        result = pipeline.run(find_sources([talk], excluded=folder)[0], seen.append)
        suite.close()
        assert seen == sorted(seen)
        results[on_gpu] = result
    plain, threaded = results[False], results[True]
    assert [clip.to_json() for clip in threaded.clips] == [clip.to_json() for clip in plain.clips]
    assert [clip.status for clip in plain.clips] == ["kept"] * 3
    assert threaded.stage_s.keys() == plain.stage_s.keys()


def test_missing_dwpose_weights_name_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError) as caught:
        weights_digest("dwpose", offline=True)
    assert "`tpbench weights pull dwpose`" in str(caught.value)
    assert "--skeleton mediapipe" in str(caught.value)


def test_points_of_another_version_of_the_detectors_are_not_taken_for_those_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = weights_digest("mediapipe", offline=False)
    assert weights_digest("mediapipe", offline=False) == now
    monkeypatch.setattr(base, "DETECTORS_VERSION", base.DETECTORS_VERSION + 1)
    assert weights_digest("mediapipe", offline=False) != now

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.detectors.onnx_standins import (
    ONE,
    SIZES_PX,
    THREE,
    Figure,
    box_of,
    picture_of,
    points_of,
    save_simcc,
    save_yolox,
    save_yolox_with_nms,
    scale_of,
)
from tpbench.detectors.base import Detections, PersonDetection
from tpbench.detectors.dwpose import DWPoseDetector, PersonDetector, PoseModel
from tpbench.detectors.onnx import OnnxModel, Outputs
from tpbench.errors import ConfigError
from tpbench.video import Frame, read_frames
from tpbench.wholebody import to_openpose


def cpu_model(path: Path) -> OnnxModel:
    return OnnxModel(path, device="cpu", num_threads=1, max_batch=2)


def test_responses_that_are_not_finite_give_no_point(simcc_path: Path) -> None:
    bins = [np.full((133, count), 0.5, dtype=np.float32) for count in (576, 768)]
    bins[0][7, 100] = np.nan
    bins[1][8, 100] = np.inf
    window = np.array([[0.0, 0.0], [288.0, 384.0]])
    person = PoseModel(cpu_model(simcc_path))._decode(tuple(bins), window)
    lost = np.flatnonzero(np.isnan(person.keypoints_px).any(axis=1))
    assert lost.tolist() == np.flatnonzero(person.scores == 0).tolist() == [7, 8]


def test_a_body_model_of_17_points_is_refused(tmp_path: Path) -> None:
    path = save_simcc(tmp_path / "body.onnx", points=17)
    model = cpu_model(path)
    with pytest.raises(ConfigError, match=r"want \(N, 133, 576\) and \(N, 133, 768\)"):
        PoseModel(model)


@pytest.fixture(scope="module")
def detector(yolox_path: Path, simcc_path: Path) -> DWPoseDetector:
    return DWPoseDetector(yolox_path, simcc_path, device="cpu", batch_size=3)


def frames_of(*images: NDArray[np.uint8]) -> list[Frame]:
    return [Frame(image=image, index=i, time_s=i / 25) for i, image in enumerate(images)]


def mixed_frames() -> list[Frame]:
    people = [ONE, [], THREE, THREE[:1], THREE[1:], ONE, []]
    sizes = [*SIZES_PX, (640, 480), (320, 240)]
    return frames_of(*(picture_of(p, *size) for p, size in zip(people, sizes, strict=True)))


def assert_equal_answers(one: list[Detections], other: list[Detections]) -> None:
    assert [len(found.people) for found in one] == [len(found.people) for found in other]
    for ours, theirs in zip(one, other, strict=True):
        for a, b in zip(ours.people, theirs.people, strict=True):
            np.testing.assert_allclose(a.keypoints_px, b.keypoints_px, atol=1e-4)
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def by_x(people: tuple[PersonDetection, ...]) -> list[PersonDetection]:
    return sorted(people, key=lambda person: float(person.keypoints_px[0, 0]))


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize("figures", [ONE, THREE], ids=["one", "three"])
def test_known_points_come_back_within_half_a_pixel(
    detector: DWPoseDetector, figures: list[Figure], size_px: tuple[int, int]
) -> None:
    (found,) = detector.detect(frames_of(picture_of(figures, *size_px)))
    assert len(found.people) == len(figures)
    for person, figure in zip(by_x(found.people), figures, strict=True):
        expected = points_of(figure, scale_of(*size_px))
        np.testing.assert_allclose(person.keypoints_px, expected, atol=0.5)
        np.testing.assert_allclose(person.scores, figure.brightness / 255, atol=0.03)
        assert person.keypoints_px.dtype == person.scores.dtype == np.float32


def test_nobody_in_the_picture_gives_no_people(detector: DWPoseDetector) -> None:
    black = np.zeros((240, 320, 3), dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 1), dtype=np.uint8)
    grey = np.repeat(noise, 3, axis=2)
    assert [found.people for found in detector.detect(frames_of(black, grey))] == [(), ()]
    assert detector.detect([]) == []


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_batches_of_any_size_give_the_same_answers(
    yolox_path: Path, simcc_path: Path, detector: DWPoseDetector, batch_size: int
) -> None:
    frames = mixed_frames()
    single = [detector.detect([frame])[0] for frame in frames]
    other = DWPoseDetector(yolox_path, simcc_path, device="cpu", batch_size=batch_size)
    assert [len(found.people) for found in single] == [1, 0, 3, 1, 2, 1, 0]
    assert_equal_answers(other.detect(frames), single)


def test_models_with_a_fixed_batch_of_one_are_run_in_a_loop(
    onnx_folder: Path, detector: DWPoseDetector
) -> None:
    fixed = DWPoseDetector(
        save_yolox(onnx_folder / "yolox_1.onnx", batch=1),
        save_simcc(onnx_folder / "simcc_1.onnx", batch=1),
        device="cpu",
    )
    frames = mixed_frames()
    assert_equal_answers(fixed.detect(frames), detector.detect(frames))


def test_a_graph_that_breaks_on_batches_is_run_in_a_loop(
    onnx_folder: Path, simcc_path: Path, detector: DWPoseDetector, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_yolox(onnx_folder / "breaks.onnx", breaks_on_batches=True)
    frames = mixed_frames()
    with caplog.at_level(logging.WARNING):
        answers = DWPoseDetector(path, simcc_path, device="cpu", batch_size=8).detect(frames)
    assert_equal_answers(answers, detector.detect(frames))
    assert [record.message for record in caplog.records] == [
        f"{path} fails on a batch: it is run image by image"
    ]


def rtmlib_answer(
    yolox_path: Path, simcc_path: Path, image: NDArray[np.uint8]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    from rtmlib import YOLOX, RTMPose

    bgr = np.ascontiguousarray(image[..., ::-1])
    find_boxes = YOLOX(str(yolox_path), model_input_size=(640, 640), score_thr=0.3)
    find_points = RTMPose(str(simcc_path), model_input_size=(288, 384))
    boxes = find_boxes(bgr)
    assert len(boxes) > 0
    keypoints, scores = find_points(bgr, bboxes=boxes)
    return keypoints, scores


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize("suppressed", [False, True], ids=["plain", "nms_inside"])
def test_answers_equal_those_of_rtmlib(
    onnx_folder: Path, simcc_path: Path, size_px: tuple[int, int], *, suppressed: bool
) -> None:
    save = save_yolox_with_nms if suppressed else save_yolox
    path = save(onnx_folder / f"parity_{suppressed}_{size_px[0]}.onnx")
    image = picture_of(THREE, *size_px)
    theirs_px, their_scores = rtmlib_answer(path, simcc_path, image)
    (found,) = DWPoseDetector(path, simcc_path, device="cpu").detect(frames_of(image))
    order = np.argsort(theirs_px[:, 0, 0])
    ours = by_x(found.people)
    np.testing.assert_allclose([p.keypoints_px for p in ours], theirs_px[order], atol=1e-3)
    np.testing.assert_allclose([p.scores for p in ours], their_scores[order], atol=1e-3)


@pytest.mark.parametrize("size_px", SIZES_PX)
def test_the_crop_that_the_pose_model_sees_equals_that_of_rtmlib(
    simcc_path: Path, monkeypatch: pytest.MonkeyPatch, size_px: tuple[int, int]
) -> None:
    from rtmlib import RTMPose

    seen: list[NDArray[np.float32]] = []
    real_run = OnnxModel.run

    def spy(model: OnnxModel, pictures: NDArray[np.float32]) -> Iterator[Outputs]:
        seen.extend(pictures)
        return real_run(model, pictures)

    monkeypatch.setattr(OnnxModel, "run", spy)
    image = np.random.default_rng(0).integers(0, 256, (*size_px[::-1], 3), dtype=np.uint8)
    boxes = [box_of(figure, scale_of(*size_px)).astype(np.float32) for figure in (*THREE, *ONE)]
    PoseModel(cpu_model(simcc_path)).find([image] * 4, boxes)
    theirs = RTMPose(str(simcc_path), model_input_size=(288, 384))
    for planes, box in zip(seen, boxes, strict=True):
        wanted, _, _ = theirs.preprocess(np.ascontiguousarray(image[..., ::-1]), box)
        np.testing.assert_allclose(planes, wanted.transpose(2, 0, 1), atol=1e-4)


def walk(frame: int) -> list[Figure]:
    """A figure that goes a cell to the right every 8 frames, and one who comes at frame 13."""
    there = [Figure(cell=(5 + frame // 8, 7), size_px=(320, 400), brightness=250)]
    return there + [Figure(cell=(17, 5), size_px=(64, 96), brightness=180)] * (frame >= 13)


def test_followed_figures_are_where_a_search_of_every_frame_finds_them(
    yolox_path: Path, simcc_path: Path
) -> None:
    frames = frames_of(*(picture_of(walk(frame), 640, 480) for frame in range(24)))
    every, followed = (
        DWPoseDetector(yolox_path, simcc_path, device="cpu", detect_every=n) for n in (1, 8)
    )
    wanted = every.detect(frames)
    found = followed.detect(frames[:16]) + followed.detect(frames[16:])
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours.people) == len(theirs.people)
        for one, other in zip(ours.people, theirs.people, strict=True):
            np.testing.assert_allclose(one.keypoints_px, other.keypoints_px, atol=1)
    assert (every.num_searched, every.num_crops) == (24, 24 + 11)
    assert followed.num_searched <= 14


def test_after_a_reset_the_first_frame_is_searched(yolox_path: Path, simcc_path: Path) -> None:
    detector = DWPoseDetector(yolox_path, simcc_path, device="cpu", detect_every=8)
    one, other = (picture_of([Figure(cell=(x, 7), size_px=(160, 224))], 640, 480) for x in (6, 12))
    detector.detect(frames_of(*[one] * 4))
    detector.reset()
    (first, *_) = detector.detect(frames_of(*[other] * 4))
    expected = points_of(Figure(cell=(12, 7), size_px=(160, 224)), 1.0)
    np.testing.assert_allclose(first.people[0].keypoints_px, expected, atol=0.5)


@pytest.mark.gpu
def test_a_gpu_finds_the_same_points(yolox_path: Path, simcc_path: Path) -> None:
    on_gpu, on_cpu = (
        DWPoseDetector(yolox_path, simcc_path, device=device, detect_every=8)
        for device in ("cuda", "cpu")
    )
    assert on_gpu.on_gpu
    frames = frames_of(*(picture_of(walk(frame), 640, 480) for frame in range(16)))
    for ours, theirs in zip(on_gpu.detect(frames), on_cpu.detect(frames), strict=True):
        for one, other in zip(ours.people, theirs.people, strict=True):
            np.testing.assert_allclose(one.keypoints_px, other.keypoints_px, atol=1)


def test_the_most_prominent_person_comes_first(detector: DWPoseDetector) -> None:
    (found,) = detector.detect(frames_of(picture_of(THREE, 640, 480)))
    means = [person.scores[:17].mean() for person in found.people]
    assert means == sorted(means, reverse=True)
    brightest = points_of(THREE[1], 1.0)
    np.testing.assert_allclose(found.people[0].keypoints_px, brightest, atol=0.5)


def test_points_without_a_response_are_nan_with_score_zero(detector: DWPoseDetector) -> None:
    figure = Figure(cell=(9, 7), size_px=(240, 320), markers=(True, False, True))
    (found,) = detector.detect(frames_of(picture_of([figure], 640, 480)))
    (person,) = found.people
    missing = np.isnan(points_of(figure, 1.0)).any(axis=1)
    assert missing.sum() == 44
    np.testing.assert_array_equal(np.isnan(person.keypoints_px).all(axis=1), missing)
    np.testing.assert_array_equal(person.scores == 0, missing)


@pytest.mark.parametrize("save", [save_yolox, save_yolox_with_nms])
def test_only_people_count_and_only_sure_ones(
    onnx_folder: Path, simcc_path: Path, save: Callable[[Path], Path]
) -> None:
    figures = [
        Figure(cell=(3, 3), size_px=(96, 160)),
        Figure(cell=(10, 8), size_px=(480, 400), dog=True),
        Figure(cell=(16, 3), size_px=(96, 160), sureness=0.25),
    ]
    path = save(onnx_folder / f"classes_{save.__name__}.onnx")
    (found,) = DWPoseDetector(path, simcc_path, device="cpu").detect(
        frames_of(picture_of(figures, 640, 480))
    )
    (person,) = found.people
    np.testing.assert_allclose(person.keypoints_px, points_of(figures[0], 1.0), atol=0.5)


def test_the_dog_of_the_class_test_is_seen_by_rtmlib(onnx_folder: Path, simcc_path: Path) -> None:
    """Otherwise the test above could pass because the stand-in is blind to dogs."""
    dog = Figure(cell=(10, 8), size_px=(480, 400), dog=True)
    path = save_yolox(onnx_folder / "dog.onnx")
    keypoints, _ = rtmlib_answer(path, simcc_path, picture_of([dog], 640, 480))
    assert len(keypoints) == 1


def test_extreme_frame_shapes_are_no_error(detector: DWPoseDetector) -> None:
    images = [np.zeros(shape, dtype=np.uint8) for shape in [(1, 4000, 3), (4000, 1, 3), (1, 1, 3)]]
    assert [found.people for found in detector.detect(frames_of(*images))] == [(), (), ()]


def test_boxes_that_reach_out_of_the_picture_are_read_in_its_pixels(
    detector: DWPoseDetector,
) -> None:
    figure = Figure(cell=(18, 12), size_px=(96, 160))
    (found,) = detector.detect(frames_of(picture_of([figure], 640, 480)))
    (person,) = found.people
    expected = points_of(figure, 1.0)
    inside = np.arange(133) % 3 != 2  # the red marker lies below the picture
    np.testing.assert_allclose(person.keypoints_px[inside], expected[inside], atol=0.5)


def test_models_in_each_others_place_are_refused_with_what_is_expected(
    yolox_path: Path, simcc_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"simcc\.onnx: this is no YOLOX model"):
        DWPoseDetector(simcc_path, simcc_path, device="cpu")
    with pytest.raises(ConfigError, match=r"yolox\.onnx: this is no whole-body SimCC model"):
        DWPoseDetector(yolox_path, yolox_path, device="cpu")


def test_the_digest_follows_the_files_and_nothing_else(
    onnx_folder: Path, yolox_path: Path, simcc_path: Path, detector: DWPoseDetector
) -> None:
    copy = onnx_folder / "copy.onnx"
    copy.write_bytes(yolox_path.read_bytes())
    other = save_yolox(onnx_folder / "one_class.onnx", classes=1)
    same = DWPoseDetector(copy, simcc_path, device="auto", num_threads=2, batch_size=1)
    different = DWPoseDetector(other, simcc_path, device="cpu")
    assert len(detector.model_digest) == 64
    assert same.model_digest == detector.model_digest != different.model_digest
    assert detector.source == "dwpose"


def test_following_has_a_digest_of_its_own_for_each_stride(
    yolox_path: Path, simcc_path: Path, detector: DWPoseDetector
) -> None:
    digests = {
        DWPoseDetector(yolox_path, simcc_path, device="cpu", detect_every=every).model_digest
        for every in (1, 4, 8)
    }
    assert len(digests) == 3
    assert detector.model_digest in digests


def test_weights_are_found_by_name(
    yolox_path: Path, simcc_path: Path, monkeypatch: pytest.MonkeyPatch, detector: DWPoseDetector
) -> None:
    files = {"yolox-l": yolox_path, "dwpose-ll-ucoco-384": simcc_path}
    monkeypatch.setattr("tpbench.detectors.dwpose.resolve", files.__getitem__)
    by_name = DWPoseDetector.from_weights(device="cpu")
    assert by_name.model_digest == detector.model_digest
    by_name.reset()
    by_name.close()


@pytest.mark.weights
@pytest.mark.shared
def test_real_weights_agree_with_the_official_renderings(shared_dir: Path) -> None:
    samples = shared_dir / "data" / "talkingpose_samples"
    official = np.load(samples / "official_body1.npz")["openpose18_xy_px"]
    detector = DWPoseDetector.from_weights(device="cpu", num_threads=2)
    errors_px = []
    for frame in itertools.islice(read_frames(samples / "vid1.mp4"), 0, 100, 20):
        (found,) = detector.detect([frame])
        person = found.people[0]
        joints, _ = to_openpose(person.keypoints_px[None], person.scores[None])
        errors_px.append(np.linalg.norm(joints[0] - official[frame.index], axis=1))
    neck_shoulders_elbows = [1, 2, 3, 5, 6]
    assert np.nanmedian(np.array(errors_px)[:, neck_shoulders_elbows], axis=0).max() < 4


@pytest.mark.parametrize("size_px", [*SIZES_PX, (640, 640), (371, 611)])
def test_the_picture_a_box_model_sees_equals_that_of_rtmlib(
    yolox_path: Path, size_px: tuple[int, int]
) -> None:
    from rtmlib import YOLOX

    model = cpu_model(yolox_path)
    image = picture_of(THREE, *size_px)
    ours, scale = PersonDetector(model)._letterbox(image)
    theirs, ratio = YOLOX(str(yolox_path)).preprocess(image)
    np.testing.assert_array_equal(ours, theirs)
    assert scale == pytest.approx(ratio)


@pytest.mark.parametrize("classes", [1, 80])
def test_detectors_with_any_number_of_classes_give_the_same_boxes(
    onnx_folder: Path, classes: int
) -> None:
    path = save_yolox(onnx_folder / f"classes_{classes}.onnx", classes=classes)
    model = cpu_model(path)
    (boxes,) = PersonDetector(model).find([picture_of(THREE, 500, 375)])
    expected = [box_of(figure, scale_of(500, 375)) for figure in THREE]
    np.testing.assert_allclose(boxes[np.argsort(boxes[:, 0])], expected, atol=1e-3)


def test_doubles_of_a_box_are_dropped(onnx_folder: Path) -> None:
    twins = [
        Figure(cell=(9, 7), size_px=(240, 320), sureness=0.8),
        Figure(cell=(10, 7), size_px=(240, 320)),
    ]
    model = cpu_model(save_yolox(onnx_folder / "twins.onnx"))
    (boxes,) = PersonDetector(model).find([picture_of(twins, 640, 480)])
    np.testing.assert_allclose(boxes, [box_of(twins[1], 1.0)], atol=1e-3)


def test_rows_that_are_not_finite_give_no_box(yolox_path: Path) -> None:
    rows = np.zeros((8400, 85), dtype=np.float32)
    rows[:, 4:6] = 1.0
    rows[:, 2] = [np.nan, np.inf, 1e30, -1e30] * 2100
    assert len(PersonDetector(cpu_model(yolox_path))._decode((rows,), 1.0)) == 0

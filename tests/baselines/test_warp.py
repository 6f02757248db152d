"""The warp moves who is in the reference as the pose says, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.baselines import driven_tasks
from tests.baselines.driven_tasks import failures, made
from tpbench.baselines.base import AnimationTask, GeneratedFrame
from tpbench.baselines.registry import MODELS
from tpbench.baselines.trivial import Frozen
from tpbench.baselines.warp import WarpGenerator, motion
from tpbench.baselines.warp.generator import draw_bent, draw_rigid
from tpbench.baselines.warp.layers import Layer
from tpbench.errors import ConfigError
from tpbench.video import Frame, read_frames
from tpbench.wholebody import FACE, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, WholeBodyPose

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]

WIDTH_PX, HEIGHT_PX = 256, 224
BACKGROUND = (40, 60, 150)
SKIN = (220, 170, 140)
NAIL = (20, 220, 40)
LEFT_MIDDLE_TIP = LEFT_HAND.start + 12


def hand_points(wrist: tuple[float, float], *, outward: int) -> Points:
    """Five straight fingers, upwards, the thumb on the inner side."""
    points = [wrist]
    for finger in range(5):
        x = outward * (finger - 2) * 5.0
        points += [(wrist[0] + x, wrist[1] - 8.0 - 6.0 * joint) for joint in range(4)]
    return np.array(points)


def points_of_a_person() -> Points:
    """Somebody who faces us, hands raised beside the chest."""
    points = np.full((NUM_KEYPOINTS, 2), np.nan)
    points[0:5] = [(128, 58), (136, 48), (120, 48), (146, 52), (110, 52)]
    points[5:13] = [
        (164, 100), (92, 100), (184, 150), (72, 150), (202, 112), (54, 112), (152, 190), (104, 190),
    ]  # fmt: skip
    angle = np.linspace(0, 2 * np.pi, FACE.stop - FACE.start, endpoint=False)
    ring = 0.6 + 0.4 * (np.arange(len(angle)) % 2)
    points[FACE] = np.stack([128 + 17 * ring * np.cos(angle), 58 + 20 * ring * np.sin(angle)], 1)
    points[LEFT_HAND] = hand_points((202, 112), outward=1)
    points[RIGHT_HAND] = hand_points((54, 112), outward=-1)
    return points


def draw(points: Points) -> Picture:
    """A person with a soft pattern on the dress, skin, and one green finger tip."""
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), BACKGROUND, np.uint8)
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    pattern = np.stack([150 + 50 * np.sin(x / 9), 60 + 30 * np.cos(y / 7), 50 + 0 * x], axis=-1)
    dress = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    p = np.rint(points[:13]).astype(int)
    torso = np.array([p[5] + [8, -6], p[6] + [-8, -6], p[12] + [-4, 60], p[11] + [4, 60]])
    cv2.fillConvexPoly(dress, torso, 1)
    for start, end in ((5, 7), (6, 8), (7, 9), (8, 10)):
        cv2.line(dress, p[start].tolist(), p[end].tolist(), 1, 16)
    image[dress > 0] = pattern[dress > 0].astype(np.uint8)
    cv2.line(image, ((p[5] + p[6]) // 2).tolist(), p[0].tolist(), SKIN, 20)
    cv2.ellipse(image, (p[0] - [0, 10]).tolist(), (24, 42), 0, 0, 360, SKIN, -1)
    for hand in (LEFT_HAND, RIGHT_HAND):
        joints = np.rint(points[hand]).astype(int)
        for finger in range(5):
            cv2.line(image, joints[0].tolist(), joints[4 * finger + 4].tolist(), SKIN, 7)
    cv2.circle(image, np.rint(points[LEFT_MIDDLE_TIP]).astype(int).tolist(), 4, NAIL, -1)
    return image


def pose_of(frames: list[Points], **changes: int) -> WholeBodyPose:
    size = {"width_px": WIDTH_PX, "height_px": HEIGHT_PX} | changes
    return driven_tasks.pose_of(np.stack(frames), **size)


def task_for(frames: list[Points], *, clip_id: str = "clip") -> AnimationTask:
    person = points_of_a_person()
    return driven_tasks.task_for(
        draw(person), pose_of(frames), clip_id=clip_id, reference_pose=pose_of([person])
    )


def warped(*frames: Points) -> list[Picture]:
    return made(WarpGenerator({}), task_for(list(frames)))


def turned(points: Points, *, degrees: float, about: tuple[float, float]) -> Points:
    turn = cv2.getRotationMatrix2D(about, -degrees, 1.0)
    return np.asarray(points @ turn[:, :2].T + turn[:, 2])


def off_share(image: Picture, other: Picture, where: NDArray[np.bool_] | None = None) -> float:
    """Share of pixels more than 12 levels off, not counting those on outlines, which are soft."""
    box = np.ones((7, 7), np.uint8)
    contrast = cv2.dilate(other, box).astype(int) - cv2.erode(other, box)
    counted = contrast.max(axis=-1) < 70
    if where is not None:
        counted &= where
    assert counted.sum() > 500
    off = np.abs(image.astype(int) - other).max(axis=-1) > 12
    return float(off[counted].mean())


def nail_px(image: Picture) -> Points:
    """Where the green finger tip is."""
    r, g, b = image.astype(int).transpose(2, 0, 1)
    y, x = np.nonzero((g > r + 60) & (g > b + 60))
    assert len(x) > 15
    return np.array([x.mean(), y.mean()])


def far_from(points: list[Points], margin_px: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels further than this from the hulls of poses."""
    outside = np.ones(shape[:2], np.uint8)
    for pose in points:
        corners = np.rint(pose[np.isfinite(pose[:, 0])]).astype(np.int32)
        cv2.fillConvexPoly(outside, cv2.convexHull(corners), 0)
    return np.asarray(cv2.distanceTransform(outside, cv2.DIST_L2, 5) > margin_px)


def test_the_reference_pose_gives_the_reference() -> None:
    person = points_of_a_person()
    image = draw(person)
    (frame,) = warped(person)
    assert off_share(frame, image) < 0.005
    assert np.abs(frame.astype(float) - image).mean() < 3


@pytest.mark.parametrize("shift", [(14.0, 0.0), (-9.0, 6.0), (0.0, 12.0)])
def test_a_person_who_moves_sideways_comes_back_moved(shift: tuple[float, float]) -> None:
    person = points_of_a_person()
    (frame,) = warped(person + shift)
    body = np.abs(draw(person + shift).astype(int) - BACKGROUND).max(axis=-1) > 0
    assert off_share(frame, shifted(draw(person), shift), body) < 0.02
    assert off_share(frame, draw(person), body) > 0.1


def shifted(image: Picture, shift: tuple[float, float]) -> Picture:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE))


@pytest.mark.parametrize("degrees", [-12.0, 9.0])
def test_a_person_who_leans_comes_back_leaning(degrees: float) -> None:
    person, about = points_of_a_person(), (128.0, 150.0)
    leaning = turned(person, degrees=degrees, about=about)
    turn = cv2.getRotationMatrix2D(about, -degrees, 1.0)
    expected = cv2.warpAffine(
        draw(person), turn, (WIDTH_PX, HEIGHT_PX), borderMode=cv2.BORDER_CONSTANT,
        borderValue=BACKGROUND,
    )  # fmt: skip
    (frame,) = warped(leaning)
    # Below the hips the reference ends where the leaning picture goes on.
    body = np.abs(np.asarray(expected, int) - BACKGROUND).max(axis=-1) > 0
    body[HEIGHT_PX - 50 :] = False
    assert off_share(frame, expected, body) < 0.04
    assert off_share(frame, draw(person), body) > 0.1


def test_a_hand_that_travels_takes_its_finger_tip_along() -> None:
    person = points_of_a_person()
    moved = person.copy()
    about = (202.0, 112.0)
    moved[LEFT_HAND] = turned(person[LEFT_HAND], degrees=60, about=about) + np.array([10, 30])
    moved[9] = moved[LEFT_HAND.start]
    (frame,) = warped(moved)
    assert np.hypot(*(nail_px(frame) - moved[LEFT_MIDDLE_TIP])) < 3


def test_a_hand_over_the_face_lies_in_front_and_leaves_the_rest_of_the_face() -> None:
    person = points_of_a_person()
    moved = person.copy()
    moved[LEFT_HAND] += np.array([140, 70]) - person[LEFT_MIDDLE_TIP]
    moved[9] = moved[LEFT_HAND.start]
    (frame,) = warped(moved)
    assert np.hypot(*(nail_px(frame) - [140, 70])) < 3
    assert np.abs(frame[35:60, 114:124].astype(int) - SKIN).max() < 12


def test_a_hand_seen_from_its_other_side_is_mirrored() -> None:
    person = points_of_a_person()
    moved = person.copy()
    moved[LEFT_HAND, 0] = 2 * 202 - person[LEFT_HAND, 0]
    thumb_tip, little_tip = LEFT_HAND.start + 4, LEFT_HAND.start + 20
    image = draw(person)
    cv2.circle(image, np.rint(person[LEFT_MIDDLE_TIP]).astype(int).tolist(), 4, SKIN, -1)
    cv2.circle(image, np.rint(person[thumb_tip]).astype(int).tolist(), 4, NAIL, -1)
    (frame,) = made(WarpGenerator({}), replace(task_for([moved]), reference=image))
    assert np.hypot(*(nail_px(frame) - moved[thumb_tip])) < 5
    assert np.hypot(*(nail_px(frame) - moved[little_tip])) > 12


def test_the_background_stands_still() -> None:
    noise = np.random.default_rng(0).integers(0, 40, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    person = points_of_a_person()
    moved = person + np.array([9.0, 4.0])
    body = np.abs(draw(person).astype(int) - BACKGROUND).max(axis=-1, keepdims=True) > 0
    image = np.where(body, draw(person), noise)
    (frame,) = made(WarpGenerator({}), replace(task_for([moved]), reference=image))
    # Legs go on below the hips, where no point is.
    legs = [person[[11, 12]] + [0, 50], moved[[11, 12]] + [0, 50]]
    hulls = [np.concatenate([person, legs[0]]), np.concatenate([moved, legs[1]])]
    far = far_from(hulls, 45, image.shape)
    assert far.sum() > 8000
    assert np.array_equal(frame[far], image[far])


def test_where_the_person_stood_there_is_background() -> None:
    person = points_of_a_person()
    (frame,) = warped(person + np.array([500.0, 0.0]))
    assert off_share(frame, np.full_like(frame, BACKGROUND)) < 0.03


def test_a_person_cut_off_below_does_not_lift_off_the_border() -> None:
    (frame,) = warped(points_of_a_person() - [0.0, 14.0])
    assert (frame[-1, 110:146, 0] > 90).all()


def test_a_clip_hangs_on_no_other() -> None:
    person = points_of_a_person()
    one = task_for([person + np.array([5.0 * t, 0]) for t in range(3)], clip_id="one")
    hidden = np.full_like(person, np.nan)
    two = task_for([hidden, person - [3, 0]], clip_id="two")
    generator = WarpGenerator({})
    alone = {"one": made(WarpGenerator({}), one), "two": made(WarpGenerator({}), two)}
    for tasks in ([one, two], [two, one]):
        for task in tasks:
            again = made(generator, task)
            assert np.array_equal(again, alone[task.clip_id])


def test_frames_come_before_the_later_poses_matter() -> None:
    person = points_of_a_person()
    short, long = [person, person + 3.0], [person, person + 3.0, person + 40.0]
    assert np.array_equal(warped(*short), warped(*long)[:2])


def test_a_frame_in_which_nothing_is_seen_repeats_the_one_before() -> None:
    moved = points_of_a_person() + np.array([11.0, 5.0])
    before, blind, after = warped(moved, np.full_like(moved, np.nan), moved)
    assert np.array_equal(before, blind)
    assert np.array_equal(before, after)


def test_a_hand_that_is_not_seen_stays_at_its_wrist() -> None:
    person = points_of_a_person()
    blind = person + np.array([8.0, 6.0])
    blind[LEFT_HAND] = np.nan
    seen, guessed = warped(person, blind)
    assert np.hypot(*(nail_px(guessed) - nail_px(seen) - [8, 6])) < 1


def test_points_that_are_hardly_sure_or_absurdly_far_are_not_followed() -> None:
    person = points_of_a_person()
    wild = person.copy()
    wild[LEFT_HAND] = 1e7
    unsure = pose_of([person, person + 30.0, wild])
    unsure.scores[1] = 0.1
    first, doubted, far = made(WarpGenerator({}), replace(task_for([person]), driving=unsure))
    assert np.array_equal(first, doubted)
    assert np.array_equal(first, far)


def test_a_hand_that_the_reference_hides_is_never_drawn() -> None:
    person = points_of_a_person()
    hidden = person.copy()
    hidden[LEFT_HAND] = hidden[9] = np.nan
    image = draw(person)
    image[60:125, 186:] = BACKGROUND
    task = replace(task_for([person]), reference=image, reference_pose=pose_of([hidden]))
    (frame,) = made(WarpGenerator({}), task)
    assert off_share(frame[60:110, 192:], np.full_like(frame[60:110, 192:], BACKGROUND)) < 0.02


@pytest.mark.parametrize("kept", ["face", "shoulders"])
def test_a_face_or_two_shoulders_are_enough(kept: str) -> None:
    person = points_of_a_person()
    few = np.full_like(person, np.nan)
    chosen = FACE if kept == "face" else [5, 6]
    few[chosen] = person[chosen]
    task = replace(task_for([few, few + np.array([10.0, 0.0])]), reference_pose=pose_of([few]))
    still, moved = made(WarpGenerator({}), task)
    assert off_share(still, moved) > 0.02


def test_what_can_not_be_made_is_one_failure_each() -> None:
    person = points_of_a_person()
    good = task_for([person])
    nobody = pose_of([np.full_like(person, np.nan)])
    cases = {
        "no pose": (replace(good, reference_pose=None), "none is known"),
        "nobody": (replace(good, reference_pose=nobody), "no person in the reference"),
        "large": (replace(good, driving=pose_of([person], width_px=512)), "512x224"),
        "small": (replace(good, reference_pose=pose_of([person], height_px=99)), "256x99"),
    }
    tasks = [replace(task, clip_id=clip_id) for clip_id, (task, _) in cases.items()]
    found = failures(list(WarpGenerator({}).generate(tasks)))
    assert list(found) == list(cases)
    for clip_id, (_, words) in cases.items():
        assert words in found[clip_id]


@pytest.mark.parametrize(("size_px", "n_frames"), [(1, 0), (16, 0), (30, 2), (61, 2)])
def test_a_tiny_person_is_moved_or_refused(size_px: int, n_frames: int) -> None:
    person = points_of_a_person() * size_px / HEIGHT_PX
    reference, driving = (
        pose_of(frames, width_px=size_px, height_px=size_px)
        for frames in ([person], [person, person * 0.1])
    )
    image = np.full((size_px, size_px, 3), 90, np.uint8)
    task = driven_tasks.task_for(image, driving, reference_pose=reference)
    results = list(WarpGenerator({}).generate([task]))
    assert len([frame for frame in results if isinstance(frame, GeneratedFrame)]) == n_frames
    assert len(failures(results) if n_frames == 0 else []) == (n_frames == 0)


def test_unknown_options_are_refused_and_the_row_builds() -> None:
    with pytest.raises(ConfigError, match="no option 'strength'"):
        WarpGenerator({"strength": 2})
    row = MODELS["warp"]
    assert row.factory == f"{WarpGenerator.__module__.rpartition('.')[0]}:WarpGenerator"
    assert WarpGenerator({}).describe() == {"opencv": cv2.__version__}


# The mathematics.

numbers = st.floats(-100, 100, allow_nan=False)
clouds = st.lists(st.tuples(numbers, numbers), min_size=4, max_size=8, unique=True).map(np.array)
turns = st.floats(-3, 3).map(lambda angle: np.array([np.cos(angle), np.sin(angle)]))


def spread_out(points: Points) -> bool:
    return float(np.linalg.svd(points - points.mean(axis=0))[1].min()) > 1


@given(clouds.filter(spread_out), turns, st.floats(0.2, 4), numbers)
def test_similarities_are_found_again(
    points: Points, turn: Points, scale: float, shift: float
) -> None:
    c, s = scale * turn
    true = np.array([[c, -s, shift], [s, c, 2 * shift]])
    target = motion.apply(true, points)
    nodes = np.array([[0.0, 0.0], [30.0, -7.0]])
    weights = np.linspace(0.5, 1, len(points))
    by_mls = motion.moving_least_squares(nodes, points, target, weights, soft_px=3.0)
    assert np.allclose(motion.similarity(points, target), true, atol=1e-6)
    assert np.allclose(by_mls, motion.apply(true, nodes), atol=1e-5)
    assert np.allclose(motion.apply(motion.inverse(true), target), points, atol=1e-6)


@given(clouds.filter(spread_out), clouds.filter(spread_out))
def test_moving_least_squares_take_points_to_their_images(points: Points, images: Points) -> None:
    n = min(len(points), len(images))
    points, images = points[:n], images[:n]
    gaps = np.hypot(*(points[:, None] - points).transpose(2, 0, 1)) + 1e9 * np.eye(n)
    kept = gaps.min(axis=1) > 1
    weights = np.ones(n)
    moved = motion.moving_least_squares(points, points, images, weights, soft_px=1e-6)
    assert np.allclose(moved[kept], images[kept], atol=1e-3)


def round_enough(points: Points) -> bool:
    long, short = np.linalg.svd(points - points.mean(axis=0))[1]
    return bool(short > max(1.0, 0.5 * long))


@given(clouds.filter(round_enough), turns, turns, st.floats(-2, 2))
def test_a_card_shows_its_other_side_and_never_its_edge(
    points: Points, first: Points, second: Points, across: float
) -> None:
    before, after = (np.array([[c, -s], [s, c]]) for c, s in (first, second))
    target = points @ (after @ np.diag([1.0, across]) @ before).T
    found = motion.card(points, target, thinnest=0.5, mirrored=across < 0)[:, :2]
    singular = np.linalg.svd(found)[1]
    assert singular[1] >= 0.5 * singular[0] - 1e-9
    assert (np.linalg.det(found) < 0) == (across < 0)


def test_a_card_on_edge_keeps_the_side_it_showed() -> None:
    points = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) * 10
    for mirrored in (False, True):
        for across in (-0.05, 0.05):
            target = points * [1, across]
            found = motion.card(points, target, thinnest=0.5, mirrored=mirrored)
            assert (np.linalg.det(found[:, :2]) < 0) == mirrored


@given(turns, turns, st.floats(5, 60), st.floats(30, 90), st.floats(0.5, 2))
def test_bones_go_end_to_end_and_keep_their_width(
    first: Points, second: Points, length: float, to_length: float, width: float
) -> None:
    source = np.array([3.0, 4.0]) + np.outer([0.0, length], first)
    target = np.array([50.0, -8.0]) + np.outer([0.0, to_length], second)
    found = motion.bone(source, target, width_scale=width, shortest=0.1)
    assert np.allclose(motion.apply(found, source), target)
    beside: Points = source[0] + np.array([-first[1], first[0]])
    assert np.allclose(
        motion.apply(found, beside) - target[0], width * np.array([-second[1], second[0]])
    )


def test_a_bone_without_length_stays_a_limb() -> None:
    point = np.array([[5.0, 5.0], [5.0, 5.0]])
    bone = np.array([[5.0, 5.0], [45.0, 5.0]])
    for source, target in ((bone, point), (point, bone), (point, point)):
        found = motion.bone(source, target, width_scale=1.0, shortest=0.25)
        assert np.linalg.det(found[:, :2]) >= 0.24
        assert np.allclose(motion.apply(found, source.mean(axis=0)), target.mean(axis=0))


def test_steps_are_limited() -> None:
    start, wanted = np.zeros((3, 2)), np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    moved = motion.limited(start, wanted, follow=0.5, most=2.0)
    assert np.allclose(moved, [[1.2, 1.6], [0.15, 0.2], [0.0, 0.0]])


@pytest.mark.parametrize("shift", [(0, 0), (7, -4), (-30, 12), (500, 0)])
def test_layers_are_drawn_where_they_belong(shift: tuple[int, int]) -> None:
    draws = np.random.default_rng(1).integers(0, 256, (20, 30, 4), np.uint8)
    draws[..., 3] = 255
    layer = Layer(image=draws, corner=np.array([11.0, 9.0]))
    expected = np.full((50, 60, 3), 77, np.uint8)
    for y, x in np.ndindex(20, 30):
        at = (y + 9 + shift[1], x + 11 + shift[0])
        if 0 <= at[0] < 50 and 0 <= at[1] < 60:
            expected[at] = draws[y, x, :3]
    forward = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]])
    rigid, bent, everywhere = (np.full((50, 60, 3), 77, np.uint8) for _ in range(3))
    draw_rigid(rigid, layer, forward)
    draw_bent(bent, layer, lambda nodes: nodes - shift, around=forward)
    draw_bent(everywhere, layer, lambda nodes: nodes - shift)
    for canvas in (rigid, bent, everywhere):
        assert np.abs(canvas.astype(int) - expected).max() <= 1


# Real talks.


def skeletons(frames: list[Frame]) -> WholeBodyPose:
    from tpbench.detectors.mediapipe_skeleton import MediaPipeSkeletonDetector

    detector = MediaPipeSkeletonDetector()
    points, scores = [], []
    for frame in frames:
        people = detector.detect([frame])[0].people
        points.append(people[0].keypoints_px if people else np.full((133, 2), np.nan))
        scores.append(people[0].scores if people else np.zeros(133))
    detector.close()
    height_px, width_px = frames[0].image.shape[:2]
    pose = driven_tasks.pose_of(np.stack(points), width_px=width_px, height_px=height_px)
    return replace(pose, scores=np.stack(scores).astype(np.float32))


def read_talk(shared_dir: Path, number: int, *, every: int) -> tuple[AnimationTask, list[Frame]]:
    """Some frames of a talk, and the task that they drive."""
    video = shared_dir / "data" / "talkingpose_samples" / f"vid{number}.mp4"
    frames = list(islice(read_frames(video), 0, None, every))
    driving = skeletons(frames)
    reference_pose, fps = driving.slice_frames(0, 1), Fraction(23, every)
    task = driven_tasks.task_for(frames[0].image, driving, reference_pose=reference_pose, fps=fps)
    return task, frames


def mean_psnr_db(images: list[Picture], frames: list[Frame]) -> float:
    gaps = [
        ((image.astype(float) - frame.image) ** 2).mean()
        for image, frame in zip(images, frames, strict=True)
    ]
    return float(np.mean(10 * np.log10(255**2 / np.array(gaps))))


@pytest.mark.shared
@pytest.mark.parametrize("number", [1, 3])
def test_on_talks_it_beats_a_still_and_leaves_the_background(shared_dir: Path, number: int) -> None:
    task, frames = read_talk(shared_dir, number, every=20)
    reference = task.reference
    images = made(WarpGenerator({}), task)
    # The first frame is the reference, which no still can be better at.
    later = frames[1:]
    assert mean_psnr_db(images[1:], later) > mean_psnr_db([reference] * len(later), later) + 0.5
    still = []
    for image, points in zip(images, task.driving.keypoints, strict=True):
        # An eighth of the picture around the points: hair, sleeves and hips lie there.
        far = far_from([task.driving.keypoints[0], points], 64, image.shape)
        still.append((np.abs(image.astype(int) - reference).max(axis=-1)[far] <= 2).mean())
    assert np.mean(still) >= 0.99


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3])
def test_on_talks_hands_are_found_where_the_pose_has_them(shared_dir: Path, number: int) -> None:
    task, real = read_talk(shared_dir, number, every=3)
    hands = slice(LEFT_HAND.start, RIGHT_HAND.stop)
    wanted = task.driving.keypoints[:, hands]
    error_px, missing = [], []
    for generator in (WarpGenerator({}), Frozen({}, weights_dir=None, device="cpu")):
        images = made(generator, task)
        frames = [replace(f, image=image) for f, image in zip(real, images, strict=True)]
        found = skeletons(frames).keypoints[:, hands]
        error_px.append(float(np.nanmean(np.hypot(*(found - wanted).transpose(2, 0, 1)))))
        there = np.isfinite(wanted[..., 0])
        missing.append(float(np.isnan(found[..., 0])[there].mean()))
    assert error_px[0] <= error_px[1] / 3
    assert missing[0] < 0.25

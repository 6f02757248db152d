"""Regions and pose accuracy through the engine, with painted people whose place is known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import pairing_of, pictures, scored, worse, write_set
from tests.metrics.scoring.stand_ins import POSE_PX, paint_person
from tpbench.metrics.pixels import psnr, ssim
from tpbench.metrics.pose import REGIONS, Box, region_box, region_crop
from tpbench.metrics.scoring import records
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.report import ScoreReport
from tpbench.wholebody import LEFT_SHOULDER, RIGHT_SHOULDER

N = 8
POSE_METRICS = tuple(
    f"{name}_{part}"
    for part in ("body", "hands", "face")
    for name in ("akd", "akd_sw", "pck", "missing")
)
AT_PX = (40, 30)


@pytest.fixture(autouse=True)
def looks(networks: None, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what painted people are looked for in."""
    count: Counter[str] = Counter()
    stand_ins.put_in(monkeypatch.setattr, count)
    return count


def real_images() -> NDArray[np.uint8]:
    images = pictures(N, size_px=(96, 80))
    for image in images:
        paint_person(image, *AT_PX)
    return images


def score_of(
    real: NDArray[np.uint8], generated: NDArray[np.uint8], folder: Path, *metrics: str
) -> ScoreReport:
    write_set(folder / "real", {"a": real})
    write_set(folder / "gen", {"a": generated})
    return scored(pairing_of(folder / "real", folder / "gen"), folder / "out", *metrics)


def test_the_same_pose_is_no_error_and_all_correct(tmp_path: Path) -> None:
    real = real_images()
    values = score_of(real, real, tmp_path, *POSE_METRICS).clips["a"].values
    for name, value in values.items():
        assert value == (1 if name.startswith("pck") else 0), name


def test_a_person_moved_by_5_px_is_off_by_5_px(tmp_path: Path) -> None:
    real, generated = real_images(), pictures(N, size_px=(96, 80))
    for image in generated:
        paint_person(image, AT_PX[0] + 3, AT_PX[1] + 4)
    values = score_of(real, generated, tmp_path, *POSE_METRICS).clips["a"].values
    shoulders = POSE_PX[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    width_px = float(np.ptp(shoulders[:, 0]))
    for part in ("body", "hands", "face"):
        assert values[f"akd_{part}"] == pytest.approx(5)
        assert values[f"akd_sw_{part}"] == pytest.approx(5 / width_px)
        assert values[f"missing_{part}"] == 0
    # Longer sides: body 40 px, a hand 16 px, face 20 px; alphas 0.1, 0.2, 0.05.
    assert [values[f"pck_{part}"] for part in ("body", "hands", "face")] == [0, 0, 0]


def test_a_person_lost_in_a_quarter_of_the_frames_is_missing_and_wrong(tmp_path: Path) -> None:
    real, generated = real_images(), real_images()
    generated[:2] = pictures(2, size_px=(96, 80))
    values = score_of(real, generated, tmp_path, *POSE_METRICS).clips["a"].values
    for part in ("body", "hands", "face"):
        assert values[f"missing_{part}"] == 0.25
        assert values[f"pck_{part}"] == 0.75
        assert values[f"akd_{part}"] == 0


def test_a_real_clip_without_anybody_gives_no_value(tmp_path: Path) -> None:
    real, generated = pictures(N, size_px=(96, 80)), real_images()
    report = score_of(real, generated, tmp_path, *POSE_METRICS, "face_psnr", "hand_lpips")
    assert all(math.isnan(value) for value in report.clips["a"].values.values())
    assert report.metrics["akd_body"].n_missing == 1
    assert report.metrics["akd_body"].reason == (
        "no clip has a value: no point of the body is seen in both clips"
    )


def test_regions_are_cut_where_the_real_person_is(tmp_path: Path) -> None:
    real = real_images()
    generated = worse(real, by=40)
    for at, image in enumerate(generated):
        paint_person(image, 10 + at, 50)  # where the generated person is makes no difference
    real[3] = pictures(1, size_px=(96, 80))[0]  # nobody: no boxes

    report = score_of(
        real, generated, tmp_path, "face_psnr", "face_ssim", "face_lpips", "hand_psnr", "hand_lpips"
    )

    keypoints = POSE_PX + np.array(AT_PX, np.float32)
    scores = np.where(np.isnan(POSE_PX[:, 0]), 0, 0.9)
    face, *hands = (
        region_box(region, keypoints, scores, width_px=96, height_px=80) for region in REGIONS
    )
    assert face is not None

    def cut(image: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
        assert box is not None
        return image[box.top_px : box.bottom_px, box.left_px : box.right_px]

    frames = [at for at in range(N) if at != 3]
    values = report.clips["a"].values
    of_faces = [(cut(real[at], face), cut(generated[at], face)) for at in frames]
    assert values["face_psnr"] == pytest.approx(np.mean([psnr(*pair) for pair in of_faces]))
    assert values["face_ssim"] == pytest.approx(np.mean([ssim(*pair) for pair in of_faces]))
    of_hands = [(cut(real[at], box), cut(generated[at], box)) for at in frames for box in hands]
    assert values["hand_psnr"] == pytest.approx(np.mean([psnr(*pair) for pair in of_hands]))
    network = stand_ins.lpips()
    crops = [np.stack([region_crop(side[at], face) for at in frames]) for side in (real, generated)]
    assert values["face_lpips"] == pytest.approx(network.distances(*crops).mean(), rel=1e-5)


def frames_seen(looks: Counter[str]) -> tuple[int, int]:
    """Frames of the real and of the generated clips that a detector looked at since last time."""
    found = looks["real frames"], looks["generated frames"]
    looks.clear()
    return found


def test_real_skeletons_are_found_once_for_all_meters_and_all_scorings(
    looks: Counter[str], tmp_path: Path
) -> None:
    real = real_images()
    metrics = ("akd_body", "face_psnr", "hand_lpips")
    first = score_of(real, worse(real, by=0), tmp_path / "one", *metrics)
    assert frames_seen(looks) == (N, N), "each side once, however many meters want it"
    second = score_of(real, worse(real, by=0), tmp_path / "two", *metrics)
    assert frames_seen(looks) == (0, N)
    third = score_of(real, worse(real), tmp_path / "three", "face_psnr")
    assert frames_seen(looks) == (0, 0)
    assert second.clips == first.clips
    assert math.isfinite(third.clips["a"].values["face_psnr"])


def test_real_skeletons_of_another_detector_or_another_start_are_found_anew(
    looks: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are 7 frames long: what they are of is not told by their length."""
    real = real_images()
    cut = Policies(length="truncate", resize="fail", rate="fail")
    write_set(tmp_path / "real", {"a": real})
    write_set(tmp_path / "shorter", {"a": real[:-1]})
    write_set(tmp_path / "whole", {"a": real})

    def run(generated: str, policies: Policies) -> tuple[int, int]:
        pairing = pairing_of(tmp_path / "real", tmp_path / generated)
        scored(pairing, tmp_path / "out", "akd_body", policies=policies)
        return frames_seen(looks)

    assert run("shorter", cut) == (7, 7)
    assert run("whole", replace(cut, first_frame=1)) == (7, 7)
    monkeypatch.setattr(records, "_skeleton_digest", lambda *_, **__: "other people")
    assert run("whole", replace(cut, first_frame=1)) == (7, 7)

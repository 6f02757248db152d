from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.metrics.scoring.clips import (
    STRICT,
    pairing_of,
    pictures,
    scored,
    worse,
    write_pictures,
    write_video,
)
from tpbench.errors import MediaError
from tpbench.metrics.psnr import psnr
from tpbench.metrics.scoring.policies import Policies, fit_clips
from tpbench.video import open_footage

if TYPE_CHECKING:
    from pathlib import Path

    from tpbench.video import Footage

LOOSE = Policies(length="truncate", resize="area", rate="ignore")


@pytest.fixture
def real(tmp_path: Path) -> Footage:
    return open_footage(write_video(tmp_path / "real" / "clip.avi", pictures(8)))


def other(tmp_path: Path, **changes: Any) -> Footage:  # noqa: ANN401 - passed on
    n, size_px, fps = (
        changes.get(name, usual) for name, usual in (("n", 8), ("size_px", (64, 48)), ("fps", 25))
    )
    images = worse(pictures(n, size_px=size_px))
    return open_footage(write_video(tmp_path / "gen" / "clip.avi", images, fps=fps))


@pytest.mark.parametrize(
    ("changes", "complaint", "note"),
    [
        (
            {"n": 6},
            (
                "has 6 frames, the real clip 8; "
                "`--length truncate` compares until the shorter one ends"
            ),
            "truncated: generated 6 frames, the real clip 8",
        ),
        (
            {"size_px": (32, 24)},
            (
                "is 32x24 px, the real clip 64x48; "
                "`--resize area` resizes generated frames to the real ones"
            ),
            "resized: generated 32x24 px, the real clip 64x48",
        ),
        (
            {"fps": 30},
            (
                "has 30 frames a second, the real clip 25; "
                "`--rate ignore` compares frames by number all the same"
            ),
            "rate ignored: generated 30 frames a second, the real clip 25",
        ),
    ],
)
def test_what_differs_is_named_with_the_option_and_a_policy_leaves_a_note(
    changes: dict[str, Any], complaint: str, note: str, real: Footage, tmp_path: Path
) -> None:
    generated = other(tmp_path, **changes)

    with pytest.raises(MediaError) as caught:
        fit_clips(real, generated, STRICT, min_side_px=1)
    fit = fit_clips(real, generated, LOOSE, min_side_px=1)

    assert str(caught.value) == f"{generated.path}: {complaint}"
    assert fit.notes == (note,)
    assert fit.n_frames == changes.get("n", 8)


def test_equal_clips_need_no_policy(real: Footage, tmp_path: Path) -> None:
    fit = fit_clips(real, other(tmp_path), STRICT, min_side_px=11)

    assert (fit.n_frames, fit.notes) == (8, ())


def test_pictures_have_no_rate_that_could_differ(real: Footage, tmp_path: Path) -> None:
    generated = open_footage(write_pictures(tmp_path / "gen" / "clip", pictures(8)))

    assert fit_clips(real, generated, STRICT, min_side_px=1).notes == ()


def test_frames_before_the_first_one_do_not_count(real: Footage, tmp_path: Path) -> None:
    def n_frames(first_frame: int) -> int:
        policies = Policies(**{**asdict(STRICT), "first_frame": first_frame})
        return fit_clips(real, other(tmp_path), policies, min_side_px=1).n_frames

    assert n_frames(1) == 7
    assert n_frames(7) == 1
    with pytest.raises(MediaError, match="has no frame to score from frame 8 on"):
        n_frames(8)


def test_frames_that_are_too_small_are_refused(real: Footage, tmp_path: Path) -> None:
    assert fit_clips(real, other(tmp_path), STRICT, min_side_px=48).n_frames == 8
    complaint = r"clip.avi: is 64x48 px; the metrics asked for need 49 px or more a side"
    with pytest.raises(MediaError, match=complaint):
        fit_clips(real, other(tmp_path), STRICT, min_side_px=49)


def test_policies_and_what_they_did_stand_in_the_result(tmp_path: Path) -> None:
    images = pictures(8)
    write_video(tmp_path / "real" / "clip.avi", images)
    half = worse(pictures(6, size_px=(32, 24), seed=4))
    write_video(tmp_path / "gen" / "clip.avi", half, fps=30)
    policies = Policies(length="truncate", resize="area", rate="ignore", first_frame=2)

    report = scored(
        pairing_of(tmp_path / "real", tmp_path / "gen"), tmp_path / "out", "psnr", policies=policies
    )

    assert report.policies == asdict(policies)
    clip = report.clips["clip"]
    assert [note.partition(":")[0] for note in clip.notes] == [
        "truncated",
        "resized",
        "rate ignored",
    ]
    # Twice the size by INTER_AREA is every pixel twice.
    big = half.repeat(2, axis=1).repeat(2, axis=2)
    expected = np.mean([psnr(images[at], big[at]) for at in range(2, 6)])
    assert clip.n_frames == 4
    assert clip.values["psnr"] == pytest.approx(expected, abs=1e-9)


def test_without_a_policy_the_clip_fails_by_name_and_the_others_go_on(tmp_path: Path) -> None:
    for name, n in (("a", 8), ("b", 7)):
        write_video(tmp_path / "real" / f"{name}.avi", pictures(8))
        write_video(tmp_path / "gen" / f"{name}.avi", worse(pictures(n)))

    report = scored(pairing_of(tmp_path / "real", tmp_path / "gen"), tmp_path / "out", "psnr")

    assert list(report.clips) == ["a"]
    assert report.coverage.failed.keys() == {"b"}
    assert report.coverage.failed["b"].startswith(f"{tmp_path / 'gen' / 'b.avi'}: has 7 frames")
    assert (report.coverage.n_scored, report.coverage.n_expected) == (1, 2)
    assert not report.complete
    assert report.metrics["psnr"].n_clips == 1

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.metrics.scoring.clips import (
    STRICT,
    pairing_of,
    pictures,
    scored,
    worse,
    write_pictures,
    write_video,
)
from tpbench import score
from tpbench.errors import MediaError
from tpbench.metrics.pixels import psnr
from tpbench.metrics.scoring.policies import (
    Policies,
    ResizePolicy,
    fit_clips,
    is_refused_now,
    read_alike,
)
from tpbench.metrics.scoring.report import ScoreReport
from tpbench.video import Footage, open_footage

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

    assert report.policies == policies.to_json()
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


@pytest.mark.parametrize(
    ("size_px", "remedy"),
    [
        ((144, 48), "it looks like 3 pictures side by side: cut out the generated one first"),
        ((152, 50), "it looks like 3 pictures side by side"),
        ((48, 96), "it looks like 2 pictures one above the other"),
        ((24, 16), "resizing would distort it: crop it, or fill it up, to the shape of the real"),
        ((64, 36), "resizing would distort it"),
        ((48, 46), "resizing would distort it"),
    ],
)
@pytest.mark.parametrize("policies", [STRICT, LOOSE])
def test_another_shape_is_refused_under_every_policy_and_never_advised_to_be_squashed(
    policies: Policies, size_px: tuple[int, int], remedy: str, tmp_path: Path
) -> None:
    real = open_footage(write_pictures(tmp_path / "r", pictures(2, size_px=(48, 48))))
    generated = open_footage(write_pictures(tmp_path / "g", pictures(2, size_px=size_px)))
    with pytest.raises(MediaError, match=f"px, the real clip 48x48, another shape; {remedy}") as no:
        fit_clips(real, generated, policies, min_side_px=1)
    assert "--resize" not in str(no.value)


@pytest.mark.parametrize(("real_px", "size_px"), [((1920, 1080), (854, 480)), ((99, 50), (50, 25))])
def test_sides_rounded_to_whole_pixels_are_the_same_shape(
    real_px: tuple[int, int], size_px: tuple[int, int], tmp_path: Path
) -> None:
    real = open_footage(write_pictures(tmp_path / "r", pictures(1, size_px=real_px)))
    generated = open_footage(write_pictures(tmp_path / "g", pictures(1, size_px=size_px)))
    for one, other_one in ((real, generated), (generated, real)):
        assert fit_clips(one, other_one, LOOSE, min_side_px=1).notes[0].startswith("resized: ")


@pytest.mark.parametrize(
    ("real", "generated", "first_frame", "expected"),
    [
        # (first number, how many) of each side; places and number of frames
        ((0, 20), (5, 15), 0, (5, 0, 15)),
        ((5, 15), (0, 20), 0, (0, 5, 15)),
        ((0, 20), (5, 10), 0, (5, 0, 10)),
        ((0, 20), (0, 10), 0, (0, 0, 10)),
        ((3, 20), (1, 10), 0, (0, 2, 8)),
        ((0, 20), (1, 10), 1, (1, 0, 10)),
        ((0, 20), (1, 10), 4, (4, 3, 7)),
        ((0, 20), (1, 20), 0, (0, 0, 20)),
    ],
)
def test_truncated_pictures_belong_together_by_their_numbers(
    real: tuple[int, int],
    generated: tuple[int, int],
    first_frame: int,
    expected: tuple[int, int, int],
    tmp_path: Path,
) -> None:
    one = open_footage(write_pictures(tmp_path / "r", pictures(real[1]), first=real[0]))
    two = open_footage(write_pictures(tmp_path / "g", pictures(generated[1]), first=generated[0]))
    policies = Policies(**{**asdict(LOOSE), "first_frame": first_frame})
    fit = fit_clips(one, two, policies, min_side_px=1)
    assert (fit.first_frame, fit.first_generated, fit.n_frames) == expected
    numbers = f"generated pictures {generated[0]} to {sum(generated) - 1}, the real ones {real[0]}"
    assert any(numbers in note for note in fit.notes) == (real[0] != generated[0])


def test_pictures_whose_numbers_do_not_meet_are_refused(tmp_path: Path) -> None:
    real = open_footage(write_pictures(tmp_path / "r", pictures(5)))
    generated = open_footage(write_pictures(tmp_path / "g", pictures(4), first=10))
    with pytest.raises(MediaError, match="no picture number occurs on both sides: generated pict"):
        fit_clips(real, generated, LOOSE, min_side_px=1)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_pictures_beside_a_video_are_numbered_from_0_or_1_or_refused(
    first: int, real: Footage, tmp_path: Path
) -> None:
    generated = open_footage(write_pictures(tmp_path / "g", pictures(5), first=first))
    if first < 2:
        assert fit_clips(real, generated, LOOSE, min_side_px=1).first_generated == 0
        return
    with pytest.raises(MediaError, match="its pictures begin with number 2, and a video has no"):
        fit_clips(real, generated, LOOSE, min_side_px=1)


def test_pictures_lost_at_the_start_are_scored_against_their_own_real_ones(tmp_path: Path) -> None:
    images = pictures(20)
    write_pictures(tmp_path / "real" / "clip", images)
    write_pictures(tmp_path / "gen" / "clip", images[5:], first=5)

    def report() -> ScoreReport:
        return scored(
            pairing_of(tmp_path / "real", tmp_path / "gen"),
            tmp_path / "out",
            "psnr",
            "identical_share",
            policies=LOOSE,
        )

    first = report()
    assert first.metrics["identical_share"].value == 1.0
    frames = pd.read_parquet(tmp_path / "out" / "frames.parquet")
    assert list(frames["frame"]) == list(range(5, 20))
    assert "compared by number" in first.notes[0]

    # Renumbered pictures are another pairing, though their bytes are the same.
    for path in sorted((tmp_path / "gen" / "clip").iterdir()):
        number = int(path.stem.rpartition("_")[2])
        path.rename(path.with_name(f"frame_{number - 5:04d}.png"))
    assert report().clips["clip"].values["psnr"] < 30


def test_what_an_earlier_version_squashed_is_not_taken_for_measured() -> None:
    assert is_refused_now("resized: generated 144x48 px, the real clip 48x48")
    assert not is_refused_now("resized: generated 24x24 px, the real clip 48x48")
    assert not is_refused_now("truncated: generated 6 frames, the real clip 8")


def test_lossy_pictures_are_named_and_lossless_ones_are_not(tmp_path: Path) -> None:
    real = open_footage(write_pictures(tmp_path / "r", pictures(2)))
    lossy = tmp_path / "g"
    lossy.mkdir()
    for number, image in enumerate(pictures(2)):
        Image.fromarray(image).save(lossy / f"{number}.jpg")
    assert fit_clips(real, real, STRICT, min_side_px=1).notes == ()
    note = ("lossy pictures: generated jpeg",)
    assert fit_clips(real, open_footage(lossy), STRICT, min_side_px=1).notes == note


def test_a_protocol_that_squashes_as_its_source_does_says_so_and_an_option_refuses(
    tmp_path: Path,
) -> None:
    write_pictures(tmp_path / "real" / "clip", pictures(4, size_px=(48, 48)))
    write_pictures(tmp_path / "gen" / "clip", pictures(4, size_px=(64, 48)))

    def report(resize: ResizePolicy | None) -> ScoreReport:
        return score(
            tmp_path / "real",
            tmp_path / "gen",
            out=tmp_path / "out",
            protocol="talkingpose",
            metrics=["psnr"],
            resize=resize,
            workers=1,
        )

    squashed = report(None)
    assert squashed.notes == ("squashed: 1 clip, 'clip': generated 64x48 px, the real clip 48x48",)
    assert (squashed.policies["resize"], "shape" in squashed.policies) == ("area", False)
    # What is kept of that is not taken for what the option means.
    assert "another shape" in report("area").coverage.failed["clip"]
    assert report(None).coverage.n_scored == 1


# --- uneven time stamps


BY_NUMBER = Policies(length="truncate", resize="fail", rate="ignore")


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpbench.work.usable_cores", lambda: 1)


def write_stamped(path: Path, images: NDArray[np.uint8], stamps_ms: Sequence[int]) -> Path:
    """Write pictures without loss, each with its own stamp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "bgr0"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, stamp in zip(images, stamps_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(stamp), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def late_one(n: int = 60) -> list[int]:
    """25 a second, one picture late by 0.59 frames."""
    return [40 * k + (24 if k == 30 else 0) for k in range(n)]


def score_of(tmp_path: Path, protocol: str = "tpbench-v2") -> ScoreReport:
    metrics = ["psnr", "identical_share", "tje_d2"]
    return score(
        tmp_path / "real",
        tmp_path / "gen",
        out=tmp_path / "out",
        metrics=None if protocol == "talkingpose" else metrics,
        protocol=protocol,
    )


JITTER_MS = np.rint(np.random.default_rng(3).normal(0, 5, 60)).astype(int)


@pytest.mark.parametrize(
    "stamps_ms",
    [
        late_one(),
        sorted(1000 * k // 30 + int(JITTER_MS[k]) + 50 for k in range(60)),
        [0, *(50 + 1000 * k // 30 for k in range(59))],
        [40 * k + (4000 if k >= 40 else 0) for k in range(60)],
        [*(40 * k for k in range(59)), 100_000],
        [47 * k for k in range(60)],
    ],
    ids=["late", "jitter", "half a slot", "hole", "last", "other rate"],
)
def test_the_same_pictures_are_identical_whatever_their_stamps(
    tmp_path: Path, stamps_ms: list[int]
) -> None:
    images = pictures(60)
    write_stamped(tmp_path / "real" / "a.mkv", images, stamps_ms)
    write_pictures(tmp_path / "gen" / "a", images)
    report = score_of(tmp_path)
    clip = report.clips["a"]
    assert clip.n_frames == 60
    assert clip.values["identical_share"] == 1
    assert clip.values["tje_d2"] == 0


def test_even_stamps_leave_no_note_and_uneven_ones_do(tmp_path: Path) -> None:
    images = pictures(60)
    write_stamped(tmp_path / "real" / "a.mkv", images, late_one())
    write_video(tmp_path / "gen" / "a.avi", images)
    write_video(tmp_path / "real" / "b.avi", images)
    write_video(tmp_path / "gen" / "b.avi", images)
    report = score_of(tmp_path)
    (note,) = report.clips["a"].notes
    assert note.startswith(
        "uneven stamps: of the real clip (uneven time stamps: pictures up to 0.6"
    )
    assert note.endswith("compared picture by picture")
    assert report.clips["b"].notes == ()


def test_the_script_goes_by_number_of_picture(tmp_path: Path) -> None:
    images = pictures(60)
    write_stamped(
        tmp_path / "real" / "a.mkv", images, [*range(0, 2000, 40), *range(3000, 3100, 10)]
    )
    write_video(tmp_path / "gen" / "a.avi", images)
    report = score_of(tmp_path, "talkingpose")
    clip = report.clips["a"]
    assert clip.n_frames == 60
    assert {value for name, value in clip.values.items() if name.startswith("tje")} == {0}


def test_counts_in_errors_are_those_of_the_file(tmp_path: Path) -> None:
    real = open_footage(write_video(tmp_path / "real.avi", pictures(60)))
    stamps_ms = [40 * k for k in range(60) if k != 30]
    short = open_footage(write_stamped(tmp_path / "gen.mkv", pictures(59), [*late_one(59)]))
    holed = open_footage(write_stamped(tmp_path / "holed.mkv", pictures(59), stamps_ms))

    with pytest.raises(MediaError, match="has 59 frames, the real clip 60"):
        fit_clips(*read_alike(real, short, STRICT)[:2], STRICT, min_side_px=1)
    # One picture stands for two frames of the real clip: they agree on the timeline.
    reading = read_alike(real, holed, STRICT)
    assert fit_clips(reading.real, reading.generated, STRICT, min_side_px=1).n_frames == 60
    assert reading.notes[0].endswith("compared on an even timeline")
    assert len(list(reading.generated.images())) == 60
    by_number = read_alike(real, holed, BY_NUMBER)
    assert fit_clips(by_number.real, by_number.generated, BY_NUMBER, min_side_px=1).n_frames == 59
    assert len(list(by_number.generated.images())) == 59


def test_what_is_shown_as_something_else_is_noted(tmp_path: Path) -> None:
    images = pictures(10)
    real = open_footage(write_video(tmp_path / "real.avi", images))
    other = replace(real, shown_as=("HDR: PQ, shown as SDR",))
    assert read_alike(real, real, STRICT).notes == ()
    assert read_alike(real, other, STRICT).notes == ("HDR: PQ, shown as SDR (the generated clip)",)

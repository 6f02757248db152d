"""Clips whose time stamps are uneven: compared picture by picture, and the result says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring.clips import STRICT, pictures, write_pictures, write_video
from tpbench.errors import MediaError
from tpbench.metrics.scoring import run
from tpbench.metrics.scoring.policies import Policies, fit_clips, read_alike
from tpbench.metrics.scoring.report import ScoreReport
from tpbench.metrics.scoring.run import score
from tpbench.video import open_footage

BY_NUMBER = Policies(length="truncate", resize="fail", rate="ignore")


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "usable_cores", lambda: 1)


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

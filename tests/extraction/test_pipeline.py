from __future__ import annotations

import re
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import tpbench
from tests.extraction.conftest import MakeEvidence
from tpbench.dataset import Clip
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.filters import (
    ALL_FILTERS,
    SCREENING_FILTERS,
    described_measurements,
    judge_clip,
    judge_screened,
    reject_codes,
)
from tpbench.extraction.measures import Evidence
from tpbench.extraction.rows import (
    DUPLICATE_CODE,
    TRANSITION_CODE,
    RowMaker,
    duplicate_row,
    failed_row,
)
from tpbench.extraction.shots import Span
from tpbench.extraction.sources import Provenance, Source
from tpbench.extraction.steadying import SWITCH_COUNTS, skeleton_digest
from tpbench.extraction.tracks import Followed
from tpbench.extraction.writing import CropBox, WrittenClip
from tpbench.video import VideoInfo
from tpbench.video.display import Display

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeEvidence


SHA = "0123456789abcdef" * 4
SPAN = Span(shot_id=2, start_frame=30, end_frame=180)


def _source(path: str = "/data/talks/A talk.mp4", **changes: Any) -> Source:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "path": Path(path),
        "shown_path": f"talks/{Path(path).name}",
        "size_bytes": 5,
        "mtime_ns": 0,
        "sha256": SHA,
    }
    return Source(**(values | changes))


@pytest.fixture
def rows() -> RowMaker:
    detectors: Any = SimpleNamespace(
        source="mediapipe", skeleton_digest="s" * 64, hand_digest="h" * 64, face_digest="f" * 64
    )
    return RowMaker(
        source=_source(),
        info=VideoInfo(
            width_px=1280,
            height_px=720,
            fps=Fraction(30000, 1001),
            frame_count=900,
            duration_s=30.03,
            codec="h264",
            pixel_format="yuv420p",
            display=Display(size_px=(1280, 720)),
            variable_rate=False,
            time_base=Fraction(1, 30000),
            start_pts=0,
            has_audio=True,
        ),
        provenance=Provenance(url="https://example.org", licence="CC-BY"),
        detectors=detectors,
    )


@pytest.fixture
def followed(make_evidence: MakeEvidence) -> Followed:
    return Followed(span=SPAN, evidence=make_evidence(150), first_pts=30030)


def test_ids_say_when_the_clip_is_and_sort_in_time_order(rows: RowMaker) -> None:
    spans = [Span(shot_id=0, start_frame=k, end_frame=k + 200) for k in (0, 30, 3000, 200000)]
    ids = [rows.clip_id(span) for span in spans]
    assert ids[1] == "A-talk-01234567_00001001_00007674"
    assert ids == sorted(ids)
    assert len(set(ids)) == 4


def test_neighbouring_spans_of_one_frame_have_ids_of_their_own(rows: RowMaker) -> None:
    spans = [Span(shot_id=0, start_frame=k, end_frame=k + 1) for k in range(1000)]
    assert len({rows.clip_id(span) for span in spans}) == 1000


def test_a_transition_is_rejected_for_what_it_is(rows: RowMaker) -> None:
    row = rows.transition(SPAN)
    assert (row.status, row.reject_codes) == ("rejected", (TRANSITION_CODE,))
    assert (row.start_frame, row.end_frame, row.n_frames, row.shot_id) == (30, 180, 150, 2)
    assert row.measurements == {}


def test_a_row_says_where_its_frames_come_from(rows: RowMaker) -> None:
    row = rows.transition(SPAN)
    assert row.source_path == "talks/A talk.mp4"
    assert row.source_sha256 == SHA
    assert row.identity == row.source_id == "A-talk-01234567"
    assert (row.fps_num, row.fps_den, row.time_base) == (30000, 1001, "1/30000")
    assert (row.start_s, row.end_s) == pytest.approx((1.001, 6.006))
    assert (row.url, row.licence, row.uploader) == ("https://example.org", "CC-BY", None)
    assert row.tool_version == tpbench.__version__


def test_a_span_that_the_screening_refused_keeps_every_measurement(
    rows: RowMaker, make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    verdicts = judge_screened(make_evidence(150, luminance=[3] * 150), talkingpose.filters)
    row = rows.screened_out(SPAN, verdicts)
    assert (row.status, row.reject_codes) == ("rejected", ("image.too_dark",))
    assert row.measurements["luminance_levels"] == 3
    assert row.thresholds["luminance_levels"] == talkingpose.filters["image.too_dark"]
    assert set(row.measurements) == set(row.thresholds) == {v.measurement for v in verdicts}
    assert row.crop_x0 is None


def test_a_kept_clip_has_its_files_its_crop_and_all_measurements(
    rows: RowMaker, followed: Followed, talkingpose: ExtractionConfig
) -> None:
    verdicts = judge_clip(followed.evidence, talkingpose.filters)

    row = rows.followed(
        followed,
        track_id=4,
        verdicts=verdicts,
        crop=CropBox(x0_px=320, y0_px=90, side_px=540),
        written=WrittenClip(
            size_px=512, clip_sha256="1" * 64, keypoints_sha256="2" * 64, pose_sha256="3" * 64
        ),
    )

    assert (row.status, row.reject_codes) == ("kept", ())
    assert (row.crop_x0, row.crop_y0, row.crop_x1, row.crop_y1) == (0.25, 0.125, 0.671875, 0.875)
    assert (row.out_size_px, row.track_id, row.start_pts) == (512, 4, 30030)
    assert (row.clip_sha256, row.keypoints_sha256, row.pose_sha256) == (
        "1" * 64,
        "2" * 64,
        "3" * 64,
    )
    assert row.pose_source == "mediapipe"
    assert row.skeleton_digest == skeleton_digest(rows.detectors) != "s" * 64
    assert len(row.measurements) == len(talkingpose.filters) + len(SWITCH_COUNTS)
    assert row.measurements["left_hip_switches"] == 0
    assert Clip.from_json(row.to_json()) == row


def test_a_followed_clip_that_was_refused_has_no_files(
    rows: RowMaker, make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    evidence = make_evidence(150, face_yaw_deg=[80] * 150)
    row = rows.followed(
        Followed(span=SPAN, evidence=evidence, first_pts=None),
        track_id=0,
        verdicts=judge_clip(evidence, talkingpose.filters),
        crop=CropBox(x0_px=0, y0_px=0, side_px=720),
        written=None,
    )
    assert row.status == "rejected"
    assert row.reject_codes == ("face.turned", "face.rarely_frontal")
    assert row.clip_sha256 is None
    assert row.out_size_px is None


@pytest.mark.parametrize("quarantined", [0, 1])
def test_a_source_that_failed_is_one_row_with_its_error(quarantined: int) -> None:
    row = failed_row(_source(), "talks/A talk.mp4: no video", quarantined=bool(quarantined))
    assert row.status == ("quarantined" if quarantined else "failed")
    assert row.error == "talks/A talk.mp4: no video"
    assert row.source_path == "talks/A talk.mp4"


def test_a_duplicate_names_what_was_done_instead() -> None:
    row = duplicate_row(_source(duplicate_of="talks/b.mp4"))
    assert (row.status, row.reject_codes) == ("rejected", (DUPLICATE_CODE,))
    assert "talks/b.mp4" in (row.error or "")


def test_files_of_one_name_in_folders_of_one_name_have_rows_of_their_own() -> None:
    """They are shown alike, and a manifest holds every id once."""
    twins = [_source(f"/{disk}/talks/a.mp4", duplicate_of="x", sha256=None) for disk in "bc"]
    assert twins[0].shown_path == twins[1].shown_path
    assert len({duplicate_row(source).clip_id for source in twins}) == 2
    assert len({failed_row(source, "broken").clip_id for source in twins}) == 2


def _without(config: ExtractionConfig, *codes: str) -> ExtractionConfig:
    filters = config.filters | dict.fromkeys(codes)
    return config.model_copy(update={"filters": filters})


def test_screening_asks_its_filters_in_their_order(
    make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    full = make_evidence(200)
    cheap = Evidence(**{item.name: getattr(full, item.name) for item in fields(Evidence)})
    verdicts = judge_screened(cheap, talkingpose.filters)
    assert [verdict.code for verdict in verdicts] == [row.code for row in SCREENING_FILTERS]
    assert reject_codes(verdicts) == ()


def test_a_clip_is_asked_everything_with_the_thresholds_of_the_preset(
    make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    verdicts = judge_clip(make_evidence(200), talkingpose.filters)
    assert {verdict.code: verdict.threshold for verdict in verdicts} == talkingpose.filters
    assert [verdict.code for verdict in verdicts] == [row.code for row in ALL_FILTERS]
    assert reject_codes(verdicts) == ()


def test_every_filter_is_asked_even_when_the_first_refuses(
    make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    evidence = make_evidence(50, face_yaw_deg=[80] * 50, width_px=100)
    verdicts = judge_clip(evidence, talkingpose.filters)
    assert len(verdicts) == len(ALL_FILTERS)
    assert reject_codes(verdicts)[:2] == ("source.too_small", "clip.too_short")
    assert {"face.turned", "face.rarely_frontal"} <= set(reject_codes(verdicts))


@pytest.mark.parametrize("code", ["clip.too_short", "face.turned"])
def test_a_filter_that_is_off_is_not_asked(
    code: str, make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    evidence = make_evidence(50, face_yaw_deg=[80] * 50)
    verdicts = judge_clip(evidence, _without(talkingpose, code).filters)
    assert code not in {verdict.code for verdict in verdicts}
    assert len(verdicts) == len(ALL_FILTERS) - 1


def test_a_threshold_of_zero_is_not_off(
    make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    config = talkingpose.model_copy(
        update={"filters": talkingpose.filters | {"motion.camera": 0.0}}
    )
    verdicts = judge_clip(make_evidence(200, camera_shift_share=[0.1] * 199), config.filters)
    assert reject_codes(verdicts) == ("motion.camera",)


def test_every_measurement_is_described_for_people() -> None:
    described = described_measurements()
    codes = [item.code for item in described]
    assert codes == [row.code for row in ALL_FILTERS] + [""] * (len(SWITCH_COUNTS) + 1)
    for item in described:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", item.name)
        assert item.title
        assert item.meaning.endswith(".")
        assert item.meaning != item.title

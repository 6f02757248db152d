from __future__ import annotations

import re
from dataclasses import fields

import pytest

from tests.extraction.conftest import MakeEvidence
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters import (
    ALL_FILTERS,
    SCREENING_FILTERS,
    described_measurements,
    judge_clip,
    judge_screened,
    reject_codes,
)
from tpbench.extraction.steadying import SWITCH_COUNTS


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
    assert codes == [row.code for row in ALL_FILTERS] + [""] * len(SWITCH_COUNTS)
    for item in described:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", item.name)
        assert item.title
        assert item.meaning.endswith(".")
        assert item.meaning != item.title

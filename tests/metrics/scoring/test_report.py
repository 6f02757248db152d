from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from tpbench.errors import SubmissionError
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.records import ClipMeasurement
from tpbench.metrics.scoring.reduce import not_measured
from tpbench.metrics.scoring.report import (
    ClipScores,
    Coverage,
    MetricScore,
    ScoreReport,
    load_report,
    read_scores,
    write_frames,
    write_scores,
)


def metric_score(metric: str, **changes: Any) -> MetricScore:  # noqa: ANN401 - fields of a score
    return replace(
        not_measured(METRICS[metric], "because"),
        **{"status": "measured", "reason": None, **changes},
    )


def clip(name: str, **values: float) -> ClipScores:
    return ClipScores(
        clip_id=name,
        identity="Zoë",
        n_frames=120,
        real_sha256="1" * 64,
        generated_sha256="2" * 64,
        codec="h264",
        notes=("truncated: somehow",),
        values=values,
    )


@pytest.fixture
def report() -> ScoreReport:
    return ScoreReport(
        protocol={"id": "tpbench-v2+custom", "metrics": ("psnr", "ssim"), "levels": {"x": 0.1}},
        policies={"length": "fail"},
        real={"kind": "folder", "name": "real", "digest": None, "split": None},
        coverage=Coverage(
            n_expected=4, n_scored=2, missing=("m",), failed={"f": "f.mp4: broken"}, extra=("e",)
        ),
        metrics={
            "psnr": metric_score("psnr", value=math.inf, n_clips=2, n_infinite=2),
            "ssim": metric_score("ssim", value=0.1 + 0.2, low=0.25, high=1 / 3, level=0.95),
            "fid": not_measured(METRICS["fid"], "weights are missing"),
            "kid": metric_score(
                "kid", value=-1e-17, details={"windows": [1.0, math.nan, -math.inf]}
            ),
        },
        clips={
            "sub/a": clip("sub/a", psnr=math.inf, ssim=math.nan),
            "b": clip("b", psnr=30.25, ssim=0.5),
        },
        frames_sha256="3" * 64,
        environment={"python": "3.11"},
    )


def test_numbers_are_unrounded_and_what_json_has_no_number_for_has_a_word(
    report: ScoreReport, tmp_path: Path
) -> None:
    write_scores(tmp_path / "scores.json", report)

    found = read_scores(tmp_path / "scores.json")

    assert found["metrics"]["psnr"]["value"] == "inf"
    assert found["metrics"]["ssim"]["value"] == 0.1 + 0.2
    assert found["metrics"]["ssim"]["high"] == 1 / 3
    assert found["metrics"]["fid"]["value"] is None
    assert found["metrics"]["fid"]["status"] == "not_measured"
    assert found["metrics"]["fid"]["reason"] == "weights are missing"
    assert found["metrics"]["kid"]["value"] == -1e-17
    assert found["metrics"]["kid"]["details"]["windows"] == [1.0, None, "-inf"]
    assert found["clips"]["sub/a"]["values"] == {"psnr": "inf", "ssim": None}
    assert found["clips"]["b"]["identity"] == "Zoë"
    assert found["protocol"]["metrics"] == ["psnr", "ssim"]
    assert found["coverage"] == {
        "n_expected": 4,
        "n_scored": 2,
        "share": 0.5,
        "missing": ["m"],
        "failed": {"f": "f.mp4: broken"},
        "extra": ["e"],
        "hints": {},
    }
    assert list(found["metrics"]) == ["psnr", "ssim", "fid", "kid"]


@pytest.mark.parametrize("value", [0.1 + 0.2, -0.0, 1e-300, math.inf, -math.inf, math.nan])
def test_a_report_comes_back_as_it_was_written(
    value: float, report: ScoreReport, tmp_path: Path
) -> None:
    protocol = {"title": "three", "digest": "4" * 64, "version": 1, "quirks": []}
    metrics = {"l1": metric_score("l1", value=np.float64(value))}
    clips = {"b": replace(clip("b", psnr=value), n_values={"psnr": 3}, blanks={"ssim": "no"})}
    changed = replace(
        report,
        protocol={"id": "tpbench-v2", "metrics": ["l1"], **protocol},
        policies={"length": "fail", "first_frame": 1},
        metrics=metrics,
        clips=clips,
    )
    write_scores(tmp_path / "scores.json", changed)

    found, digest = load_report(tmp_path)

    assert repr(found.metrics["l1"].value) == repr(float(value))
    assert repr(found.clips["b"].values["psnr"]) == repr(float(value))
    assert found.to_json() == changed.to_json()
    assert digest == changed.to_json()["digest"]


def test_what_lacks_is_refused_with_its_place(report: ScoreReport, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", replace(report, clips={}))
    with pytest.raises(SubmissionError, match=r"tpbench writes them \(protocol.title: Field requ"):
        load_report(tmp_path)


def test_the_file_is_plain_json_and_equal_reports_give_equal_bytes(
    report: ScoreReport, tmp_path: Path
) -> None:
    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    write_scores(tmp_path / "one.json", report)
    write_scores(tmp_path / "two.json", report)

    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == report.to_json()
    assert text.endswith("}\n")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.30000000000000004", "0.30000000000000005e1"),
        ('"value": "inf"', '"value": NaN'),
        ('"value": "inf"', '"value": Infinity'),
        ('"missing": [\n   "m"\n  ]', '"missing": []'),
        ('"status": "not_measured"', '"status": "measured"'),
    ],
)
def test_what_was_changed_afterwards_is_noticed(
    old: str, new: str, report: ScoreReport, tmp_path: Path
) -> None:
    path = tmp_path / "scores.json"
    write_scores(path, report)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SubmissionError, match=r"scores.json: (was changed after|no scores that)"):
        read_scores(path)


def test_another_layout_of_the_same_content_is_no_change(
    report: ScoreReport, tmp_path: Path
) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(report.to_json(), sort_keys=True), encoding="utf-8")
    assert read_scores(path) == report.to_json()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no scores that can be read"),
        ("[]", "no scores of schema version 1"),
        ('{"schema_version": 2}', "no scores of schema version 1; score again"),
        ('{"schema_version": 1}', "was changed after it was written"),
    ],
)
def test_what_is_no_scores_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=complaint):
        read_scores(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SubmissionError, match="no scores that can be read"):
        read_scores(path)
    with pytest.raises(SubmissionError, match="missing: the run is not scored"):
        read_scores(tmp_path / "gone.json")


def test_a_frame_has_a_row_for_each_metric(report: ScoreReport) -> None:
    table = report.to_frame()
    assert list(table.index) == ["psnr", "ssim", "fid", "kid"]
    assert table.loc["ssim", "value"] == 0.1 + 0.2
    assert table.loc["ssim", "low"] == 0.25
    assert table.loc["fid", "reason"] == "weights are missing"
    assert table.loc["psnr", "value"] == math.inf
    assert "details" not in table.columns
    assert {"direction", "unit", "n_clips", "n_identities", "warning"} <= set(table.columns)


def test_a_frame_has_names_and_arrows_as_papers_print_them_and_marks_the_headline(
    report: ScoreReport,
) -> None:
    table = report.to_frame()
    assert table["label"].tolist() == ["PSNR", "SSIM", "FID", "KID"]
    assert table["arrow"].tolist() == ["↑", "↑", "↓", "↓"]
    assert table["headline"].tolist() == [True, True, False, False], "fid is not of its protocol"
    assert table.loc["psnr", "unit"] == "dB"


def test_a_frame_has_a_row_for_each_clip(report: ScoreReport) -> None:
    table = report.clips_frame()
    expected = pd.DataFrame(
        {
            "identity": ["Zoë", "Zoë"],
            "n_frames": [120, 120],
            "psnr": [math.inf, 30.25],
            "ssim": [math.nan, 0.5],
        },
        index=pd.Index(["sub/a", "b"], name="clip_id"),
    )
    pd.testing.assert_frame_equal(table, expected)


def test_a_report_without_any_clip_has_empty_tables(report: ScoreReport) -> None:
    table = replace(report, clips={}).clips_frame()
    assert table.index.name == "clip_id"
    assert table.empty
    assert list(table.columns) == ["identity", "n_frames"]


def test_a_report_is_complete_if_every_expected_clip_was_scored(report: ScoreReport) -> None:
    assert not report.complete
    whole = replace(report.coverage, n_scored=4, missing=(), failed={})
    assert replace(report, coverage=whole).complete
    assert whole.share == 1
    nothing = replace(report.coverage, n_expected=0, n_scored=0)
    assert nothing.share == 0


def record(name: str, values: list[float], *, first_frame: int = 0) -> ClipMeasurement:
    return ClipMeasurement(
        clip_id=name,
        real_sha256="",
        generated_sha256="",
        n_frames=len(values),
        first_frame=first_frame,
        width_px=8,
        height_px=8,
        fps=None,
        codec="h264",
        notes=(),
        keys={},
        features={},
        real_features={},
        columns={"psnr": np.array(values), "l1": np.zeros(len(values)), "left_out": np.ones(9)},
    )


def test_values_are_written_as_they_were_measured(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    records = [record("b", [0.1 + 0.2, math.inf, math.nan], first_frame=2), record("a", [7.0])]
    write_frames(path, records, ["psnr", "l1"])
    table = parquet.read_table(path)
    assert table.column_names == ["clip_id", "frame", "l1", "psnr"]
    assert table["clip_id"].cast(pa.string()).to_pylist() == ["b", "b", "b", "a"]
    assert table["frame"].to_pylist() == [2, 3, 4, 0]
    assert table["psnr"].null_count == 0, "not measured is NaN"
    assert repr(table["psnr"].to_pylist()) == repr([0.1 + 0.2, math.inf, math.nan, 7.0])
    assert list(tmp_path.iterdir()) == [path]


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_frames(tmp_path / name, [record("a", [1.0, 2.0]), record("b", [3.0])], ["psnr"])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_records_are_a_table_without_rows(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames.parquet", [], ["psnr"])
    table = parquet.read_table(tmp_path / "frames.parquet")
    assert (table.num_rows, table.column_names) == (0, ["clip_id", "frame", "psnr"])

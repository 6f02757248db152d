from __future__ import annotations

import math

import pytest

from tests.benchmark.papers import PROTOCOL, score, scores
from tpbench.benchmark.paper_table import Method
from tpbench.cli.numbers import print_numbers, remarks
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.reduce import not_measured
from tpbench.metrics.scoring.report import MetricScore

HOW = "Scored with care."


def missing(metric: str, *files: str) -> MetricScore:
    reason = f"weights '{files[0]}' are missing: run: tpbench weights pull {' '.join(files)}"
    return not_measured(METRICS[metric], reason)


def test_missing_model_files_take_one_line_that_gets_them_all() -> None:
    said = {
        "lpips": missing("lpips", "lpips-alexnet"),
        "fid": missing("fid", "fid-inception"),
        "kid": missing("kid", "fid-inception"),
        "akd_body": not_measured(METRICS["akd_body"], "nobody is found"),
    }
    files, nobody = remarks(said)
    assert files.startswith("not measured: lpips, fid, kid: model files are missing, run: tpbench")
    assert files.endswith(" weights pull metrics")
    assert nobody == "not measured: akd_body: nobody is found"


def test_metrics_with_the_same_remark_share_a_line_and_many_are_counted() -> None:
    names = [name for name in METRICS if name.startswith("drift_")][:9]
    (line,) = remarks({name: score(name, 0.5, warning="few frames") for name in names})
    assert line == f"{', '.join(names[:6])} and 3 more: few frames"


def test_infinite_clips_are_counted_in_the_right_number() -> None:
    assert list(remarks({"psnr": score("psnr", 30.0, n_infinite=1)})) == [
        "psnr: infinite in 1 more clip, excluded from the mean"
    ]


def test_a_missing_interval_is_named_unless_no_value_has_one() -> None:
    bare = {"low": None, "high": None, "interval_reason": "3 identities"}
    psnr, ssim = score("psnr", 30.0, **bare), score("ssim", 0.5)
    blank = score("l1", math.nan, **bare)
    assert list(remarks({"psnr": psnr, "l1": blank})) == ["no interval: 3 identities"]
    assert list(remarks({"psnr": psnr, "ssim": ssim})) == ["no interval of psnr: 3 identities"]


def test_remarks_of_one_method_of_several_begin_with_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = scores(psnr=30.0, ssim=0.5)
    other = {**good, "psnr": score("psnr", 20.0, warning="odd")}
    methods = [Method(name="A", scores=good), Method(name="B", scores=other)]
    print_numbers(methods, PROTOCOL, how=HOW, notes=["a note", "a note"])
    lines = capsys.readouterr().out.splitlines()
    assert "B: psnr: odd" in lines
    assert lines.count("a note") == 1
    assert sum(line.startswith("not measured: lpips") for line in lines) == 1
    assert f"How to report: {HOW}" in lines


def test_both_means_are_told_where_the_protocol_asks_for_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"psnr": score("psnr", 30.0, mean_of_frames=29.5, n_values=7)}
    protocol = {**PROTOCOL, "told_beside": "mean_of_frames"}
    print_numbers([Method(name="A", scores=found)], protocol, how=HOW)
    out = capsys.readouterr().out
    assert "psnr: mean over clips; the mean over all 7 frames or terms is 29.5" in out


def test_names_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    methods = [Method(name=name, scores=scores(psnr=30.0)) for name in ("A\x1b[31m", "B")]
    for form in ("table", "md", "latex", "csv"):
        print_numbers(methods, PROTOCOL, how=HOW, form=form)
    assert "\x1b" not in capsys.readouterr().out

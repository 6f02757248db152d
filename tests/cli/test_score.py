from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.benchmark.papers import parsed_rows
from tests.cli.conftest import invoke
from tests.metrics.scoring.clips import pictures, worse, write_pictures, write_set
from tpbench.errors import SubmissionError

NAME = "[red]odd[red] name \N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m\nof a clip"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Real, generated, and where results go; clip `b` is generated without a flaw."""
    clips = {"a": pictures(4), "b": pictures(5, seed=1)}
    real = write_set(tmp_path / "real", clips)
    generated = write_set(tmp_path / "gen", {"a": worse(clips["a"]), "b": clips["b"]})
    return real, generated, tmp_path / "out"


def run(folders: tuple[Path, Path, Path], *options: str, metrics: str = "psnr") -> Result:
    real, generated, out = folders
    words = ("--real", real, "--generated", generated, "--out", out, "--metrics", metrics)
    return invoke("score", *words, "--workers", "1", *options)


def test_no_number_is_cut_however_narrow_the_terminal(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {}
    for columns in ("20", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        shown[columns] = run(folders, metrics="psnr,delta_e,motion_ratio").stdout
        assert "…" not in shown[columns].replace(" … ", "")
    rows = {
        columns: [line.split()[:3] for line in said.splitlines()] for columns, said in shown.items()
    }
    for name in ("psnr", "delta_e", "motion_ratio"):
        (wide,) = (row for row in rows["200"] if row[:1] == [name])
        assert wide in rows["20"]
    assert "no room for: clips, unit; a wider terminal" in shown["20"]


def test_the_headline_is_shown_and_the_rest_on_request(folders: tuple[Path, Path, Path]) -> None:
    real, generated, out = folders
    words = ("--real", real, "--generated", generated, "--out", out, "--workers", "1", "--offline")
    short = invoke("score", *words).stdout
    whole = invoke("score", *words, "--all").stdout
    headline = [line.split()[0] for line in short.split("\n\n")[0].splitlines()[2:]]
    assert headline == ["psnr", "ssim", "tje_d2", "motion_ratio"]
    assert [line.split()[0] for line in whole.splitlines()[2:6]] == headline
    assert "\nl1 " in whole
    assert "more metrics: --all, or scores.json" in short
    assert "--all" not in whole
    # Remarks concern what is shown; missing model files take one line.
    assert short.count("not measured: ") == 1
    assert "run: tpbench weights pull metrics" in short
    assert "face_psnr" not in short
    assert "face_psnr" in whole
    assert len(short.splitlines()) < 24


def test_metrics_that_were_named_are_all_shown(folders: tuple[Path, Path, Path]) -> None:
    said = run(folders, metrics="l1,psnr").stdout
    assert [line.split()[0] for line in said.splitlines()[2:4]] == ["psnr", "l1"]
    assert "more metric" not in said


def test_how_to_report_the_numbers_and_the_rule_of_the_first_frame_are_printed(
    folders: tuple[Path, Path, Path],
) -> None:
    said = " ".join(run(folders).stdout.split())
    digest = json.loads((folders[2] / "scores.json").read_text())["digest"]
    assert "How to report: Scored with tpbench" in said
    assert "All frames are scored, the first one (frame 0) too" in said
    assert f"Digest of the scores: {digest[:12]}." in said
    later = " ".join(run(folders, "--first-frame", "1").stdout.split())
    assert "Frame 0, the reference, is not scored" in later


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("md", "| Metric | Value |"),
        ("latex", "% \\usepackage{booktabs}"),
        ("csv", "method,metric,"),
    ],
)
def test_of_another_form_stdout_has_the_table_alone(
    form: str, first: str, folders: tuple[Path, Path, Path]
) -> None:
    result = run(folders, "--format", form, metrics="psnr,fid")
    assert result.stdout.startswith(first)
    assert "scored 2 of 2 clips" not in result.stdout
    assert "scored 2 of 2 clips" in result.stderr
    assert "not measured: fid" in result.stderr
    if form == "csv":
        (row,) = csv.DictReader(io.StringIO(result.stdout))
        scores = json.loads((folders[2] / "scores.json").read_text())
        assert float(row["value"]) == scores["metrics"]["psnr"]["value"]
    if form == "latex":
        assert len(parsed_rows(result.stdout.rstrip("\n"))) == 2


def test_several_methods_share_a_table(folders: tuple[Path, Path, Path]) -> None:
    real, generated, out = folders
    methods = ("--generated", f"Mine_1={generated}", "--generated", f"Real={real}")
    words = ("--real", real, *methods, "--out", out, "--metrics", "psnr,l1", "--no-page")
    result = invoke("score", *words, "--format", "latex")
    rows = parsed_rows(result.stdout.rstrip("\n"))
    assert [row[0] for row in rows] == ["Method", "", r"Mine\_1", "Real"]
    assert rows[3][1:3] == ["100.0", "0.000"]  # not bold: two clips of no known identity
    text = invoke("score", *words).stdout
    assert text.splitlines()[0].split() == ["metric", "unit", "Mine_1", "Real"]
    assert "2 clips for every value" in text.splitlines()
    assert text.count("How to report") == 1


def test_blanks_in_the_list_of_metrics_are_passed_over(folders: tuple[Path, Path, Path]) -> None:
    result = run(folders, "--json", metrics=" psnr, ,,ssim ")
    assert result.exit_code == 0
    assert list(json.loads(result.stdout)["metrics"]) == ["psnr", "ssim"]


def test_a_name_can_neither_break_the_line_nor_steer_the_terminal(
    folders: tuple[Path, Path, Path],
) -> None:
    real, _generated, _out = folders
    (found,) = real.glob("a.*")
    found.rename(real / f"{NAME}{found.suffix}")
    result = run(folders)
    assert result.exit_code == 3
    told = r"[red]odd[red] name \u202e\x1b[31m\nof a clip: no generated video"
    assert result.stderr.splitlines()[0] == told


def test_what_happened_to_clips_stands_on_the_terminal_and_in_the_result(tmp_path: Path) -> None:
    images = pictures(6)
    for name in ("numbered", "Jos\u00e9", "gif", "Case"):
        write_pictures(tmp_path / "real" / name, images)
    write_pictures(tmp_path / "gen" / "numbered", images[2:], first=2)
    write_pictures(tmp_path / "gen" / "Jose\u0301", images[:, ::2, ::2])
    write_pictures(tmp_path / "gen" / "case", images)
    (tmp_path / "gen" / "gif.gif").touch()
    folders = (tmp_path / "real", tmp_path / "gen", tmp_path / "out")

    result = run(folders, "--length", "truncate", "--resize", "area")

    assert result.exit_code == 3
    told = [
        "names in another Unicode form, taken for the same: 1, such as 'Jos\u00e9' (real NFC, gen",
        "not read on the generated side: 1 .gif ('gif.gif'): no videos or pictures by their end",
        "generated, but no real clip has the name, so not scored: 'case'",
        "resized: 1 clip, 'Jos\u00e9': generated 32x24 px, the real clip 64x48",
        "truncated: 1 clip, 'numbered': generated 4 frames, the real clip 6; generated pictures 2",
    ]
    for line in told:
        assert line in result.stdout
    assert "Case: no generated video: there is 'case', which differs in upper" in (result.stderr)
    assert "gif: no generated video: 'gif.gif' is not read: convert it" in result.stderr
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [note[:20] for note in written["notes"]] == [line[:20] for line in told]
    assert sorted(written["coverage"]["hints"]) == ["Case", "gif"]
    assert str(tmp_path) not in json.dumps(written["notes"])


def test_only_files_that_are_not_read_are_said_where_nothing_matches(tmp_path: Path) -> None:
    write_pictures(tmp_path / "real" / "a", pictures(2))
    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / "a.gif").touch()
    with pytest.raises(SubmissionError, match=r"0 generated; .*; 'a\.gif' is not read: convert it"):
        run((tmp_path / "real", tmp_path / "gen", tmp_path / "out"))

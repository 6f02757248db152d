from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

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
    with pytest.raises(SubmissionError, match=r"0 generated .*; 'a\.gif' is not read: convert it"):
        run((tmp_path / "real", tmp_path / "gen", tmp_path / "out"))

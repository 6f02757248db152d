from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from tests.metrics.scoring.clips import pictures, worse, write_set
from tpbench.cli import score

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(score.score)

NAME = "[red]odd[red] name \N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m\nof a clip"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Real, generated, and where results go; clip `b` is generated without a flaw."""
    clips = {"a": pictures(4), "b": pictures(5, seed=1)}
    real = write_set(tmp_path / "real", clips)
    generated = write_set(tmp_path / "gen", {"a": worse(clips["a"]), "b": clips["b"]})
    return real, generated, tmp_path / "out"


def run(folders: tuple[Path, Path, Path], *options: str, metrics: str = "psnr") -> Result:
    real, generated, out = map(str, folders)
    words = ["--real", real, "--generated", generated, "--out", out, "--metrics", metrics]
    return CliRunner().invoke(app, [*words, "--workers", "1", *options], catch_exceptions=False)


def test_no_number_is_cut_however_narrow_the_terminal(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {}
    for columns in ("20", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        shown[columns] = run(folders, metrics="psnr,delta_e,motion_ratio").stdout
        assert "…" not in shown[columns].replace(" … ", "")

    assert shown["20"] == shown["200"]


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
    told = r"[red]odd[red] name \u202e\x1b[31m\nof a clip: nothing was generated for it"
    assert result.stderr.splitlines()[0] == told

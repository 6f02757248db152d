"""What a scoring will meet, from headers alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tests.metrics.scoring.clips import custom, pictures, worse, write_set
from tpbench import score
from tpbench.metrics.scoring.policies import policies_of
from tpbench.metrics.scoring.request import ScoreRequest, ScoringSetting, open_real, pair_folder
from tpbench.metrics.scoring.trial import Trial, try_scoring


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four real clips: one fits, one is longer, one is damaged, one was not generated."""
    real = {name: pictures(6, seed=at) for at, name in enumerate(("fits", "long", "bad", "none"))}
    write_set(tmp_path / "real", real)
    write_set(
        tmp_path / "gen", {"fits": worse(real["fits"]), "long": pictures(7), "bad": real["bad"]}
    )
    (tmp_path / "gen" / "bad.avi").write_bytes(b"no video")
    return tmp_path / "real", tmp_path / "gen"


def tried(folders: tuple[Path, Path], **options: str) -> Trial:
    protocol = custom("psnr", "fid")
    policies = policies_of(protocol, length=options.get("length"))  # type: ignore[arg-type]
    real = open_real(ScoreRequest(real=folders[0]), hashed=False)
    setting = ScoringSetting(protocol=protocol, policies=policies, offline=True)
    return try_scoring(pair_folder(real, folders[1], None), setting)


def test_it_foresees_what_scoring_then_finds(folders: tuple[Path, Path], tmp_path: Path) -> None:
    trial = tried(folders)
    found = score(*folders, out=tmp_path / "out", metrics=["psnr"], workers=1).coverage
    assert (trial.n_expected, trial.n_fitting, trial.n_frames) == (4, 1, 6)
    assert trial.missing == found.missing == ("none",)
    assert trial.failed.keys() == found.failed.keys() == {"long", "bad"}
    assert "has 7 frames, the real clip 6" in trial.failed["long"]
    assert list(trial.not_measured) == ["fid"]
    assert not trial.complete


def test_policies_count(folders: tuple[Path, Path]) -> None:
    trial = tried(folders, length="truncate")
    assert (trial.n_fitting, trial.n_frames) == (2, 12)
    assert trial.notes == ("long: truncated: generated 7 frames, the real clip 6",)


def test_no_frame_is_decoded_and_nothing_is_written(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_arguments: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("tpbench.video.footage.Footage.images", never)
    before = sorted(tmp_path.rglob("*"))
    words = ("--real", folders[0], "--generated", folders[1], "--out", tmp_path / "out")
    done = invoke("score", *words, "--metrics", "psnr", "--dry-run")
    assert done.exit_code == 3
    assert "gen: 1 of 4 clips can be scored, 6 frames" in done.stdout.splitlines()
    assert "gen: none: no generated video" in done.stderr.splitlines()
    assert sorted(tmp_path.rglob("*")) == before

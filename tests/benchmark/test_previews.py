"""The videos of scored methods on the page: small, checked by their sha256, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.scoring.clips import pictures, worse, write_set
from tpbench.benchmark import previews
from tpbench.benchmark.leaderboard.tables import build_leaderboard
from tpbench.benchmark.run_folder import RunFolder
from tpbench.benchmark.scored import ScoredMethods, score_methods
from tpbench.metrics.scoring.request import ScoreRequest
from tpbench.video import Footage, probe, read_frames

NAME = "sub/b c"


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes of their own: they are tested elsewhere."""
    monkeypatch.setattr("tpbench.work.usable_cores", lambda: 1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """Two real clips of odd sides, one as pictures, and the videos of two methods."""
    clips = {name: pictures(6, size_px=(65, 49), seed=at) for at, name in enumerate(("a", NAME))}
    real = write_set(tmp_path / "real", clips)
    return real, {
        name: write_set(
            tmp_path / name, {clip: worse(x, by=by) for clip, x in clips.items()}, ending=ending
        )
        for name, by, ending in (("X", 8, ".avi"), ("Y", 4, ""))
    }


def scored(folders: tuple[Path, dict[str, Path]], out: Path, *, page: bool = True) -> ScoredMethods:
    request = ScoreRequest(real=folders[0], metrics=["psnr"])
    return score_methods(request, folders[1], out=out, page=page)


def test_the_page_has_real_and_generated_videos_of_every_clip(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    scored(folders, tmp_path / "out")
    media = tmp_path / "out/leaderboard/media"
    found = sorted(path.relative_to(media).as_posix() for path in media.rglob("*.mp4"))
    stems = ("a", "sub_b_c-1d073649")
    assert found == [
        f"{side}/{stem}.mp4" for side in ("generated/X", "generated/Y", "real") for stem in stems
    ]
    for path in media.rglob("*.mp4"):
        info = probe(path)
        assert (info.width_px, info.height_px, info.frame_count) == (64, 48, 6)
        assert info.fps == 25
    video = media / "real" / "sub_b_c-1d073649.mp4"
    shown = np.stack([frame.image for frame in read_frames(video)]).astype(int)
    assert abs(shown - pictures(6, size_px=(65, 49), seed=1)[:, :48, :64]).mean() < 12


def test_without_a_page_there_are_no_videos(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    found = scored(folders, tmp_path / "out", page=False)
    assert not list((tmp_path / "out").rglob("*.mp4"))
    assert found.board is not None
    assert found.board.page is None


def test_previews_are_made_once_and_the_real_ones_for_the_first_method_only(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    write = previews._write

    def counting(path: Path, footage: Footage, *rest: object) -> None:
        made.append(path.parent.name)
        write(path, footage, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(previews, "_write", counting)
    scored(folders, tmp_path / "out")
    assert sorted(made) == ["preview"] * 4 + ["real"] * 2
    made.clear()
    scored(folders, tmp_path / "out")
    assert made == []
    for name in ("preview/a.mp4", "real/a.mp4"):
        (tmp_path / "out/X" / name).unlink()  # another method has a hard link of it
        (tmp_path / "out/X" / name).write_bytes(b"damaged")
    scored(folders, tmp_path / "out")
    assert sorted(made) == ["preview", "real"]


def test_a_new_real_clip_replaces_its_preview(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    scored(folders, tmp_path / "out")
    folder = RunFolder(path=tmp_path / "out" / "X")
    before = previews.preview_record(folder, "a")
    write_set(folders[0], {"a": pictures(6, size_px=(65, 49), seed=9)})
    scored(folders, tmp_path / "out")
    after = previews.preview_record(folder, "a")
    assert before is not None
    assert after is not None
    assert before.generated_sha256 == after.generated_sha256
    assert before.real_sha256 != after.real_sha256


def test_folders_moved_to_another_place_still_show_their_videos(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    scored(folders, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    build_leaderboard([tmp_path / "elsewhere"], tmp_path / "site")
    assert len(list((tmp_path / "site/media").rglob("*.mp4"))) == 6


def test_a_link_out_of_the_folder_is_not_published(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    scored(folders, tmp_path / "out")
    video = tmp_path / "out/X/preview/a.mp4"
    video.rename(tmp_path / "private.mp4")
    video.symlink_to(tmp_path / "private.mp4")
    build_leaderboard([tmp_path / "out"], tmp_path / "site")
    assert not (tmp_path / "site/media/generated/X/a.mp4").exists()
    assert (tmp_path / "site/media/generated/Y/a.mp4").exists()

"""What `score` makes of folders, datasets and options."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tests.metrics.scoring.clips import pictures, worse, write_pictures, write_set, write_video
from tests.talks import write_talk
from tpbench import score
from tpbench.canonical import digest_of
from tpbench.dataset import Clip, Dataset, finalise, split_dataset
from tpbench.dataset import clip_path as clip_path_of
from tpbench.errors import ConfigError, SubmissionError, TPBenchError
from tpbench.files import sha256_of
from tpbench.metrics.scoring import run

if TYPE_CHECKING:
    from tests.conftest import MediaMaker


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes of their own: they are tested elsewhere."""
    monkeypatch.setattr("tpbench.work.usable_cores", lambda: 1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Real, generated, and where results go; two clips."""
    clips = {"a": pictures(4), "sub/b": pictures(5, seed=1)}
    real = write_set(tmp_path / "real", clips)
    generated = write_set(tmp_path / "gen", {name: worse(x) for name, x in clips.items()})
    return real, generated, tmp_path / "out"


def test_videos_and_frame_folders_are_matched_with_one_another(tmp_path: Path) -> None:
    images = pictures(6)
    write_video(tmp_path / "real" / "sub" / "a.avi", images, fps=30)
    write_pictures(tmp_path / "gen" / "sub" / "a", worse(images))
    report = score(tmp_path / "real", tmp_path / "gen", out=tmp_path / "out", metrics=["psnr"])
    assert report.complete
    clip = report.clips["sub/a"]
    assert (clip.codec, clip.n_frames, clip.identity) == ("pictures", 6, None)
    digest = digest_of({"sub/a": sha256_of(tmp_path / "real" / "sub" / "a.avi")})
    assert report.real == {"kind": "folder", "name": "real", "digest": digest, "split": None}
    assert report.metrics["psnr"].interval_reason == "the identities of the clips are not known"


def test_one_clip_of_each_kind_of_fault_spoils_no_other(
    tmp_path: Path, make_media: MediaMaker
) -> None:
    images = pictures(60)
    good = write_video(make_media.folder / "good.avi", worse(images)).read_bytes()
    faults = {
        "good": good,
        "empty": b"",
        "text": make_media.text().read_bytes(),
        "sound": make_media.audio_only().read_bytes(),
        "cut": make_media.truncated().read_bytes(),
        "shorter": make_media.cfr(n=20, size=(64, 48)).read_bytes(),
        "smaller": make_media.cfr(n=60, size=(32, 24)).read_bytes(),
        "faster": make_media.cfr(n=60, fps=30).read_bytes(),
    }
    for name, data in faults.items():
        ending = "avi" if name == "good" else "mp4"
        write_video(tmp_path / "real" / f"{name}.avi", images)
        (tmp_path / "gen").mkdir(exist_ok=True)
        (tmp_path / "gen" / f"{name}.{ending}").write_bytes(data)
    pictures_of = write_pictures(tmp_path / "gen" / "gap", images)
    (pictures_of / "frame_0007.png").unlink()
    write_video(tmp_path / "real" / "gap.avi", images)
    write_video(tmp_path / "real" / "missing.avi", images)
    write_video(tmp_path / "gen" / "extra.avi", images)

    report = score(tmp_path / "real", tmp_path / "gen", out=tmp_path / "out", metrics=["psnr"])

    assert list(report.clips) == ["good"]
    assert report.metrics["psnr"].n_clips == 1
    assert report.coverage.missing == ("missing",)
    assert report.coverage.extra == ("extra",)
    assert list(report.coverage.failed) == sorted({*faults, "gap"} - {"good"})
    for name, line in report.coverage.failed.items():
        assert line.startswith(name), line
        assert "\n" not in line
    for name, option in (("shorter", "length"), ("smaller", "resize"), ("faster", "rate")):
        assert f"`--{option} " in report.coverage.failed[name]
    assert "picture 7 is missing" in report.coverage.failed["gap"]
    assert (report.coverage.n_expected, report.coverage.n_scored) == (10, 1)
    assert report.coverage.share == 0.1


@pytest.mark.parametrize("part", ["write_frames", "write_scores"])
def test_a_full_disk_is_one_clear_line(
    part: str, folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real, generated, out = folders
    with monkeypatch.context() as patch:
        patch.setattr(run, part, full)
        with pytest.raises(TPBenchError, match=r"No space left on device; .* run again"):
            score(real, generated, out=out, metrics=["psnr"])

    assert score(real, generated, out=out, metrics=["psnr"]).complete


def test_names_that_never_meet_are_one_clear_line(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    real, generated, out = folders
    with pytest.raises(SubmissionError, match=r"no generated video .* 1 generated \(first: 'b'\)"):
        score(real, generated / "sub", out=out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: is empty"):
        score(real, tmp_path / "empty", out=out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"protocol": "tpbench-v3"}, "no protocol is called 'tpbench-v3'; did you mean"),
        ({"protocol": "tpbench-v1"}, "nothing is scored by protocol 'tpbench-v1' any more"),
        ({"metrics": ["psrn"]}, "no metric is called 'psrn'; did you mean 'psnr'"),
        ({"metrics": []}, "name at least one metric"),
        ({"first_frame": -1}, "the first frame is 0 or later, not -1"),
        ({"workers": 0}, "want 1 worker or more, not 0"),
        ({"split": "test"}, "is no dataset"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    options: dict[str, object], complaint: str, folders: tuple[Path, Path, Path]
) -> None:
    real, generated, out = folders
    with pytest.raises(ConfigError, match=complaint):
        score(real, generated, out=out, **options)  # type: ignore[arg-type]  # the mistakes tested
    assert not out.exists()


@pytest.mark.usefixtures("networks")
def test_a_gpu_that_is_not_there_is_one_clear_line(folders: tuple[Path, Path, Path]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    real, generated, out = folders
    for metric in ("lpips", "psnr"):
        with pytest.raises(ConfigError, match=r"device 'cuda:1': no usable GPU, .*--device cpu"):
            score(real, generated, out=out, metrics=[metric], device="cuda:1")
    assert not out.exists()


def test_options_override_the_protocols_policies(folders: tuple[Path, Path, Path]) -> None:
    real, generated, out = folders
    strict = score(real, generated, out=out, metrics=["psnr"])
    loose = score(
        real, generated, out=out, metrics=["psnr"], length="truncate", resize="area", rate="ignore"
    )
    theirs = score(real, generated, out=out, protocol="talkingpose", length="fail")
    assert list(strict.policies.values()) == ["fail", "fail", "fail", 0]
    assert list(loose.policies.values()) == ["truncate", "area", "ignore", 0]
    assert list(theirs.policies.values()) == ["fail", "area", "ignore", 0]
    assert strict.protocol["id"] == "tpbench-v2+custom"
    assert theirs.protocol["id"] == "talkingpose"
    assert len(theirs.protocol["digest"]) == 64


def test_frames_before_the_first_are_not_scored_and_keep_their_numbers(
    folders: tuple[Path, Path, Path],
) -> None:
    real, generated, out = folders
    whole = score(real, generated, out=out, metrics=["psnr", "tje_d1"])
    before = pd.read_parquet(out / "frames.parquet").astype({"clip_id": str})

    report = score(real, generated, out=out, metrics=["psnr", "tje_d1"], first_frame=1)

    after = pd.read_parquet(out / "frames.parquet").astype({"clip_id": str})
    assert before["frame"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert after["frame"].tolist() == [1, 2, 3, 1, 2, 3, 4]
    assert after["clip_id"].tolist() == ["a"] * 3 + ["sub/b"] * 4
    later = before[before["frame"] > 0].reset_index(drop=True)
    np.testing.assert_array_equal(after["psnr"], later["psnr"])
    assert np.isnan(after["tje_d1"][[0, 3]]).all()
    assert [clip.n_frames for clip in report.clips.values()] == [3, 4]
    assert report.clips["a"].values["psnr"] != whole.clips["a"].values["psnr"]


# --- a dataset --------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four clips of four people, split."""
    folder = tmp_path / "talks"
    rows = []
    for at, person in enumerate(("ann", "bob", "cy", "dee")):
        row = Clip(
            clip_id=f"{person}-0a1b2c3d_0_160",
            status="kept",
            source_id=person,
            source_path=f"{person}.mp4",
            identity=person,
            n_frames=4,
            fps_num=25,
            fps_den=1,
            clip_sha256="0" * 64,
            keypoints_sha256="0" * 64,
            pose_sha256="0" * 64,
        )
        path = write_talk(clip_path_of(folder, row.clip_id), pictures(4, seed=at))
        rows.append(Clip.from_json({**row.to_json(), "clip_sha256": sha256_of(path)}))
    finalise(folder, rows, name="Small talks", config={}, models={}, measurements=())
    split_dataset(folder, test_share=0.5, seed=3)
    return Dataset.open(folder)


def test_a_dataset_brings_clip_ids_identities_and_its_digest(
    dataset: Dataset, tmp_path: Path
) -> None:
    clips = dataset.clips()
    for at, clip in enumerate(clips[:3]):
        write_pictures(tmp_path / "gen" / f"deep{at}" / clip.clip_id, pictures(4, seed=7))

    report = score(dataset.folder, tmp_path / "gen", out=tmp_path / "out", metrics=["psnr"])

    assert list(report.clips) == [clip.clip_id for clip in clips[:3]]
    assert [clip.identity for clip in report.clips.values()] == ["ann", "bob", "cy"]
    assert report.coverage.missing == (clips[3].clip_id,)
    assert report.real == {
        "kind": "dataset",
        "name": "Small talks",
        "digest": dataset.digest,
        "split": None,
    }
    reason = "3 identities: an interval needs at least 5"
    assert report.metrics["psnr"].interval_reason == reason


def test_a_split_is_all_that_is_expected(dataset: Dataset, tmp_path: Path) -> None:
    for clip in dataset.clips():
        write_pictures(tmp_path / "gen" / clip.clip_id, pictures(4, seed=7))
    test = [clip.clip_id for clip in dataset.clips(split="test")]
    assert 0 < len(test) < 4
    report = score(
        dataset.folder, tmp_path / "gen", out=tmp_path / "out", metrics=["psnr"], split="test"
    )
    assert list(report.clips) == test
    assert report.complete
    assert len(report.coverage.extra) == 4 - len(test)
    assert report.real["split"] == "test"


def test_a_table_counts_for_more_than_the_dataset(dataset: Dataset, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    rows = [f"{clip.clip_id},somebody" for clip in dataset.clips()]
    table.write_text("\n".join(["clip,identity", *rows]))
    clip = dataset.clips()[0]
    write_pictures(tmp_path / "gen" / clip.clip_id, pictures(4))

    report = score(
        dataset.folder,
        tmp_path / "gen",
        out=tmp_path / "out",
        metrics=["psnr"],
        identities=str(table),
    )

    assert report.clips[clip.clip_id].identity == "somebody"

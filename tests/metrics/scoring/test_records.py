from __future__ import annotations

import json
import math
import os
import time
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import (
    custom,
    pairing_of,
    pictures,
    scored,
    some_clips,
    worse,
    write_set,
)
from tpbench.errors import ConfigError, MissingDependencyError
from tpbench.files import sha256_of
from tpbench.metrics.registry import protocol
from tpbench.metrics.scoring import records
from tpbench.metrics.scoring.pairing import Pairing
from tpbench.metrics.scoring.records import (
    CacheEntry,
    ClipMeasurement,
    RecordFolder,
    check_availability,
    clear,
    content_key,
    entries,
    feature_count,
    key_of,
    real_cache_dir,
    require_all,
    trim,
)
from tpbench.metrics.scoring.tools import feature_file

N = 20


@pytest.fixture
def folder(tmp_path: Path) -> RecordFolder:
    return RecordFolder(tmp_path / "records", tmp_path / "kept")


def record(**changes: Any) -> ClipMeasurement:  # noqa: ANN401 - fields of a record
    draw = np.random.default_rng(0)
    psnr = draw.normal(30, 1, N)
    psnr[[0, 3]] = np.nan, np.inf
    values: dict[str, Any] = {
        "clip_id": "sub/a",
        "real_sha256": "1" * 64,
        "generated_sha256": "2" * 64,
        "n_frames": N,
        "first_frame": 1,
        "width_px": 64,
        "height_px": 48,
        "fps": Fraction(30000, 1001),
        "codec": "h264",
        "notes": ("resized: somehow",),
        "keys": {"psnr": "key", "motion": "other"},
        "features": {},
        "real_features": {},
        "columns": {
            "psnr": psnr,
            "identical": np.isinf(psnr).astype(np.float64),
            "motion_real": draw.random(N),
            "motion_generated": draw.random(N),
        },
    }
    return ClipMeasurement(**(values | changes))


def assert_equal(found: ClipMeasurement | None, expected: ClipMeasurement) -> None:
    assert found is not None
    for field in fields(ClipMeasurement):
        if field.name != "columns":
            assert getattr(found, field.name) == getattr(expected, field.name), field.name
    assert found.columns.keys() == expected.columns.keys()
    for name, column in expected.columns.items():
        assert found.columns[name].dtype == np.float64
        np.testing.assert_array_equal(found.columns[name], column)


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), None])
def test_what_was_written_is_read(folder: RecordFolder, fps: Fraction | None) -> None:
    folder.write(record(fps=fps))
    assert_equal(folder.read("sub/a"), record(fps=fps))


def test_equal_records_are_equal_bytes(folder: RecordFolder) -> None:
    folder.write(record())
    before = folder.record_path("sub/a").read_bytes()
    folder.write(record(columns=dict(sorted(record().columns.items()))))
    assert folder.record_path("sub/a").read_bytes() == before


def test_no_record_is_none(folder: RecordFolder) -> None:
    assert folder.read("sub/a") is None
    assert folder.finished(None, {"psnr": "key"}) == frozenset()


def test_a_damaged_record_never_passes_for_another(folder: RecordFolder) -> None:
    """Some bytes of a zip mean nothing; some hide a column, which is as good as not measured."""
    folder.write(record())
    path = folder.record_path("sub/a")
    good = path.read_bytes()
    for at in range(0, len(good), 3):
        damaged = bytearray(good)
        damaged[at] ^= (0x01, 0x20, 0x80, 0xFF)[at % 4]
        path.write_bytes(damaged)
        found = folder.read("sub/a")
        if found is not None and found.columns.keys() == record().columns.keys():
            assert_equal(found, record())
        else:
            finished = folder.finished(found, {"psnr": "key", "motion": "other"})
            assert len(finished) < 2, at
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        assert folder.read("sub/a") is None


def test_a_record_with_other_fields_is_none(folder: RecordFolder) -> None:
    path = folder.record_path("sub/a")
    path.parent.mkdir()
    metas: tuple[object, ...] = (
        {"clip_id": "sub/a"},
        {"clip_id": "sub/a", "fps": None, "new": 1},
        [],
    )
    for meta in metas:
        np.savez(path, meta=np.array(json.dumps(meta)))
        assert folder.read("sub/a") is None


@pytest.mark.parametrize("column", [np.zeros((N, 3)), np.array(["a"] * N), np.arange(N)])
def test_a_record_whose_columns_are_no_numbers_by_frame_is_none(
    column: Any,  # noqa: ANN401 - what a column must not be
    folder: RecordFolder,
) -> None:
    folder.write(record(columns={"psnr": column}))
    assert folder.read("sub/a") is None


def test_a_record_under_another_clips_name_is_none(folder: RecordFolder) -> None:
    folder.write(record())
    folder.record_path("sub/a").rename(folder.record_path("b"))
    assert folder.read("b") is None


def test_clips_whose_names_look_alike_have_records_of_their_own(folder: RecordFolder) -> None:
    names = ["sub/a", "sub_a", "sub/A", "../sub/a", "ä" * 300, "ä" * 299, "x y", "x\ty"]
    paths = {folder.record_path(name) for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {folder.record_path("a").parent}
    for name in names:
        folder.write(record(clip_id=name))
    assert [found.clip_id for name in names if (found := folder.read(name))] == names


def test_only_what_was_measured_under_an_equal_key_is_finished(folder: RecordFolder) -> None:
    now = {"psnr": "key", "motion": "changed", "ssim": "new"}
    assert folder.finished(record(), now) == {"psnr"}
    assert folder.finished(record(), {"psnr": "key", "motion": "other"}) == {"psnr", "motion"}


def test_a_meter_without_all_of_its_columns_is_not_finished(folder: RecordFolder) -> None:
    columns = record().columns
    keys = {"psnr": "key", "motion": "other"}
    lost = {name: column for name, column in columns.items() if name != "motion_real"}
    cut = {**columns, "psnr": columns["psnr"][:-1]}
    assert folder.finished(record(columns=lost), keys) == {"psnr"}
    assert folder.finished(record(columns=cut), keys) == {"motion"}


def test_features_are_finished_if_both_files_are_there_and_the_generated_is_the_records(
    folder: RecordFolder,
) -> None:
    generated, real = folder.generated_features("sub/a", "i3d"), folder.real_features("i3d", "kept")

    def write(path: Path, value: float) -> None:
        with feature_file(path, n=1, dim=400) as append:
            append(np.full((1, 400), value, np.float32))

    write(generated, 1.0)
    write(real, 2.0)
    found = record(
        keys={"i3d": "key"},
        features={"i3d": sha256_of(generated)},
        real_features={"i3d": "kept"},
    )

    assert folder.finished(found, {"i3d": "key"}) == {"i3d"}
    assert not folder.finished(replace(found, n_frames=40), {"i3d": "key"})
    write(generated, 3.0)
    assert not folder.finished(found, {"i3d": "key"})
    write(generated, 1.0)
    real.write_bytes(real.read_bytes()[:-1])
    assert not folder.finished(found, {"i3d": "key"})


def test_vectors_are_counted_by_network() -> None:
    assert [feature_count("inception", n) for n in (1, 15, 40)] == [1, 15, 40]
    assert [feature_count("i3d", n) for n in (1, 15, 40)] == [0, 0, 2]
    assert [feature_count("disco_i3d", n) for n in (1, 16, 40)] == [0, 1, 25]


def test_a_key_is_of_names_and_values_and_not_of_their_order() -> None:
    assert key_of({"a": 1, "b": None}) == key_of({"b": None, "a": 1})
    assert len({key_of({"a": 1}), key_of({"a": 2}), key_of({"b": 1}), key_of({"a": "1"})}) == 4


# --- what is kept of real clips ---------------------------------------------------------------


DAY_S = 24 * 3600


def entry(
    folder: Path, *, content: str = "a" * 64, key: str = "0" * 64, days: float = 0, size: int = 10
) -> Path:
    name = content_key(content, key) if content else key
    path = folder / "inception" / "aa" / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    used_s = time.time() - days * DAY_S
    os.utime(path, (used_s, used_s))
    return path


def paths(found: list[CacheEntry]) -> list[Path]:
    return [each.path for each in found]


def test_a_cache_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert entries(tmp_path / "none") == []
    assert clear(tmp_path / "none") == []


def test_entries_come_with_what_was_unused_for_longest_first(tmp_path: Path) -> None:
    new, old = entry(tmp_path, key="1" * 64), entry(tmp_path, key="2" * 64, days=3)
    found = entries(tmp_path)
    assert paths(found) == [old, new]
    assert {(each.kind, each.content, each.size_bytes) for each in found} == {
        ("inception", "a" * 32, 10)
    }


def test_trim_keeps_the_latest_that_fit(tmp_path: Path) -> None:
    made = [entry(tmp_path, key=f"{at}" * 64, days=at) for at in range(5)]
    removed = trim(tmp_path, max_bytes=25)
    assert paths(removed) == [made[4], made[3], made[2]]
    assert [path.exists() for path in made] == [True, True, False, False, False]


def test_trim_removes_what_was_not_used_for_so_long(tmp_path: Path) -> None:
    made = [entry(tmp_path, key=f"{at}" * 64, days=at) for at in range(3)]
    trim(tmp_path, max_age_s=1.5 * DAY_S)
    assert [path.exists() for path in made] == [True, True, False]


def test_clear_by_content_takes_that_clip_and_what_may_be_its(tmp_path: Path) -> None:
    mine, other = entry(tmp_path, content="b" * 64), entry(tmp_path, content="c" * 64)
    unnamed = entry(tmp_path, content="", key="d" * 64)
    clear(tmp_path, contents=["b" * 64])
    assert (mine.exists(), other.exists(), unnamed.exists()) == (False, True, False)


def test_clear_of_a_kind_leaves_the_others(tmp_path: Path) -> None:
    path = entry(tmp_path)
    assert clear(tmp_path, kinds=["skeletons"]) == []
    assert paths(clear(tmp_path, kinds=["inception"])) == [path]


def test_files_of_others_and_links_stay(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    precious = entry(tmp_path / "elsewhere")
    (folder / "i3d" / "aa").mkdir(parents=True)
    (folder / "i3d" / "aa" / "thesis.npy").write_bytes(b"1")
    (folder / "i3d" / "aa" / f"{'e' * 64}.npy").symlink_to(precious)
    (folder / "linked").symlink_to(tmp_path / "elsewhere" / "inception")
    clear(folder)
    trim(folder, max_bytes=0)
    assert precious.exists()
    assert (folder / "i3d" / "aa" / "thesis.npy").exists()


def test_half_written_files_go_once_they_are_abandoned(tmp_path: Path) -> None:
    path = entry(tmp_path)
    fresh = path.with_name(f".{path.name}.0a1b2c3d.tmp")
    stale = path.with_name(f".{path.name}.ffffffff.tmp")
    fresh.write_bytes(b"")
    stale.write_bytes(b"")
    os.utime(stale, (0, 0))
    trim(tmp_path, max_bytes=10**9)
    assert fresh.exists()
    assert not stale.exists()


@pytest.mark.usefixtures("networks")
def test_what_scoring_keeps_is_found_by_the_clip_and_made_again_when_cleared(
    tmp_path: Path,
) -> None:
    sides = some_clips((18, 20), size_px=(96, 80))
    for side, clips in zip(("real", "gen"), sides, strict=True):
        for images in clips.values():
            for image in images:
                stand_ins.paint_person(image, 40 if side == "real" else 42, 30)
        write_set(tmp_path / side, clips)
    pairing = pairing_of(tmp_path / "real", tmp_path / "gen")
    first = scored(pairing, tmp_path / "out", "akd_body", "fid")
    content = sha256_of(tmp_path / "real" / "clip0.avi")
    before = entries(real_cache_dir())

    removed = clear(real_cache_dir(), contents=[content])

    assert {each.kind for each in before} == {"skeletons", "inception"}
    assert sorted(each.kind for each in removed) == ["inception", "skeletons"]
    assert all(each.content == content[:32] for each in removed)
    again = scored(pairing, tmp_path / "again", "akd_body", "fid")
    assert again.metrics == first.metrics
    assert {each.path for each in entries(real_cache_dir())} == {each.path for each in before}


# --- model files that are not there


@pytest.fixture
def pairing(tmp_path: Path) -> Pairing:
    images = pictures(4)
    write_set(tmp_path / "real", {"a": images})
    write_set(tmp_path / "gen", {"a": worse(images)})
    return pairing_of(tmp_path / "real", tmp_path / "gen")


def test_metrics_without_weights_need_nothing() -> None:
    found = check_availability(protocol("talkingpose"), offline=True)
    assert found.metrics == protocol("talkingpose").metrics
    assert [row.name for row in found.meters] == ["psnr", "tje_d1", "tje_d2", "tje_d5"]
    assert (dict(found.not_measured), found.skeleton_digest) == ({}, "")
    assert set(found.digests.values()) == {""}


def test_each_metric_names_the_command_that_gets_its_weights() -> None:
    found = check_availability(
        custom("psnr", "lpips", "fid", "kid", "fvd", "face_psnr"), offline=True
    )

    assert found.metrics == ("psnr",)
    assert [row.name for row in found.meters] == ["psnr"]
    commands = {
        "lpips": "tpbench weights pull lpips-alexnet",
        "fid": "tpbench weights pull fid-inception",
        "kid": "tpbench weights pull fid-inception",
        "fvd": "tpbench weights pull i3d-torchscript",
        "face_psnr": "tpbench weights pull mediapipe-pose-detector",
    }
    assert found.not_measured.keys() == commands.keys()
    for name, command in commands.items():
        assert command in found.not_measured[name]


def test_a_metric_waits_for_all_of_its_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    """LPIPS of the face needs skeletons and AlexNet; PSNR of the face skeletons only."""
    monkeypatch.setattr(records, "_skeleton_digest", lambda *_, **__: "people")
    found = check_availability(custom("face_lpips", "face_psnr"), offline=True)
    assert found.metrics == ("face_psnr",)
    assert found.skeleton_digest == "people"


def test_a_missing_library_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise MissingDependencyError("MediaPipe", "apt install libgl1")

    monkeypatch.setattr(records, "_skeleton_digest", refuse)

    found = check_availability(custom("psnr", "akd_body"), offline=True)

    assert found.not_measured == {"akd_body": "MediaPipe is not available: apt install libgl1"}


def test_what_lacks_weights_is_a_blank_with_the_command_and_the_rest_is_measured(
    pairing: Pairing, tmp_path: Path
) -> None:
    report = scored(pairing, tmp_path / "out", "lpips", "psnr", "fid", "drift_fid_slope")

    assert list(report.metrics) == ["lpips", "psnr", "fid", "drift_fid_slope"]
    assert math.isfinite(report.metrics["psnr"].value)
    for name in ("lpips", "fid", "drift_fid_slope"):
        found = report.metrics[name]
        assert found.status == "not_measured"
        assert math.isnan(found.value)
        assert found.n_clips == 0
        assert "tpbench weights pull" in (found.reason or "")
    assert report.clips["a"].values.keys() == {"psnr"}
    assert report.complete, "no clip is missing"
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())["metrics"]["lpips"]
    assert (stored["status"], stored["value"]) == ("not_measured", None)


def test_strict_makes_it_an_error_before_anything_is_measured(
    pairing: Pairing, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        scored(pairing, tmp_path / "out", "psnr", "lpips", "fid", strict=True)
    line = str(caught.value)
    assert line.startswith("metric 'lpips' can't be measured: weights 'lpips-alexnet' are missing")
    assert "tpbench weights pull lpips-alexnet" in line
    assert line.endswith("(and 1 more metrics lack something)")
    assert "\n" not in line
    assert not (tmp_path / "out").exists()


def test_nothing_that_could_be_measured_is_an_error(pairing: Pairing, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric 'fid' can't be measured: .*fid-inception"):
        scored(pairing, tmp_path / "out", "fid")


def test_strict_is_content_where_all_is_there(pairing: Pairing, tmp_path: Path) -> None:
    report = scored(pairing, tmp_path / "out", "psnr", strict=True)
    assert report.metrics["psnr"].status == "measured"
    require_all(check_availability(custom("psnr"), offline=True))


def test_weights_that_come_later_fill_the_blanks(
    pairing: Pairing, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = scored(pairing, tmp_path / "out", "psnr", "lpips")
    request.getfixturevalue("networks")
    after = scored(pairing, tmp_path / "out", "psnr", "lpips")
    assert before.metrics["lpips"].status == "not_measured"
    assert after.metrics["lpips"].status == "measured"
    assert after.metrics["lpips"].value > 0
    assert after.metrics["psnr"] == before.metrics["psnr"]

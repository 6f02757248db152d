from __future__ import annotations

import json
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tpbench.files import sha256_of
from tpbench.metrics.scoring.features import FeatureWriter
from tpbench.metrics.scoring.records import ClipRecord, RecordFolder, feature_count, key_of

N = 20


@pytest.fixture
def folder(tmp_path: Path) -> RecordFolder:
    return RecordFolder(tmp_path / "records", tmp_path / "kept")


def record(**changes: Any) -> ClipRecord:  # noqa: ANN401 - fields of a record
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
    return ClipRecord(**(values | changes))


def assert_equal(found: ClipRecord | None, expected: ClipRecord) -> None:
    assert found is not None
    for field in fields(ClipRecord):
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
        with FeatureWriter(path, n=1, dim=400) as writer:
            writer.append(np.full((1, 400), value, np.float32))
            writer.commit()

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

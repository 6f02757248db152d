"""The working copy of a folder in a bucket: what it holds, what is put, what is deleted."""

from __future__ import annotations

from pathlib import Path

from tests.storage.buckets import filled, keys
from tpbench.storage import objects
from tpbench.storage.addresses import Address
from tpbench.storage.mirror import Mirror


def mirror_of(address: Address, folder: Path) -> Mirror:
    return Mirror(
        address=address,
        folder=folder / "set",
        is_small=lambda relative: not relative.startswith("clips/"),
        not_mirrored={".work"},
    )


def test_large_files_are_empty_ones_here_and_what_the_bucket_lacks_is_deleted(
    bucket: Address, tmp_path: Path
) -> None:
    filled(bucket.below("set"), {"clips/a.mp4": "film", "t/x.csv": "x", ".leases/run": "{}"})
    filled(bucket, {"set2/x.csv": "of another"})
    mirror = mirror_of(bucket.below("set"), tmp_path)
    mirror.folder.mkdir()
    (mirror.folder / "old.csv").write_text("left")
    mirror.restore()
    found = {str(p.relative_to(mirror.folder)) for p in mirror.folder.rglob("*") if p.is_file()}
    assert found == {"clips/a.mp4", "t/x.csv"}
    assert (mirror.folder / "clips/a.mp4").read_text() == ""
    assert (mirror.folder / "t/x.csv").read_text() == "x"


def test_only_what_changed_is_put_in_order_and_what_went_is_deleted(
    bucket: Address, tmp_path: Path
) -> None:
    filled(bucket, {"clips/a.mp4": "film", "x.csv": "x", "y.csv": "y"})
    mirror = mirror_of(bucket, tmp_path)
    mirror.restore()
    before = {one.address.key: one for one in objects.list_objects(bucket)}
    (mirror.folder / "y.csv").unlink()
    (mirror.folder / "clips/b.mp4").write_text("another film")
    (mirror.folder / "z.csv").write_text("z")
    (mirror.folder / ".lock").write_text("")
    (mirror.folder / ".work").mkdir()
    (mirror.folder / ".work/half.mp4").write_text("half")
    mirror.put_changed(lambda relative: int(relative == "z.csv"))
    assert keys(bucket) == {"clips/a.mp4", "clips/b.mp4", "x.csv", "y.csv", "z.csv"}
    assert (mirror.folder / "clips/b.mp4").stat().st_size == 0
    mirror.delete_gone()
    after = {one.address.key: one for one in objects.list_objects(bucket)}
    assert keys(bucket) == {"clips/a.mp4", "clips/b.mp4", "x.csv", "z.csv"}
    assert after["clips/a.mp4"] == before["clips/a.mp4"]
    assert objects.read(bucket.below("clips/b.mp4")) == b"another film"


def test_a_fetched_file_is_emptied_again_and_never_put_empty(
    bucket: Address, tmp_path: Path
) -> None:
    filled(bucket, {"clips/a.mp4": "film"})
    mirror = mirror_of(bucket, tmp_path)
    mirror.restore()
    mirror.fetch(["clips/a.mp4"])
    assert (mirror.folder / "clips/a.mp4").read_text() == "film"
    mirror.empty(["clips/a.mp4"])
    (mirror.folder / "clips/a.mp4").touch()
    mirror.put_changed()
    assert objects.read(bucket.below("clips/a.mp4")) == b"film"


def test_a_file_that_moved_here_moves_there(bucket: Address, tmp_path: Path) -> None:
    filled(bucket, {"clips/a.mp4": "film"})
    mirror = mirror_of(bucket, tmp_path)
    mirror.restore()
    aside = mirror.folder / "aside/clips/a.mp4"
    aside.parent.mkdir(parents=True)
    (mirror.folder / "clips/a.mp4").rename(aside)
    (moved,) = mirror.moved_below("aside")
    mirror.move(moved.removeprefix("aside/"), moved)
    mirror.delete_gone()
    assert keys(bucket) == {"aside/clips/a.mp4"}
    assert objects.read(bucket.below(moved)) == b"film"


def test_a_fetch_checks_size_and_sha256(bucket: Address, tmp_path: Path) -> None:
    filled(bucket, {"a": "film"})
    for wanted in ({"size_bytes": 5}, {"sha256": "0" * 64}):
        try:
            objects.fetch(bucket.below("a"), tmp_path / "a", **wanted)
        except objects.UnreachableError as error:
            assert str(bucket.below("a")) in str(error)  # noqa: PT017 - both kinds
        else:
            raise AssertionError
        assert list(tmp_path.glob("*a*")) == []

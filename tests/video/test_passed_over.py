from __future__ import annotations

from typing import TYPE_CHECKING

from tpbench.video import passed_over

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def touch(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_files_with_other_endings_are_counted_with_an_example_of_each(tmp_path: Path) -> None:
    names = ["a.mp4", "b.gif", "sub/c.GIF", "d/0.png", "d/1.png", "d/notes", ".hid.gif", ".x/y.gif"]
    found = passed_over(touch(tmp_path, [*names, "poster.jpg"]), [tmp_path / "d"])

    assert found.files == ("b.gif", "d/notes", "poster.jpg", "sub/c.GIF")
    assert found.note("real") == (
        "not read on the real side: 2 .gif ('b.gif'), 1 without an ending ('d/notes'), "
        "1 .jpg ('poster.jpg'): no videos or pictures by their ending"
    )


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path: Path) -> None:
    found = passed_over(touch(tmp_path, ["a.mp4", "d/0.ppm"]), [tmp_path / "d"])
    assert (found.files, found.note("real")) == ((), None)


def test_a_missing_clip_is_told_of_the_file_that_may_be_it_and_what_to_do(tmp_path: Path) -> None:
    names = ["b.gif", "sub/c.tar", "frames/0.npy", "odd.xyz", "v1.2.h264", "z/one/two.gif"]
    found = passed_over(touch(tmp_path, names), [])

    hints = found.hints(["b", "sub/c", "frames", "odd", "v1.2", "gone"], by_own_name=False)
    assert list(hints) == ["b", "sub/c", "frames", "odd", "v1.2"]
    assert hints["b"].startswith("'b.gif' is not read: convert it: `ffmpeg -i IN.gif")
    assert hints["frames"] == (
        "'frames/0.npy' is not read: write its frames as numbered PNG, or as a video"
    )
    assert hints["odd"].endswith("it is no ending of a video or picture that is read")
    assert list(found.hints(["two", "c"], by_own_name=True)) == ["two", "c"]

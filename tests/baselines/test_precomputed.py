"""Videos made elsewhere are taken as they are, or refused with what was found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.baselines.driven_tasks import failures, made, make_task, pictures_of
from tpbench.baselines.base import AnimationTask, GeneratedFrame
from tpbench.baselines.precomputed import Precomputed
from tpbench.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from tests.conftest import MediaMaker


@pytest.fixture
def folder(make_media: MediaMaker) -> Path:
    """The folder with the videos; `make_media` writes beside it."""
    path = make_media.folder / "made elsewhere"
    path.mkdir()
    return path


@pytest.fixture
def put(make_media: MediaMaker, folder: Path) -> Callable[..., Path]:
    """Puts a video of 12 numbered frames into the folder."""

    def place(name: str, n: int = 12, size: tuple[int, int] = (64, 48)) -> Path:
        video = make_media.cfr(f"made{Path(name).suffix.lower()}", n=n, size=size)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(video, path))

    return place


def put_pictures(folder: Path, make_media: MediaMaker, names: Iterable[str]) -> None:
    """Picture k, by the order of names, carries number k."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), make_media.image(number))


def read(folder: Path, resize: str = "fail") -> Precomputed:
    return Precomputed({"folder": str(folder), "resize": resize}, weights_dir=None, device="auto")


def why(folder: Path, task: AnimationTask | None = None, resize: str = "fail") -> str:
    """Why the clip fails."""
    return failures(list(read(folder, resize).generate([task or make_task()])))["clip"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.MKV", "deep/down/clip.mov", "clip.avi"])
def test_a_video_is_found_by_its_name(put: Callable[..., Path], folder: Path, name: str) -> None:
    path = put(name)
    np.testing.assert_array_equal(made(read(folder), make_task()), pictures_of(path))


@pytest.mark.parametrize(
    "names",
    [
        [f"{k}.png" for k in range(12)],
        [f"frame_{k + 1:04d}.PNG" for k in range(12)],
        [f"clip7_{k}_out.png" for k in range(995, 1007)],
        [f"{k}.bmp" for k in range(12)],
    ],
)
def test_pictures_are_taken_in_order_of_their_numbers(
    make_media: MediaMaker, folder: Path, names: list[str]
) -> None:
    put_pictures(folder / "some/clip", make_media, names)
    (folder / "some/clip/.7.png").write_text("left by a file manager")
    (folder / "some/clip/log.txt").write_text("no frame")
    images = made(read(folder), make_task())
    np.testing.assert_array_equal(images, [make_media.image(k) for k in range(12)])


def test_other_files_do_not_count(put: Callable[..., Path], folder: Path) -> None:
    put("clip.mp4")
    put(".clip.mkv")
    put(".trash/clip.mkv")
    put("clip2.mp4")
    for name in ("clip.json", "clip.wav", "clip.png"):
        (folder / name).write_text("beside the video")
    assert len(made(read(folder), make_task())) == 12


def test_a_poster_beside_a_video_is_no_clip(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path
) -> None:
    path = put("clip/clip.mp4")
    put_pictures(folder / "clip", make_media, ["0.png"])
    assert read(folder).describe()["n_clips"] == 1
    np.testing.assert_array_equal(made(read(folder), make_task()), pictures_of(path))


@pytest.mark.parametrize("clip_id", ["other", "../outside", "..", "", "cli", "clip.mp4", "*"])
def test_a_clip_that_is_not_there_fails_alone(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path, clip_id: str
) -> None:
    put("clip.mp4")
    make_media.cfr("outside.mp4", n=12)
    tasks = [make_task(clip_id=clip_id), make_task()]
    results = list(read(folder).generate(tasks))
    reason = failures(results)[clip_id]
    assert f"{folder}: holds no {clip_id}.mp4 (or another container)" in reason
    assert [r.index for r in results if isinstance(r, GeneratedFrame)] == list(range(12))


def test_two_videos_of_one_clip_are_both_named(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path
) -> None:
    put("generated/clip.mkv")
    put("preview/clip.mp4")
    assert "more than one video of this clip: generated/clip.mkv and preview/clip.mp4" in why(
        folder
    )
    (folder / "preview/clip.mp4").unlink()
    put_pictures(folder / "frames/clip", make_media, [f"{k}.png" for k in range(12)])
    assert "frames/clip and generated/clip.mkv" in why(folder)


@pytest.mark.parametrize("what", ["video", "frames", "one frame"])
def test_links_out_of_the_folder_are_refused(
    make_media: MediaMaker, folder: Path, what: str
) -> None:
    outside = make_media.cfr("outside.mp4", n=12)
    if what == "video":
        (folder / "clip.mp4").symlink_to(outside)
        assert "clip.mp4: is a link that leads out of the folder" in why(folder)
        return
    names = [f"{k}.png" for k in range(12)]
    put_pictures(make_media.folder / "outside", make_media, names)
    if what == "frames":
        (folder / "clip").symlink_to(make_media.folder / "outside")
        assert "holds no clip.mp4" in why(folder)
        return
    put_pictures(folder / "clip", make_media, names)
    (folder / "clip/5.png").unlink()
    (folder / "clip/5.png").symlink_to(make_media.folder / "outside/5.png")
    assert "5.png: is a link that leads out of the folder" in why(folder)


def test_links_within_the_folder_are_followed(put: Callable[..., Path], folder: Path) -> None:
    (folder / "clip.mp4").symlink_to(put("results/out_17.mp4"))
    assert len(made(read(folder), make_task())) == 12


@pytest.mark.parametrize("n", [1, 11, 13])
def test_another_number_of_frames_is_told(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path, n: int
) -> None:
    put("clip.mp4", n)
    assert f"clip.mp4: has {n} frames, the task wants 12" in why(folder)
    (folder / "clip.mp4").unlink()
    put_pictures(folder / "clip", make_media, [f"{k}.png" for k in range(n)])
    assert f"clip: has {n} frames, the task wants 12" in why(folder)


def test_another_size_is_refused_or_resampled(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path
) -> None:
    put("clip.mp4", size=(128, 96))
    told = "has frames of 128x96 px, the task wants 64x48 px; with resize=area they are resampled"
    assert told in why(folder)
    images = made(read(folder, "area"), make_task())
    assert [make_media.frame_number(image) for image in images] == list(range(12))


def test_another_shape_is_never_stretched(put: Callable[..., Path], folder: Path) -> None:
    put("clip.mp4", size=(64, 64))
    for resize in ("fail", "area"):
        told = "has frames of another shape: 64x64 px, the task wants 64x48 px"
        assert told in why(folder, resize=resize)


def test_what_can_not_be_read_fails_its_clip(make_media: MediaMaker, folder: Path) -> None:
    put_pictures(folder / "clip", make_media, ["0.png", "1.png", "3.png"])
    assert "clip: picture 2 is missing: 1 is before 3" in why(folder, make_task(n_frames=3))
    shutil.rmtree(folder / "clip")
    shutil.move(make_media.bit_flipped(), folder / "clip.mp4")
    assert "clip.mp4: damaged" in why(folder, make_task(n_frames=60))


def test_a_folder_that_is_none_is_refused_at_once(make_media: MediaMaker) -> None:
    for path in (make_media.one_frame(), make_media.folder / "missing"):
        with pytest.raises(ConfigError, match=r"precomputed: .*(is a file|no such folder)"):
            read(path)
    empty = make_media.folder / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="empty: is empty"):
        read(empty)
    with pytest.raises(ConfigError, match="precomputed: option 'folder' is required"):
        Precomputed({}, weights_dir=None, device="auto")


def test_a_run_records_every_byte_but_not_where_it_lay(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path
) -> None:
    put("clip.mp4")
    put_pictures(folder / "frames/other", make_media, ["0.png", "1.bmp"])
    record = read(folder).describe()
    assert record["folder"] == "made elsewhere"
    assert (record["resize"], record["n_clips"]) == ("fail", 2)
    assert str(make_media.folder) not in str(record)

    (folder / "clip.mp4").rename(folder / "frames/clip.mp4")
    (folder / "notes.txt").write_text("not a video")
    assert read(folder).describe() == record

    picture = folder / "frames/other/1.bmp"
    picture.rename(picture.with_name("2.bmp"))
    renamed = read(folder).describe()["files_sha256"]
    picture.with_name("2.bmp").write_bytes((folder / "frames/other/0.png").read_bytes())
    replaced = read(folder).describe()["files_sha256"]
    put("frames/clip.mp4", n=13)
    video = read(folder).describe()["files_sha256"]
    assert len({record["files_sha256"], renamed, replaced, video}) == 4


def test_describing_files_that_went_away_is_one_clear_error(
    put: Callable[..., Path], folder: Path
) -> None:
    path = put("clip.mp4")
    generator = read(folder)
    path.unlink()
    with pytest.raises(MediaError, match=r"clip\.mp4: can't be read"):
        generator.describe()


@pytest.mark.timeout(30)
def test_a_named_pipe_fails_its_clip_and_is_never_waited_for(
    put: Callable[..., Path], make_media: MediaMaker, folder: Path
) -> None:
    put("clip.mkv")
    os.mkfifo(folder / "other.mkv")
    put_pictures(folder / "pictures", make_media, [f"{n:02}.png" for n in range(1, 12)])
    os.mkfifo(folder / "pictures" / "00.png")
    generator = read(folder)
    assert generator.describe()["n_clips"] == 3
    tasks = [make_task(clip_id=name) for name in ("clip", "other", "pictures")]
    results = list(generator.generate(tasks))
    assert len(results) == 12 + 2
    reasons = failures(results)
    assert reasons["other"].endswith("other.mkv: is not a regular file")
    assert reasons["pictures"].endswith("00.png: is a named pipe, not a regular file")

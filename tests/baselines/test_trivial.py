"""The anchors show exactly what they say."""

from __future__ import annotations

import itertools
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.baselines.driven_tasks import (
    failures,
    made,
    make_task,
    pictures_of,
    task_of,
    write_video,
)
from tpbench.baselines.base import GeneratedFrame, Generator
from tpbench.baselines.registry import MODELS
from tpbench.baselines.trivial import Frozen, GtLag, GtReencode, Oracle
from tpbench.errors import ConfigError, GeneratorError
from tpbench.video import read_frames

if TYPE_CHECKING:
    from tests.conftest import MediaMaker

OptionValue = str | int | float | bool

ANCHORS = [Frozen, Oracle, GtReencode, GtLag]
DRIVEN = [Oracle, GtReencode, GtLag]


def build(
    kind: Callable[..., Generator], options: Mapping[str, OptionValue] | None = None
) -> Generator:
    return kind(options or {}, weights_dir=None, device="auto")


def textured(n: int = 24) -> list[NDArray[np.uint8]]:
    """A soft pattern that drifts, with a little noise: work for an encoder."""
    generator = np.random.default_rng(3)
    y, x = np.mgrid[0:48, 0:64]
    across, down = x[..., None], y[..., None] / np.array([4.0, 6.0, 9.0])
    waves = [128 + 80 * np.sin((across + t) / 5.0) * np.cos(down) for t in range(n)]
    return [
        np.clip(wave + generator.normal(0, 6, wave.shape), 0, 255).astype(np.uint8)
        for wave in waves
    ]


def squared_error(images: list[NDArray[np.uint8]], others: list[NDArray[np.uint8]]) -> float:
    return float(np.mean((np.array(images, float) - np.array(others, float)) ** 2))


def test_frozen_shows_the_reference_and_nothing_else() -> None:
    task = make_task(n_frames=7)
    images = made(build(Frozen), task)
    assert len(images) == 7
    np.testing.assert_array_equal(images, [task.reference] * 7)


def test_oracle_shows_the_driving_video_in_every_pixel(make_media: MediaMaker) -> None:
    video = make_media.cfr(n=30)
    np.testing.assert_array_equal(made(build(Oracle), task_of(video)), pictures_of(video))


def test_oracle_repeats_frames_where_the_rate_varies(make_media: MediaMaker) -> None:
    video = make_media.vfr([0.04] * 10 + [0.12] + [0.04] * 10)
    shown = pictures_of(video)
    images = made(build(Oracle), task_of(video))
    assert len({make_media.frame_number(image) for image in images}) < len(images)
    np.testing.assert_array_equal(images, shown)


@pytest.mark.parametrize("lag", [None, 0, 1, 11, 12, 500])
def test_lag_shows_what_was_there_that_many_frames_ago(
    make_media: MediaMaker, lag: int | None
) -> None:
    options = {} if lag is None else {"lag_frames": lag}
    images = made(build(GtLag, options), task_of(make_media.cfr(n=12)))
    numbers = [make_media.frame_number(image) for image in images]
    assert numbers == [max(0, t - (5 if lag is None else lag)) for t in range(12)]


def test_reencoding_costs_more_the_higher_the_crf(tmp_path: Path) -> None:
    video = write_video(tmp_path / "real.mkv", textured())
    real = pictures_of(video)
    by_crf = {
        crf: squared_error(made(build(GtReencode, {"crf": crf}), task_of(video)), real)
        for crf in (10, 23, 45)
    }
    assert 0 < by_crf[10] < by_crf[23] < by_crf[45]
    assert by_crf[23] < squared_error([np.full_like(image, 128) for image in real], real) / 20


def test_reencoding_keeps_frames_in_their_places(make_media: MediaMaker) -> None:
    task = task_of(make_media.cfr(n=60))
    images = made(build(GtReencode), task)
    assert [make_media.frame_number(image) for image in images] == list(range(60))


def test_reencoding_gives_the_same_frames_every_time_and_others_by_another_preset(
    tmp_path: Path,
) -> None:
    task = task_of(write_video(tmp_path / "real.mkv", textured()))
    first, again, hasty = (
        made(build(GtReencode, options), task) for options in ({}, {}, {"preset": "ultrafast"})
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, hasty)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made in this test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("stop_after", [1, None])
def test_reencoding_leaves_nothing_behind(
    make_media: MediaMaker, temporary: Path, stop_after: int | None
) -> None:
    frames = build(GtReencode).generate([task_of(make_media.cfr(n=12))])
    next(frames)
    assert list(temporary.iterdir())
    list(itertools.islice(frames, stop_after))
    del frames
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("room", ["no folder", "no space"])
def test_no_room_for_the_temporary_video_is_one_clear_error(
    make_media: MediaMaker, temporary: Path, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    task = task_of(make_media.cfr(n=12))
    if room == "no folder":
        temporary.rmdir()
    else:
        monkeypatch.setattr(
            "tpbench.video.write.VideoWriter.write",
            lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
    with pytest.raises(GeneratorError, match=r"gt-reencode: no room .*; set TMPDIR"):
        list(build(GtReencode).generate([task]))


@pytest.mark.parametrize("kind", DRIVEN)
def test_a_clip_that_can_not_be_made_leaves_the_others_alone(
    make_media: MediaMaker, kind: Callable[..., Generator]
) -> None:
    good = make_media.cfr(n=12)
    tasks = [
        make_task(None, clip_id="nothing"),
        make_task(make_media.folder / "gone.mp4", clip_id="gone"),
        make_task(make_media.text(), clip_id="text"),
        make_task(make_media.cfr("long.mp4", n=13), clip_id="long"),
        make_task(make_media.cfr("large.mp4", n=12, size=(80, 48)), clip_id="large"),
        make_task(good, clip_id="good"),
    ]

    results = list(build(kind).generate(tasks))
    reasons = failures(results)
    assert list(reasons) == ["nothing", "gone", "text", "long", "large"]
    assert "nothing: has no driving video" in reasons["nothing"]
    assert "gone.mp4: no such file" in reasons["gone"]
    assert "text.mp4: is not a video" in reasons["text"]
    wants = "the task wants 12 frames of 64x48 px"
    assert f"long.mp4: has 13 frames of 64x48 px, {wants}" in reasons["long"]
    assert f"large.mp4: has 12 frames of 80x48 px, {wants}" in reasons["large"]
    assert [r.index for r in results if isinstance(r, GeneratedFrame)] == list(range(12))


@pytest.mark.parametrize("kind", DRIVEN)
def test_damage_in_the_middle_fails_the_clip(
    make_media: MediaMaker, kind: Callable[..., Generator]
) -> None:
    task = task_of(make_media.bit_flipped())
    reasons = failures(list(build(kind).generate([task])))
    assert "damaged" in reasons["clip"]


def test_odd_sides_can_not_be_reencoded(make_media: MediaMaker) -> None:
    task = task_of(make_media.odd_size())
    reasons = failures(list(build(GtReencode).generate([task])))
    assert "63x47 px, and 4:2:0 colour wants even sides" in reasons["clip"]
    assert made(build(Oracle), task)


@pytest.mark.parametrize("kind", ANCHORS)
def test_memory_does_not_grow_with_length(
    make_media: MediaMaker, kind: Callable[..., Generator]
) -> None:
    def peak_bytes(n: int) -> int:
        generator, task = build(kind), task_of(make_media.cfr(f"{n}.mp4", n=n))
        list(itertools.islice(generator.generate([task]), 2))  # imports
        tracemalloc.start()
        for _ in generator.generate([task]):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    one_frame = 64 * 48 * 3
    assert peak_bytes(240) < peak_bytes(40) + 20 * one_frame


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Frozen, {"gain": 1}, "frozen: no option 'gain'; it has none"),
        (Oracle, {"gain": 1}, "oracle: no option 'gain'; it has none"),
        (GtReencode, {"crf": 52}, "gt-reencode: crf=52 is wrong"),
        (GtReencode, {"preset": "quick"}, "gt-reencode: preset='quick' is wrong"),
        (GtLag, {"lag_frames": -1}, "gt-lag5: lag_frames=-1 is wrong"),
    ],
)
def test_wrong_options_are_refused(
    kind: Callable[..., Generator], options: dict[str, OptionValue], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(kind, options)


@pytest.mark.parametrize(
    ("kind", "options", "described"),
    [
        (Frozen, {}, {}),
        (Oracle, {}, {}),
        (GtReencode, {"crf": "18"}, {"crf": 18, "preset": "medium"}),
        (GtLag, {}, {"lag_frames": 5}),
    ],
)
def test_anchors_describe_what_was_set_take_one_clip_at_a_time_and_close_twice(
    kind: Callable[..., Generator], options: dict[str, OptionValue], described: object
) -> None:
    generator = build(kind, options)
    generator.close()
    generator.close()
    assert generator.max_clips == 1
    assert generator.describe() == described


def test_rows_name_what_builds_them() -> None:
    kinds = {row.id: row.kind for row in list(MODELS.values())[:5]}
    assert kinds == {
        "frozen": "anchor",
        "oracle": "anchor",
        "gt-reencode": "anchor",
        "gt-lag5": "anchor",
        "precomputed": "external",
    }
    by_factory = {row.factory: row.id for row in MODELS.values()}
    for kind, model_id in zip(ANCHORS, kinds, strict=False):
        assert by_factory[f"{kind.__module__}:{kind.__name__}"] == model_id


@pytest.mark.shared
def test_a_real_talk_loses_little_when_it_is_reencoded(shared_dir: Path, tmp_path: Path) -> None:
    video = shared_dir / "data/talkingpose_samples/vid1.mp4"
    real = [frame.image for frame in read_frames(video, end_frame=50)]
    task = task_of(write_video(tmp_path / "real.mkv", real))
    images = made(build(GtReencode), task)
    psnr_db = 10 * np.log10(255**2 / squared_error(images, real))
    assert 39 < psnr_db < 44

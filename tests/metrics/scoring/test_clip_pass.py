"""One pass over two clips: every frame once, in order, no more held than a chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring.clips import (
    STRICT,
    pictures,
    worse,
    write_pictures,
    write_video,
)
from tpbench.errors import MediaError
from tpbench.metrics.scoring import meters
from tpbench.metrics.scoring.clip_pass import ClipPass
from tpbench.metrics.scoring.records import RecordFolder, ScoringJob
from tpbench.metrics.scoring.tools import CHUNK_FRAMES, ClipSetting, FrameChunk, Toolbox
from tpbench.video import Footage
from tpbench.work import HaltError

N = 40


@dataclass
class Watcher:
    """A meter that writes down what it sees."""

    chunks: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    opencv_threads: list[int] = field(default_factory=list)
    real: list[NDArray[np.uint8]] = field(default_factory=list)
    generated: list[NDArray[np.uint8]] = field(default_factory=list)
    fail_at_chunk: int | None = None
    busy: bool = False

    def update(self, chunk: FrameChunk) -> None:
        assert not self.busy, "asked twice at once"
        self.busy = True
        if len(self.chunks) == self.fail_at_chunk:
            raise LookupError("a bug")
        self.chunks.append(len(chunk.real))
        self.threads.add(threading.get_ident())
        self.opencv_threads.append(cv2.getNumThreads())
        self.real += chunk.real
        self.generated += chunk.generated
        self.busy = False

    def finish(self) -> dict[str, NDArray[np.float64]]:
        return {"psnr": np.arange(len(self.real), dtype=np.float64)}


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Watcher], Watcher]:
    """Puts a watcher in place of a meter."""

    def put(name: str, watcher: Watcher) -> Watcher:
        build = meters.MeterRow.build

        def watching(row: meters.MeterRow, setting: ClipSetting) -> object:
            return watcher if row.name == name else build(row, setting)

        monkeypatch.setattr(meters.MeterRow, "build", watching)
        return watcher

    return put


@pytest.fixture
def records(tmp_path: Path) -> RecordFolder:
    (tmp_path / "records").mkdir()
    return RecordFolder(tmp_path / "records", tmp_path / "kept")


def make_pass(records: RecordFolder, *, threads: int = 1) -> ClipPass:
    toolbox = Toolbox(device="cpu", skeleton="mediapipe", offline=True)
    return ClipPass(policies=STRICT, toolbox=toolbox, records=records, threads=threads)


def job(tmp_path: Path, *meters: str, n: int = N) -> ScoringJob:
    real = pictures(n)
    return ScoringJob(
        clip_id="a",
        real=write_video(tmp_path / "real.avi", real),
        generated=write_video(tmp_path / "gen.avi", worse(real)),
        real_sha256="r",
        generated_sha256="g",
        keys={name: f"key of {name}" for name in meters},
        real_keys={},
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_each_meter_sees_every_frame_once_in_order_chunk_by_chunk(
    threads: int, records: RecordFolder, tmp_path: Path, watch: Callable[[str, Watcher], Watcher]
) -> None:
    watcher = watch("psnr", Watcher())
    news: list[int] = []
    n = make_pass(records, threads=threads).run(job(tmp_path, "psnr", "l1"), news.append)
    assert n == N
    assert watcher.chunks == [16, 16, 8]
    assert news == [16, 32, 40]
    np.testing.assert_array_equal(np.stack(watcher.real), pictures(N))
    np.testing.assert_array_equal(np.stack(watcher.generated), worse(pictures(N)))
    assert (threading.get_ident() in watcher.threads) == (threads == 1)


OF_PICTURES = ("psnr", "ssim", "l1", "tje_d1", "tje_d2", "tje_d5", "motion", "lag", "colour")


def test_values_are_the_same_in_every_bit_however_many_threads_share_the_frames(
    tmp_path: Path,
) -> None:
    found = []
    for threads in (1, 3):
        (tmp_path / f"{threads}").mkdir()
        folder = RecordFolder(tmp_path / f"{threads}", tmp_path / "kept")
        make_pass(folder, threads=threads).run(job(tmp_path, *OF_PICTURES, "sharpness"))
        record = folder.read("a")
        assert record is not None
        found.append(record.columns)
    assert found[0].keys() == found[1].keys()
    for name, column in found[0].items():
        assert column.size == N
        np.testing.assert_array_equal(found[1][name], column)


def test_networks_run_in_the_thread_of_the_caller(
    records: RecordFolder, tmp_path: Path, watch: Callable[[str, Watcher], Watcher]
) -> None:
    watcher = watch("lpips_alex", Watcher())
    make_pass(records, threads=2).run(job(tmp_path, "lpips_alex", "l1"))
    assert watcher.threads == {threading.get_ident()}
    assert len(watcher.real) == N


@pytest.mark.parametrize("fails", [False, True])
def test_opencv_has_one_thread_in_a_pass_and_as_many_as_before_after_it(
    fails: bool,  # noqa: FBT001 - a parameter of the test
    records: RecordFolder,
    tmp_path: Path,
    watch: Callable[[str, Watcher], Watcher],
) -> None:
    watcher = watch("psnr", Watcher(fail_at_chunk=1 if fails else None))
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with pytest.raises(LookupError) if fails else nullcontext():
            make_pass(records).run(job(tmp_path, "psnr"))
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    assert set(watcher.opencv_threads) == {1}


@pytest.mark.parametrize("threads", [1, 2])
def test_both_clips_are_decoded_once_and_no_further_ahead_than_a_chunk(
    threads: int,
    records: RecordFolder,
    tmp_path: Path,
    watch: Callable[[str, Watcher], Watcher],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher = watch("psnr", Watcher())
    decoded: list[str] = []
    most_ahead = 0.0
    images = Footage.images

    def counting(self: Footage) -> Iterator[NDArray[np.uint8]]:
        nonlocal most_ahead
        for image in images(self):
            decoded.append(self.path.name)
            most_ahead = max(most_ahead, len(decoded) / 2 - len(watcher.real))
            yield image

    monkeypatch.setattr(Footage, "images", counting)

    make_pass(records, threads=threads).run(job(tmp_path, "psnr", n=100))

    assert (decoded.count("real.avi"), decoded.count("gen.avi")) == (100, 100)
    # With threads, one chunk is measured while the next one is decoded.
    assert most_ahead <= CHUNK_FRAMES * threads


@pytest.mark.parametrize("chunk", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_bug_in_a_meter_comes_out_and_leaves_no_record(
    threads: int,
    chunk: int,
    records: RecordFolder,
    tmp_path: Path,
    watch: Callable[[str, Watcher], Watcher],
) -> None:
    watch("psnr", Watcher(fail_at_chunk=chunk))
    with pytest.raises(LookupError, match="a bug"):
        make_pass(records, threads=threads).run(job(tmp_path, "psnr", "l1"))
    assert records.read("a") is None


def test_a_folder_that_was_moved_away_meanwhile_is_not_made_again(
    records: RecordFolder, tmp_path: Path
) -> None:
    def move(_done: int) -> None:
        if records.folder.exists():
            records.folder.rename(tmp_path / "aside")

    with pytest.raises(HaltError, match="was removed or replaced during the run"):
        make_pass(records).run(job(tmp_path, "psnr"), move)
    assert not records.folder.exists()


def test_the_record_says_what_was_measured_of_what(records: RecordFolder, tmp_path: Path) -> None:
    make_pass(records).run(job(tmp_path, "psnr", "motion"))
    found = records.read("a")
    assert found is not None
    assert (found.clip_id, found.real_sha256, found.generated_sha256) == ("a", "r", "g")
    assert (found.n_frames, found.first_frame) == (N, 0)
    assert (found.width_px, found.height_px, found.codec) == (64, 48, "rawvideo")
    assert found.fps == Fraction(25)
    assert found.keys == {"psnr": "key of psnr", "motion": "key of motion"}
    assert found.columns.keys() == {"psnr", "identical", "motion_real", "motion_generated"}
    assert {len(column) for column in found.columns.values()} == {N}


@pytest.mark.parametrize(
    ("kinds", "fps"),
    [(("avi", "avi"), 30), (("avi", ""), 30), (("", "avi"), 25), (("", ""), None)],
)
def test_the_rate_is_that_of_the_real_clip_if_it_has_one(
    kinds: tuple[str, str], fps: int | None, records: RecordFolder, tmp_path: Path
) -> None:
    paths = []
    for side, kind, rate in zip(("real", "gen"), kinds, (30, 25), strict=True):
        path = tmp_path / side
        if kind:
            paths.append(write_video(path / "a.avi", pictures(3), fps=rate))
        else:
            paths.append(write_pictures(path, pictures(3)))
    either = replace(job(tmp_path, "psnr"), real=paths[0], generated=paths[1])
    loose = replace(make_pass(records), policies=replace(STRICT, rate="ignore"))

    loose.run(either)

    found = records.read("a")
    assert found is not None
    assert found.fps == (None if fps is None else Fraction(fps))


def test_nothing_of_other_contents_or_lengths_is_kept(
    records: RecordFolder, tmp_path: Path
) -> None:
    make_pass(records).run(job(tmp_path, "psnr"))
    make_pass(records).run(job(tmp_path, "l1", n=20))
    found = records.read("a")
    assert found is not None
    assert found.keys.keys() == found.columns.keys() == {"l1"}


@pytest.mark.parametrize("side", ["real", "gen"])
def test_a_clip_that_ends_early_is_damaged(
    side: str, records: RecordFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Footage.images

    def ending(self: Footage) -> Iterator[NDArray[np.uint8]]:
        for at, image in enumerate(images(self)):
            if side in self.path.name and at == 30:
                return
            yield image

    monkeypatch.setattr(Footage, "images", ending)

    with pytest.raises(MediaError, match=r"gen.avi: ended after 30 of 40 frames: it or its real"):
        make_pass(records).run(job(tmp_path, "psnr"))
    assert records.read("a") is None

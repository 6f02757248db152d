"""FID, KID and FVD through the engine, with networks of made-up weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import pairing_of, pictures, scored, some_clips, worse, write_set
from tpbench.metrics.distances import DISCO_FVD, FID, FVD, FrechetMetric, kid
from tpbench.metrics.networks import Picture
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.report import MetricScore, ScoreReport
from tpbench.metrics.scoring.tools import FeatureMeter, FrameChunk, Toolbox

pytestmark = pytest.mark.usefixtures("networks")

LENGTHS = (17, 40, 9)
"""Windows of 16 at stride 16: one, two, none."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    real, generated = some_clips(LENGTHS)
    folder = tmp_path_factory.mktemp("clips")
    write_set(folder / "real", real)
    write_set(folder / "gen", generated)
    return Clips(folder, real, generated)


class Clips:
    def __init__(
        self,
        folder: Path,
        real: Mapping[str, NDArray[np.uint8]],
        generated: Mapping[str, NDArray[np.uint8]],
    ) -> None:
        self.folder, self.real, self.generated = folder, real, generated

    def features(
        self, make: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features of all clips of each side in one array."""
        real, generated = (
            np.concatenate([make(images) for images in side.values()])
            for side in (self.real, self.generated)
        )
        return real, generated

    def scored(self, out: Path, *metrics: str, generated: str = "gen") -> ScoreReport:
        pairing = pairing_of(self.folder / "real", self.folder / generated)
        return scored(pairing, out, *metrics)


def windows(images: Picture, *, stride: int) -> Picture:
    starts = range(0, len(images) - 15, stride)
    shape = (0, 16, *images.shape[1:])
    found = np.array([images[at : at + 16] for at in starts], images.dtype)
    return cast("Picture", found.reshape(-1, *shape[1:]))


def direct(metric: FrechetMetric, real: NDArray[np.float32], gen: NDArray[np.float32]) -> float:
    return metric.pooled([(real, gen)]).value


def test_fid_and_kid_are_those_of_the_features_of_all_frames(clips: Clips, tmp_path: Path) -> None:
    real, generated = clips.features(stand_ins.inception(batch_size=5).features)
    found = clips.scored(tmp_path / "out", "fid", "kid").metrics
    assert found["fid"].value == pytest.approx(direct(FID, real, generated), rel=1e-5)
    assert found["kid"].value == pytest.approx(kid(real, generated).value, rel=1e-5)
    for score in found.values():
        assert counts(score) == (66, 66, 3, 0)
        assert score.interval_reason == (
            "all clips together give one value: resampling would measure its bias"
        )
    assert "66" in (found["fid"].warning or "")


def counts(score: MetricScore) -> tuple[int, int, int, int]:
    n_real, n_generated = score.details["n_real"], score.details["n_generated"]
    return n_real, n_generated, score.n_clips, score.n_too_short


def test_fvd_is_that_of_the_features_of_all_windows(clips: Clips, tmp_path: Path) -> None:
    network = stand_ins.i3d(batch_size=1)
    sets = clips.features(lambda images: network.features(windows(images, stride=16)))
    found = clips.scored(tmp_path / "out", "fvd").metrics["fvd"]
    assert found.value == pytest.approx(direct(FVD, *sets), rel=1e-5)
    assert counts(found) == (3, 3, 2, 1)


def test_discos_fvd_begins_a_window_at_every_frame_of_224_px(clips: Clips, tmp_path: Path) -> None:
    from PIL import Image

    network = stand_ins.i3d(batch_size=3)

    def make(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        squashed = [
            np.stack(
                [
                    np.asarray(
                        Image.fromarray(image[..., at].astype(np.float32), mode="F").resize(
                            (224, 224), Image.Resampling.BICUBIC
                        )
                    )
                    for at in range(3)
                ],
                axis=-1,
            )
            for image in images
        ]
        return network.features(windows(np.stack(squashed), stride=1))

    report = clips.scored(tmp_path / "out", "disco_fvd")

    found = report.metrics["disco_fvd"]
    assert found.value == pytest.approx(direct(DISCO_FVD, *clips.features(make)), rel=1e-5)
    assert counts(found) == (2 + 25, 2 + 25, 2, 1)


def test_lpips_is_that_of_each_pair_of_frames(clips: Clips, tmp_path: Path) -> None:
    report = clips.scored(tmp_path / "out", "lpips")
    network = stand_ins.lpips()
    for name, scores in report.clips.items():
        expected = network.distances(clips.real[name], clips.generated[name]).mean()
        assert scores.values["lpips"] == pytest.approx(expected, rel=1e-5)


# --- features of real clips are kept ----------------------------------------------------------


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the frames that networks of features look at."""
    count: Counter[str] = Counter()

    def counting(_: Toolbox) -> object:
        network = stand_ins.inception()
        features = network.features

        def spy(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            count["frames"] += len(pictures)
            return features(pictures)

        network.features = spy  # type: ignore[method-assign]  # to look over its shoulder
        return network

    monkeypatch.setattr(Toolbox, "inception", counting)
    return count


def test_other_generated_clips_run_no_network_on_real_frames(
    clips: Clips, seen: Counter[str], tmp_path: Path
) -> None:
    n = sum(LENGTHS)
    clips.scored(tmp_path / "one", "fid")
    assert seen["frames"] == 2 * n
    others = {name: worse(images, by=30) for name, images in clips.real.items()}
    write_set(clips.folder / "others", others)
    second = clips.scored(tmp_path / "two", "fid", generated="others")
    assert seen["frames"] == 3 * n
    real = clips.features(stand_ins.inception().features)[0]
    generated = np.concatenate([stand_ins.inception().features(x) for x in others.values()])
    assert second.metrics["fid"].value == pytest.approx(direct(FID, real, generated), rel=1e-5)


def test_content_decides_and_not_the_name(clips: Clips, seen: Counter[str], tmp_path: Path) -> None:
    clips.scored(tmp_path / "one", "fid")
    seen.clear()
    renamed = {f"sub/{name}": images for name, images in clips.real.items()}
    write_set(tmp_path / "real", renamed)
    write_set(tmp_path / "gen", {name: worse(images) for name, images in renamed.items()})
    scored(pairing_of(tmp_path / "real", tmp_path / "gen"), tmp_path / "two", "fid")
    assert seen["frames"] == sum(LENGTHS)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_kept_features_that_are_damaged_are_made_again(
    damage: str, clips: Clips, seen: Counter[str], own_cache: Path, tmp_path: Path
) -> None:
    expected = clips.scored(tmp_path / "one", "fid")
    kept = sorted(own_cache.glob("features/inception/*/*.npy"))
    assert len(kept) == len(LENGTHS)
    good = [path.read_bytes() for path in kept]
    hurt = bytearray(good[1])
    hurt[len(hurt) // 2] ^= 0x10
    if damage == "gone":
        kept[1].unlink()
    else:
        kept[1].write_bytes(good[1][:-8] if damage == "cut" else hurt)
    n_frames = len(good[1]) // (2048 * 4)
    for out in ("one", "two"):  # it is noticed where all was finished, and where nothing was
        seen.clear()

        found = clips.scored(tmp_path / out, "fid")

        assert found.metrics == expected.metrics
        assert seen["frames"] == (2 * n_frames if out == "one" else sum(LENGTHS))
        assert [path.read_bytes() for path in kept] == good


def test_the_length_that_is_scored_decides_too(
    clips: Clips, own_cache: Path, tmp_path: Path
) -> None:
    shorter = {name: images[:-1] for name, images in clips.generated.items()}
    write_set(tmp_path / "gen", shorter)
    policies = Policies(length="truncate", resize="fail", rate="fail")
    pairing = pairing_of(clips.folder / "real", tmp_path / "gen")
    clips.scored(tmp_path / "one", "fid")
    report = scored(pairing, tmp_path / "two", "fid", policies=policies)
    assert counts(report.metrics["fid"]) == (63, 63, 3, 0)
    assert len(list(own_cache.glob("features/inception/*/*.npy"))) == 6


def test_the_frame_that_scoring_begins_with_decides_too(
    clips: Clips, own_cache: Path, tmp_path: Path
) -> None:
    """Frames 0 to 7 and 1 to 8: as many, but not the same."""
    cut = Policies(length="truncate", resize="fail", rate="fail")
    real, generated = clips.real["clip2"], clips.generated["clip2"]
    write_set(tmp_path / "real", {"a": real})
    write_set(tmp_path / "shorter", {"a": generated[:-1]})
    write_set(tmp_path / "whole", {"a": generated})
    network = stand_ins.inception()
    for side, first, policies in (
        ("shorter", 0, cut),
        ("whole", 1, replace(cut, first_frame=1)),
    ):
        pairing = pairing_of(tmp_path / "real", tmp_path / side)

        found = scored(pairing, tmp_path / side / "out", "fid", policies=policies)

        frames = slice(first, first + 8)
        sets = (network.features(images[frames]) for images in (real, generated))
        assert found.metrics["fid"].value == pytest.approx(direct(FID, *sets), rel=1e-5)
    assert len(list(own_cache.glob("features/inception/*/*.npy"))) == 2


def test_drift_is_over_windows_of_16_frames(tmp_path: Path) -> None:
    real, generated = some_clips([120, 112, 111], size_px=(16, 16))
    write_set(tmp_path / "real", real)
    write_set(tmp_path / "gen", generated)
    pairing = pairing_of(tmp_path / "real", tmp_path / "gen")

    report = scored(pairing, tmp_path / "out", "drift_fid_slope", "drift_fvd_delta")

    network = stand_ins.inception()
    window = slice(32, 48)
    sets = (
        np.concatenate([network.features(side[name][window]) for name in ("clip0", "clip1")])
        for side in (real, generated)
    )
    curve = report.metrics["drift_fid_slope"].details["windows"]
    assert curve[2] == pytest.approx(direct(FID, *sets), rel=1e-5)
    for score in report.metrics.values():
        assert len(score.details["windows"]) == 7
        assert (score.n_clips, score.n_too_short) == (2, 1)
    assert counts(report.metrics["drift_fid_slope"])[0] == 32
    assert counts(report.metrics["drift_fvd_delta"])[0] == 2


def test_a_clip_that_fails_on_the_way_leaves_no_features(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(40)
    write_set(tmp_path / "real", {"a": images}, ending="")
    write_set(tmp_path / "gen", {"a": worse(images)}, ending="")
    last = tmp_path / "gen" / "a" / "frame_0035.png"
    last.write_bytes(last.read_bytes()[:200])  # the header is whole, so it is opened
    updates = []
    update = FeatureMeter.update

    def spy(self: FeatureMeter, chunk: FrameChunk) -> None:
        updates.append(len(chunk.real))
        update(self, chunk)

    monkeypatch.setattr(FeatureMeter, "update", spy)
    pairing = pairing_of(tmp_path / "real", tmp_path / "gen")

    report = scored(pairing, tmp_path / "out", "fid", "psnr")

    assert updates
    assert report.coverage.failed.keys() == {"a"}
    assert "frame_0035.png" in report.coverage.failed["a"]
    assert not [path for path in own_cache.rglob("*") if path.is_file()]
    assert [path.name for path in (tmp_path / "out" / ".scoring").iterdir()] == [".lock"]
    assert report.metrics["fid"].reason == "no clip could be scored"

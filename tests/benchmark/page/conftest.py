"""A leaderboard made by hand, with all the files that a page is made from."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmark.page.browsing import Opened, open_page
from tests.conftest import MediaMaker
from tpbench.baselines.registry import load_reported
from tpbench.benchmark.leaderboard.board import (
    ClipInfo,
    Leaderboard,
    Marks,
    Row,
    RowKind,
    SeedRun,
)
from tpbench.benchmark.page.build import build_page
from tpbench.benchmark.run_info import DatasetStamp, TaskStamp
from tpbench.benchmark.site import Site
from tpbench.dataset import Clip, Dataset, clip_path, finalise, pose_path
from tpbench.files import sha256_of
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.report import MetricScore
from tpbench.video import CLIP, PREVIEW, VideoWriter

CLIPS: Final = {"anna": 160, "bert": 150, "carl": 130, "dora": 110, "emil": 105}
"""Clip -> frames."""

FPS: Final = 25
WIDTH_PX, HEIGHT_PX = 96, 72

METRIC_IDS: Final = ("psnr", "ssim", "lpips", "fid", "tje_d2", "motion_ratio", "drift_psnr_slope")
WHY_BLANK: Final = "weights 'lpips-alexnet' are missing: run: tpbench weights pull lpips-alexnet"
HOSTILE: Final = "</script><img src=x onerror=\"document.title='owned'\">&amp;"


@dataclass(frozen=True, slots=True)
class Made:
    """A model of ours: how its frames score."""

    id: str
    name: str
    kind: RowKind
    curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """PSNR of frame t."""
    tje: float
    motion: float


MODELS: Final = (
    Made("falling", HOSTILE, "measured", lambda t: 40 - t / 10, tje=3.0, motion=0.7),
    Made("my.own:Steady", "Steady", "measured", lambda t: 30 + 0 * t, tje=4.0, motion=1.2),
    Made("frozen", "Frozen reference", "anchor", lambda t: 17 + 0 * t, tje=2.5, motion=0.0),
    Made("oracle", "Real clip", "anchor", lambda t: np.inf + 0 * t, tje=0.0, motion=1.0),
)


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset whose clips and pose videos carry the number of each frame; not to be changed."""
    folder = tmp_path_factory.mktemp("page") / "talks"
    for clip_id, n_frames in CLIPS.items():
        write_numbers(clip_path(folder, clip_id), n_frames)
        write_numbers(pose_path(folder, clip_id), n_frames)
    rows = [
        Clip(
            clip_id=clip_id,
            status="kept",
            source_id=clip_id,
            source_path=f"{clip_id}.mp4",
            fps_num=FPS,
            fps_den=1,
            n_frames=n_frames,
            identity=clip_id,
            clip_sha256=sha256_of(clip_path(folder, clip_id)),
            keypoints_sha256="0" * 64,
            pose_sha256=sha256_of(pose_path(folder, clip_id)),
        )
        for clip_id, n_frames in CLIPS.items()
    ]
    return finalise(folder, rows, name="talks", config={}, models={}, measurements=(), run=None)


def write_numbers(path: Path, n_frames: int) -> None:
    """Write a video whose pictures carry their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = PREVIEW if "preview" in path.parts else CLIP
    with VideoWriter(
        path, width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=Fraction(FPS), encoding=encoding
    ) as writer:
        for number in range(n_frames):
            writer.write(MediaMaker.image(number, width_px=WIDTH_PX, height_px=HEIGHT_PX))


@pytest.fixture(scope="session")
def board(talks: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """The leaderboard; its files are not to be changed."""
    runs = tmp_path_factory.mktemp("page-runs")
    rows = tuple(_row(made, _run(made, runs)) for made in MODELS)
    return Leaderboard(
        task=TaskStamp(id="self", version=1, min_frames=101, protocol="tpbench-v2"),
        protocol={
            "id": "tpbench-v2+custom",
            "version": 1,
            "digest": "1" * 64,
            "title": "seven metrics",
            "quirks": ["it has no quirk"],
        },
        policies={"first_frame": 1},
        dataset=DatasetStamp(
            name="talks",
            digest=talks.digest,
            split="all",
            clips_digest="4" * 64,
            n_clips=len(CLIPS),
            n_identities=len(CLIPS),
            left_out={},
            folder="",
        ),
        data=talks.folder,
        metrics=tuple(METRICS[name] for name in METRIC_IDS),
        rows=rows,
        marks={
            name: Marks(best=("falling",), tied=("my.own:Steady",)) if name == "psnr" else Marks()
            for name in METRIC_IDS
        },
        clips=tuple(
            ClipInfo(
                id=clip_id,
                identity=clip_id,
                n_frames=n_frames - 1,
                reference_clip=clip_id,
                driving_clip=clip_id,
            )
            for clip_id, n_frames in CLIPS.items()
        ),
        missing_anchors={"gt-reencode": "tpbench eval --model gt-reencode"},
        reported=load_reported()[:9],
        left_out=(),
        notes=(),
    )


def _run(made: Made, runs: Path) -> SeedRun:
    folder = runs / made.id.replace(":", "@") / "talks@00000000" / "self-tpbench-v2" / "seed42"
    previews = {clip_id: folder / "preview" / f"{clip_id}.mp4" for clip_id in CLIPS}
    for clip_id, path in previews.items():
        write_numbers(path, CLIPS[clip_id])
    write_frames(folder / "frames.parquet", made)
    return SeedRun(
        seed=42,
        folder=folder,
        digest="2" * 64,
        scores_digest="3" * 64,
        verified="digest",
        claimed="none",
        date="2026-11-22",
        n_scored=len(CLIPS),
        failed={},
        previews={clip_id: sha256_of(path) for clip_id, path in previews.items()},
    )


def write_frames(path: Path, made: Made, clips: Mapping[str, int] = CLIPS) -> None:
    """Write the per-frame values of a model, as scoring does: from frame 1 on."""
    import pandas as pd

    tables = []
    for clip_id, n_frames in clips.items():
        frame = np.arange(1, n_frames)
        tables.append(
            pd.DataFrame(
                {
                    "clip_id": clip_id,
                    "frame": frame.astype(np.int32),
                    "psnr": made.curve(frame.astype(np.float64)),
                    "ssim": np.full(len(frame), 0.5),
                    "tje_d2": np.where(frame < 3, np.nan, made.tje),
                    "motion_generated": made.motion,
                    "motion_real": 1.0,
                }
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables).to_parquet(path)


def scored(
    name: str, value: float, low: float | None = None, high: float | None = None
) -> MetricScore:
    """Return a value with its interval."""
    return MetricScore(
        metric=name,
        version=METRICS[name].version,
        direction=METRICS[name].direction,
        unit=METRICS[name].unit,
        status="not_measured" if math.isnan(value) else "measured",
        value=value,
        low=low,
        high=high,
        level=None if low is None else 0.95,
        n_clips=len(CLIPS),
        n_identities=len(CLIPS),
        interval_reason="one value of all clips" if low is None else None,
    )


def _clip_values(made: Made) -> dict[str, dict[str, float]]:
    """PSNR falls from clip to clip, for the steady model it rises; carl has the worst jitter."""
    psnr = float(made.curve(np.array([60.0]))[0])
    step = 1 if made.name == "Steady" else -1
    return {
        "psnr": {clip: psnr + step * at for at, clip in enumerate(CLIPS)},
        "tje_d2": {clip: made.tje + (clip == "carl") for clip in CLIPS},
    }


def _row(made: Made, run: SeedRun) -> Row:
    psnr = float(made.curve(np.array([60.0]))[0])
    blank = scored("lpips", math.nan)
    ends = {
        "psnr": (psnr, psnr - 1, psnr + 1) if math.isfinite(psnr) else (psnr,),
        "ssim": (0.5, 0.4, 0.6),
        "fid": (100 + made.tje,),
        "tje_d2": (made.tje, made.tje * 0.9, made.tje * 1.1),
        "motion_ratio": (made.motion, made.motion * 0.9, made.motion * 1.1),
        "drift_psnr_slope": (-1.0, -2.0, -0.5),
    }
    scores = {name: scored(name, *ends[name]) for name in METRIC_IDS if name in ends}
    scores["lpips"] = replace(blank, n_clips=0, reason=WHY_BLANK, interval_reason=None)
    return Row(
        id=made.id,
        display_name=made.name,
        kind=made.kind,
        description="",
        url="",
        paper_url="",
        weights_url="",
        scores={name: scores[name] for name in METRIC_IDS},
        distances={},
        values=_clip_values(made),
        badness={},
        runs=(run,),
        n_clips=len(CLIPS),
        n_identities=len(CLIPS),
        coverage=1.0,
        params_b=None,
        gen_fps=12.5,
        peak_gpu_gb=None,
        hardware="a processor",
        code="0.1.0",
        licence_code="MIT",
        licence_weights="no weights",
        run_digest="2" * 64,
        verified="digest",
        claimed="none",
        date="2026-11-22",
        command=f"tpbench eval --model {made.id} --data DATASET",
    )


CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine, without a window."""
    named = (os.environ.get("TPBENCH_CHROMIUM"), *CHROMIUMS)
    path = next((path for name in named if name and (path := shutil.which(name))), None)
    if path is None:
        pytest.skip(
            "no Chromium: install one (apt install chromium), or name it in TPBENCH_CHROMIUM"
        )
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers do not give; what is opened is our own page.
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(board: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_page(board, Site.open(tmp_path_factory.mktemp("site"))).as_uri()


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Opened]:
    """The page at a desktop's width."""
    yield from open_page(browser, address, width=1280)


@pytest.fixture
def page(opened: Opened) -> Page:
    return opened.page

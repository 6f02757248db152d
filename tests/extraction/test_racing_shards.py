"""Two shards race through one folder, and each is killed twice, at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.extraction.racing_driver import BEGUN
from tests.processes import assert_none_outlives
from tpbench.dataset import Dataset
from tpbench.extraction.run import extract

DRIVER = Path(__file__).with_name("racing_driver.py")
VIDEOS = 200
KILLS = 2
"""Of each shard."""
_PATIENCE_S = 120.0


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Videos of different sizes, three of which are equal, one of which is broken."""
    folder = tmp_path / "talks"
    folder.mkdir()
    chance = random.Random(1)  # noqa: S311 - repeatable
    for number in range(VIDEOS):
        words = {7: "bad", 50: "equal", 51: "equal", 150: "equal"}.get(number, str(number))
        more = "two" if number % 10 == 0 else " " * chance.randrange(50)
        name = f"{number:03d}.mp4"
        (folder / name).write_text(words if words == "equal" else f"{words} {more}")
    return folder


def command(talks: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, str(DRIVER), "extract", str(talks), "--out", str(out),
        "--skeleton", "mediapipe", "--preset", "demo", "--workers", "1", *more,
    ]  # fmt: skip


def begun(out: Path, driver_pid: int | None = None) -> Counter[str]:
    """Return how often each video was begun, by all drivers or by one."""
    log = out.parent / BEGUN
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return Counter(name for pid, name in lines if driver_pid in {None, int(pid)})


def rows(dataset: Dataset) -> list[dict[str, Any]]:
    return sorted(
        (clip.to_json() for clip in dataset.clips(status=None)), key=lambda row: row["clip_id"]
    )


def race(talks: Path, out: Path, seed: int) -> None:
    """Run both shards to their ends at the same time."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: run_shard(talks, out, number, seed), (1, 2)))


def run_shard(talks: Path, out: Path, number: int, seed: int) -> None:
    """Run a shard to its end; each time that it is killed, it has just begun a few videos."""
    chance = random.Random(10 * seed + number)  # noqa: S311 - repeatable
    shard = command(talks, out, "--shard", f"{number}/2")
    for _ in range(KILLS):
        with subprocess.Popen(shard) as process:
            wait_until_begun(out, chance.randrange(1, 35), process)
            time.sleep(chance.random() * 0.05)
            assert process.poll() is None
            process.kill()
    assert subprocess.run(shard, check=False, timeout=_PATIENCE_S).returncode in {0, 3}


def wait_until_begun(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while begun(out, process.pid).total() < count:
        assert process.poll() is None
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_clips")
@pytest.mark.parametrize("seed", [1, 2])
def test_shards_that_race_and_are_killed_twice_each_give_the_undisturbed_dataset(
    talks: Path, tmp_path: Path, seed: int
) -> None:
    out = tmp_path / "raced" / "dataset"
    race(talks, out, seed)
    assert_none_outlives(out)
    times = begun(out)
    assert set(times) == {path.name for path in talks.iterdir()}
    again = times.total() - len(times)
    assert again <= 2 * KILLS, "only what was in work at a kill was begun again"

    assert subprocess.run(command(talks, out), check=False).returncode == 3
    assert begun(out) == times, "the last run has nothing left to do"
    undisturbed = extract(
        talks, tmp_path / "dataset", preset="demo", skeleton="mediapipe", workers=1
    )
    raced = Dataset.open(out)
    assert raced.digest == undisturbed.digest
    assert rows(raced) == rows(undisturbed)
    kept = {clip.clip_id for clip in raced.clips() if clip.status == "kept"}
    assert len(kept) == VIDEOS - 1 - 2 + 18, "one broken, two equal to others, 18 give two clips"
    assert {path.stem for path in (out / "clips").rglob("*.mp4")} == kept

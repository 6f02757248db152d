"""Drivers that are killed at random, over real videos, and what comes out in the end.

`python -m benchmarks.killed shards [--videos N] [--seed N]`: two shards race on one folder, and
each is killed twice. `python -m benchmarks.killed bucket [--at ADDRESS]`: a run from a bucket into
a bucket is killed twice; the last driver is on a machine that has seen nothing of it. The bucket is
on moto's S3 server, or is one of yours: objects are written below ADDRESS, where there is nothing.
Both are held against one undisturbed run from and into folders. The videos are cut from the sample
talks of ../shared (or the demo's); MediaPipe's skeletons.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from benchmarks.faults import link_videos, make_stage
from benchmarks.material import write_short
from tests.faults.stage import Stage, first_difference
from tests.faults.works import EXTRACTION
from tests.storage.buckets import downloaded
from tests.storage.s3_server import KEYS, s3_server
from tpbench.dataset import Dataset
from tpbench.storage import objects
from tpbench.storage.addresses import Address

_FRAMES: Final = 30
"""Of a video."""
_KILLS: Final = 2
"""Of each driver."""
_PAUSE_S: Final = 30.0
"""Before a run is started again that has to wait for another machine's lease."""


def main() -> None:
    """Print what became of the videos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("shards", "bucket"))
    parser.add_argument("--videos", type=int, help="default: 200 for shards, 60 for a bucket")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--at", help="of an empty place in a bucket, s3:// or gs://")
    asked = parser.parse_args()
    count = asked.videos or (200 if asked.what == "shards" else 60)
    with tempfile.TemporaryDirectory(prefix="tpbench-killed-") as folder:
        root = Path(folder)
        names = [f"talk{number:03d}" for number in range(count)]
        write_short(root / "talks", names, n_frames=_FRAMES)
        print(f"{count} videos of {_FRAMES} frames, each driver killed {_KILLS} times", flush=True)
        undisturbed = make_stage(root / "undisturbed", names, "local")
        link_videos(root / "talks", undisturbed)
        code, said = undisturbed.run()
        assert code == 0, said
        if asked.what == "shards":
            _race_shards(root, undisturbed, asked.seed)
        elif asked.at is not None:
            _use_bucket(root, undisturbed, asked.seed, _empty_place(asked.at))
        else:
            with s3_server() as server:
                os.environ.update(KEYS, AWS_ENDPOINT_URL=server)
                bucket = Address(scheme="s3", bucket="talks", key="")
                objects._files(bucket).mkdir(bucket.bucket)
                _use_bucket(root, undisturbed, asked.seed, bucket)


def _race_shards(root: Path, undisturbed: Stage, seed: int) -> None:
    """Let two shards race on one folder."""
    raced = make_stage(root / "raced", undisturbed.names, "local")
    link_videos(root / "talks", raced)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: _run_shard(raced, number, seed), (1, 2)))
    last = _finish(raced)
    _tell(raced, last, undisturbed, raced.out)


def _run_shard(stage: Stage, number: int, seed: int) -> None:
    mine = replace(stage, said=f"said-{number}")
    options = ("--shard", f"{number}/2", "--workers", "1")
    for _ in _killed(mine, random.Random(10 * seed + number), *options):  # noqa: S311 - repeatable
        print(f"shard {number} was killed with {_n_finished(stage)} videos done", flush=True)
    code, said = mine.run(*options)
    assert code == 0, said


def _empty_place(text: str) -> Address:
    """Return an address below which there is nothing."""
    address = Address.of(text)
    if address is None or any(True for _ in objects.list_objects(address)):
        sys.exit(f"error: {text}: is no address of a bucket, or not empty there")
    return address


def _use_bucket(root: Path, undisturbed: Stage, seed: int, at: Address) -> None:
    """Extract from a bucket into a bucket."""
    os.environ["TPBENCH_SCRATCH"] = str(root / "scratch")
    os.environ["TPBENCH_CACHE"] = str(root / "machine-0")
    for video in sorted((root / "talks").iterdir()):
        objects.put(video, at.below(f"raw/{video.name}"))
    raw, out = at.below("raw"), at.below("set")
    words = ["extract", str(raw), "--out", str(out), "--name", "talks"]
    work = replace(EXTRACTION, arguments=lambda *_: words)
    stage = replace(make_stage(root / "bucket", undisturbed.names, "local"), work=work)
    (stage.root / "log").touch()
    for killed, _ in enumerate(_killed(stage, random.Random(seed)), 1):  # noqa: S311 - as above
        print(f"the driver was killed with {_n_finished(stage)} videos done", flush=True)
        os.environ["TPBENCH_CACHE"] = str(root / f"machine-{killed // _KILLS}")
    last = _finish(stage)
    verify = [sys.executable, "-m", "tpbench", "inspect", str(out), "--verify"]
    verified = subprocess.run(verify, capture_output=True, text=True, check=False)  # noqa: S603 - own command
    print(f"inspect --verify ends with {verified.returncode} {verified.stderr.strip()}")
    _tell(stage, last, undisturbed, downloaded(out, root / "there"))


def _killed(stage: Stage, chance: random.Random, *options: str) -> Iterator[None]:
    """Start drivers, and kill each when a few more videos are done; yield after each kill."""
    for _ in range(_KILLS):
        wanted = _n_finished(stage) + chance.randint(1, len(stage.names) // 4)
        with stage.driver(*options) as driver:
            driver.wait_until(partial(_has_finished, stage, wanted))
            threading.Event().wait(chance.random())  # at no particular point of a video
            driver.kill()
        yield


def _finish(stage: Stage) -> int:
    """Run a last driver to its end; return how many videos it begins."""
    before = stage.counted("began").total()
    code, said = stage.run()
    while code != 0 and "in use by another run" in said:
        print(said.strip(), flush=True)  # a bucket's lease is the dead driver's for two minutes
        threading.Event().wait(_PAUSE_S)
        code, said = stage.run()
    assert code == 0, said
    return stage.counted("began").total() - before


def _has_finished(stage: Stage, wanted: int) -> bool:
    return _n_finished(stage) >= wanted


def _n_finished(stage: Stage) -> int:
    return stage.counted("finished").total()


def _repeated(counted: Counter[str]) -> int:
    return sum(times > 1 for times in counted.values())


def _tell(stage: Stage, by_last: int, undisturbed: Stage, folder: Path) -> None:
    """Print what became of the videos, against the undisturbed run."""
    print(f"done: {len(stage.counted('finished'))} of {len(stage.names)}")
    print(
        f"begun more than once, as they were in work at a kill: {_repeated(stage.counted('began'))}"
    )
    # Also those whose record was not yet in its place when the driver was killed.
    print(f"finished more than once: {_repeated(stage.counted('finished'))}")
    print(f"begun by the last driver: {by_last}")
    for name, dataset in (("this run", folder), ("undisturbed", undisturbed.out)):
        print(f"digest, {name}: {Dataset.open(dataset).digest}")
    differs = first_difference(_content(folder), _content(undisturbed.out))
    print(f"first difference of rows and files: {differs or 'none'}")


def _content(folder: Path) -> dict[str, Any]:
    """Return rows and files; a source is the same wherever it lies."""
    found = EXTRACTION.content(folder, None)
    for row in found.values():
        if isinstance(row, dict):
            row["source_path"] = PurePosixPath(row["source_path"]).name
    return found


if __name__ == "__main__":
    main()

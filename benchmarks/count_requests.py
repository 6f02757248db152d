"""How many requests `extract` makes of a bucket, per video: the figures of docs/storage.md.

Runs moto's S3 server, with sources of a few bytes and a worker that makes clips of a few bytes
(`tests.extraction.quick_worker`): requests don't depend on sizes below 100 MB.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.storage.s3_server import KEYS, s3_server

N_VIDEOS = 20


def main() -> None:
    """Print the requests of a first run, and of a second one that has nothing to do."""
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "server.log"
        with s3_server(log) as server:
            os.environ.update(
                KEYS,
                AWS_ENDPOINT_URL=server,
                TPBENCH_CACHE=f"{home}/cache",
                TPBENCH_SCRATCH=f"{home}/scratch",
            )
            measure(log)


def measure(log: Path) -> None:
    """Extract twice, and count what the server has logged."""
    from tests.extraction import quick_worker
    from tests.talks import short_settings
    from tpbench.extraction import run
    from tpbench.storage import objects
    from tpbench.storage.addresses import Address
    from tpbench.work import InThisProcess

    bucket = Address(scheme="s3", bucket="talks", key="")
    objects._files(bucket).mkdir("talks")
    for number in range(N_VIDEOS):
        objects.write(bucket.below(f"raw/{number}.mp4"), f"talk{number}".encode() * (number + 1))
    make_task = run._task
    stand_ins = {
        "_task": lambda *args: replace(make_task(*args), factory="quick_worker:build"),
        "_pool": lambda _: InThisProcess(build=quick_worker.build),
        "write_report": lambda *_, **__: None,
    }
    for name, stand_in in stand_ins.items():
        setattr(run, name, stand_in)
    for what in ("first run", "second run"):
        at = len(log.read_text())
        run.extract(
            "s3://talks/raw", "s3://talks/set", preset=short_settings(), skeleton="mediapipe"
        )
        requests = re.findall(r'"(?:\x1b\[\d+m)*([A-Z]+) (\S+) HTTP', log.read_text()[at:])
        counts = Counter(
            (method, "list" if "list-type" in path else kind(path)) for method, path in requests
        )
        print(f"{what}, {N_VIDEOS} videos of one clip: {len(requests)} requests")
        for (method, of), count in sorted(counts.items()):
            print(f"  {method:6} {of:24} {count:5} = {count / N_VIDEOS:.2f} a video")


def kind(path: str) -> str:
    """Return what an object is."""
    parts = path.partition("?")[0].split("/")[2:]
    return "/".join(parts[:2]) if parts[0] == "set" else f"{parts[0]}*{Path(parts[-1]).suffix}"


if __name__ == "__main__":
    main()

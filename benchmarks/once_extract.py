"""One extraction in a process of its own, with the tpbench that PYTHONPATH names.

    PYTHONPATH=CHECKOUT python benchmarks/once_extract.py SOURCES OUT --workers 2

Uses nothing but `tpbench.extract`, so it works with any commit. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path


def main() -> None:
    """Extract, and print what the run says of itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--preset", default="talkingpose")
    options = parser.parse_args()
    import tpbench

    began_s = time.perf_counter()
    dataset = tpbench.extract(
        [options.sources],
        options.out,
        preset=options.preset,
        skeleton="mediapipe",
        workers=options.workers,
        offline=True,
    )
    run, counts = dataset.info.run, dataset.info.counts
    assert run is not None
    said = {
        "package": str(Path(tpbench.__file__).parent),
        "extract_s": time.perf_counter() - began_s,
        "frames": run.source_frames,
        "source_s": run.source_s,
        "stage_s": run.stage_s,
        "kept": counts.kept,
        "kept_frames": counts.kept_frames,
        "rejected": counts.rejected,
        "failed": counts.failed + counts.quarantined,
        "codes": counts.reject_codes,
        "kept_sources": sorted(
            {clip.source_path for clip in dataset.clips(None) if clip.status == "kept"}
        ),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()

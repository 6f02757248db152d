"""What whoever works here verified: kept apart from runs, for a run vouches for nothing itself.

The folder that is to be judged may come from anybody, and a file in it says what its maker likes.
So `verify` notes what it found in the user's own state folder, under a digest of all that a table
shows of a run; other scores, records or `run.json` are another run, of which nothing is known.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tpbench.files import write_text_aside
from tpbench.foreign import ForeignFileError, read_json
from tpbench.metrics.scoring.report import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tpbench.benchmark.records import ClipRecord
    from tpbench.benchmark.run_info import RunInfo

_log = logging.getLogger(__name__)

STATE_VARIABLE: Final = "TPBENCH_STATE"
"""Names the state folder; default: the user's own of this system."""

Found = Literal["digest", "rerun"]
"""digest: the sha256 of every file was right. rerun: the scores were computed again, and agreed."""


def state_dir() -> Path:
    """Return the folder of what is known of runs. It need not exist."""
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("tpbench"))


def fingerprint(info: RunInfo, records: Mapping[str, ClipRecord], scores_digest: str) -> str:
    """Digest all that a run says: `run.json`, the records with the sha256 of their files, scores.

    `scores.json` names the sha256 of the per-frame values, and so its digest covers them.
    """
    content = {
        "run": info.model_dump(mode="json"),
        "records": {name: asdict(records[name]) for name in sorted(records)},
        "scores": scores_digest,
    }
    return digest_of(content)


def what_was_found(key: str) -> Found | None:
    """Return what `verify` found here of the run with this fingerprint; None: nothing."""
    try:
        content = read_json(_path(key))
    except (OSError, ForeignFileError):
        return None
    level = content.get("level") if isinstance(content, dict) else None
    return next((known for known in ("digest", "rerun") if known == level), None)


def note(key: str, found: Found | None, *, date: str) -> None:
    """Write down what was found of a run; None: that something is wrong with it."""
    path = _path(key)
    try:
        if found is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text_aside(path, json.dumps({"level": found, "date": date}) + "\n")
    except OSError as error:
        _log.warning(
            "%s: can't be written (%s): leaderboards here will not know of it; %s names another "
            "folder",
            path.parent,
            error.strerror,
            STATE_VARIABLE,
        )


def _path(key: str) -> Path:
    return state_dir() / "verified" / f"{key}.json"

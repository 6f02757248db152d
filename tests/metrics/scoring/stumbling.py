"""A task that measures one clip and stumbles over all others."""

from __future__ import annotations

from tpbench.metrics.scoring import clip_pass
from tpbench.work.worker import JsonObject, Process, ProgressReport


def build(config: JsonObject) -> Process:
    """Return the task of a worker process, with a bug."""
    task = clip_pass.build_in_worker(config)

    def process(payload: JsonObject, report: ProgressReport) -> JsonObject:
        if payload["clip_id"] == "clip0":
            return task(payload, report)
        raise LookupError(f"nobody thought of {payload['clip_id']}")

    return process

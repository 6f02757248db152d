"""The task that worker processes build: pairs of clips in, records out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tpbench.detectors.mediapipe_tasks import no_usage_statistics
from tpbench.metrics.scoring.clip_pass import ClipJob, ClipPass
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.records import RecordFolder
from tpbench.metrics.scoring.tools import Toolbox
from tpbench.work.worker import JsonObject, ProgressReport

FACTORY: Final = f"{__name__}:build_in_worker"


def payload_of(job: ClipJob) -> dict[str, Any]:
    """Return a job as JSON."""
    return {**asdict(job), "real": str(job.real), "generated": str(job.generated)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringTask:
    """Measures pairs, one after the other, with networks loaded once."""

    clip_pass: ClipPass

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Measure one pair, write its record, and say how many frames were scored."""
        paths = {name: Path(payload[name]) for name in ("real", "generated")}
        job = ClipJob(**{**payload, **paths})
        with no_usage_statistics():  # MediaPipe's, also where no worker has switched them off
            return {"frames": self.clip_pass.run(job, lambda done: report({"frames": done}))}

    def close(self) -> None:
        """Close the models."""
        self.clip_pass.toolbox.close()


def build(config: JsonObject) -> ScoringTask:
    """Return the task (the factory named in the task's specification).

    Args:
        config: `policies` (as JSON), `records` and `cache` (folders), `device`, `skeleton`,
            `offline`, `threads`.
    """
    return ScoringTask(
        clip_pass=ClipPass(
            policies=Policies(**config["policies"]),
            toolbox=Toolbox(
                device=config["device"], skeleton=config["skeleton"], offline=config["offline"]
            ),
            records=RecordFolder(Path(config["records"]), Path(config["cache"])),
            threads=config["threads"],
        )
    )


def build_in_worker(config: JsonObject) -> ScoringTask:
    """Return the task for a process of its own, which keeps to its share of the cores."""
    import cv2

    from tpbench.detectors.mediapipe_tasks import send_no_usage_statistics

    send_no_usage_statistics()
    cv2.setNumThreads(1)
    if config["uses_torch"]:
        import torch

        torch.set_num_threads(config["threads"])
    return build(config)

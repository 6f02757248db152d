"""What is to be measured of each pair, and what of it is measured already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tpbench.errors import MediaError
from tpbench.metrics.scoring.availability import Readiness
from tpbench.metrics.scoring.clip_pass import ClipJob
from tpbench.metrics.scoring.pairing import Pair
from tpbench.metrics.scoring.policies import Policies, is_refused_now
from tpbench.metrics.scoring.records import ClipRecord, RecordFolder, key_of
from tpbench.video import content_sha256, first_number_in


def make_jobs(
    pairs: Sequence[Pair], readiness: Readiness, policies: Policies
) -> tuple[list[ClipJob], dict[str, str]]:
    """Return a job for each pair whose files can be read, and by clip why the others can't.

    A job asks for all meters; `left_of` takes off what is done.
    """
    jobs: list[ClipJob] = []
    failed: dict[str, str] = {}
    for pair in pairs:
        try:
            real, generated = content_sha256(pair.real), content_sha256(pair.generated)
        except MediaError as error:
            failed[pair.clip_id] = str(error)
        else:
            jobs.append(_job(pair, real, generated, readiness, policies))
    return jobs, failed


def left_of(job: ClipJob, records: RecordFolder) -> ClipJob:
    """Return the job without the meters whose values are there and measured under equal keys."""
    done = records.finished(_standing(records.read(job.clip_id)), job.keys)
    return replace(job, keys={name: key for name, key in job.keys.items() if name not in done})


def finished_record(job: ClipJob, records: RecordFolder) -> ClipRecord | None:
    """Return the record of a pair of which everything is measured, else None."""
    record = _standing(records.read(job.clip_id))
    return record if records.finished(record, job.keys) == job.keys.keys() else None


def _standing(record: ClipRecord | None) -> ClipRecord | None:
    """Return a record unless it was made in a way that is an error by now."""
    return None if record is None or any(map(is_refused_now, record.notes)) else record


def _laying(pair: Pair, policies: Policies) -> dict[str, object]:
    """Return what the numbers of pictures decide: contents don't tell."""
    if policies.length != "truncate":
        return {}
    real, generated = first_number_in(pair.real), first_number_in(pair.generated)
    apart = real is not None and generated is not None and real != generated
    return {"numbers": [real, generated]} if apart else {}


def _job(
    pair: Pair, real: str, generated: str, readiness: Readiness, policies: Policies
) -> ClipJob:
    laying = _laying(pair, policies)
    if policies.shape == "any":
        laying["shape"] = "any"
    keys: dict[str, str] = {}
    real_keys: dict[str, str] = {}
    for row in readiness.meters:
        skeleton = readiness.skeleton_digest if row.needs_pose else ""
        common = {
            "meter": row.name,
            "version": row.version,
            "weights": readiness.digests[row.name],
            "skeleton": skeleton,
            "real": real,
        }
        laid = {"generated": generated, "policies": policies.to_json(), **laying}
        keys[row.name] = key_of({**common, **laid})
        if row.feature_dim:
            real_keys[row.name] = key_of({**common, "first_frame": policies.first_frame})
    if readiness.skeleton_digest:
        real_keys["skeletons"] = key_of(
            {
                "skeleton": readiness.skeleton_digest,
                "real": real,
                "first_frame": policies.first_frame,
            }
        )
    return ClipJob(
        clip_id=pair.clip_id,
        real=pair.real,
        generated=pair.generated,
        real_sha256=real,
        generated_sha256=generated,
        keys=keys,
        real_keys=real_keys,
    )

"""Whose picture which clip drives, in task `cross`."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from tpbench.benchmark.tasks import TaskClip
from tpbench.dataset import check_clip_id
from tpbench.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tpbench.dataset import Clip

_JOINT: Final = "__from__"
_PART_MAX: Final = 96  # two parts and the joint: 200, the longest that a clip id may be


def cross_clips(clips: Sequence[Clip], *, dataset_digest: str, where: str) -> tuple[TaskClip, ...]:
    """Give every clip a reference of another identity; equal clips, equal pairs.

    Each clip drives once. Its reference is drawn from the other identities, each as likely, and
    then from the clips of that identity. The draw is a sha256 over the digest of the dataset, the
    ids of all clips and the id of the driving one: neither order nor machine nor run changes it.

    Args:
        clips: of the split, all that are long enough.
        dataset_digest: of the dataset.
        where: for the message.

    Raises:
        DatasetError: fewer than two identities are seen.
    """
    by_identity: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        by_identity.setdefault(_identity(clip), []).append(clip)
    if len(by_identity) < 2:
        msg = (
            f"{where} shows one identity only ('{next(iter(by_identity))}'), and the task 'cross' "
            "wants two or more; use another split, or the task 'self'"
        )
        raise DatasetError(msg)
    split = json.dumps([dataset_digest, sorted(clip.clip_id for clip in clips)])
    made = []
    for clip in clips:
        others = sorted(by_identity.keys() - {_identity(clip)})
        drawn = hashlib.sha256(f"{split}{clip.clip_id}".encode()).digest()
        of_other = by_identity[others[int.from_bytes(drawn[:16]) % len(others)]]
        reference = of_other[int.from_bytes(drawn[16:]) % len(of_other)]
        made.append(
            TaskClip(
                clip_id=pair_id(clip.clip_id, reference.clip_id), driving=clip, reference=reference
            )
        )
    return tuple(sorted(made, key=lambda clip: clip.clip_id))


def pair_id(driving: str, reference: str) -> str:
    """Return the id of a pair: `<driving>__from__<reference>`; long ids are cut and hashed.

    >>> pair_id("anna_0_4000", "ben_0_4000")
    'anna_0_4000__from__ben_0_4000'
    """
    return check_clip_id(f"{_part(driving)}{_JOINT}{_part(reference)}")


def _part(clip_id: str) -> str:
    if len(clip_id) <= _PART_MAX:
        return clip_id
    digest = hashlib.sha256(clip_id.encode()).hexdigest()[:8]
    return f"{clip_id[: _PART_MAX - 9]}-{digest}"


def _identity(clip: Clip) -> str:
    return clip.identity or ""  # kept clips have one

"""Whether a clip is done: by what its record and its files hold, never by their mere presence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpbench.benchmark.records import read_record
from tpbench.errors import SubmissionError
from tpbench.files import sha256_of

if TYPE_CHECKING:
    from tpbench.benchmark.clip_files import Keep
    from tpbench.benchmark.records import ClipRecord
    from tpbench.benchmark.run_folder import RunFolder


def record_of(folder: RunFolder, clip_id: str, inputs: str) -> ClipRecord | None:
    """Return a clip's record if it can be read and was made of these inputs."""
    try:
        record = read_record(folder.record(clip_id))
    except SubmissionError:
        return None
    return record if record.inputs == inputs else None


def is_whole(folder: RunFolder, clip_id: str, inputs: str, keep: Keep) -> bool:
    """Whether a clip is done, and its files are the ones that its record names.

    Args:
        folder: of the run.
        clip_id: the clip.
        inputs: see `records.inputs_key`.
        keep: which files there have to be.
    """
    record = record_of(folder, clip_id, inputs)
    if record is None or record.status != "done":
        return False
    wanted = {folder.preview(clip_id): record.preview_sha256}
    if keep == "lossless":
        wanted[folder.generated(clip_id)] = record.generated_sha256
    return all(path.is_file() and sha256_of(path) == sha for path, sha in wanted.items())

"""One record per clip: what became of it. The record is written last; without it nothing counts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, get_args

from tpbench.benchmark.tasks import TaskClip
from tpbench.errors import SubmissionError
from tpbench.files import write_text_aside
from tpbench.foreign import ForeignFileError, parse_json, read_bytes

RECORD_VERSION: Final = 1

RecordStatus = Literal["done", "failed", "quarantined"]
"""failed: the model said why, or broke the seam. quarantined: it kept killing its worker."""
_SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRecord:
    """What became of one clip of a run."""

    clip_id: str
    status: RecordStatus
    inputs: str
    """Key of all that the frames hang on (see `inputs_key`); another key, another clip."""
    reason: str | None = None
    """One line: why there is no clip."""
    n_frames: int = 0
    """Frames made; 0 if there is no clip."""
    fps: str = ""
    """Exact rate, such as "30000/1001"."""
    width_px: int = 0
    height_px: int = 0
    encoding: str = ""
    """Of the file in `generated/`; empty if only the preview was kept."""
    generated_sha256: str | None = None
    """Of the bytes of the file in `generated/`; None if only the preview was kept."""
    preview_sha256: str | None = None
    frames_sha256: str | None = None
    """Of the RGB bytes of all frames in order: the same whatever the encoder and its version."""
    gen_s: float = 0.0
    """Time the generator took for it; for clips made together, their share."""
    peak_host_bytes: int | None = None
    """Largest memory of the process that made it, or of one it started, up to then."""
    peak_gpu_bytes: int | None = None
    """Largest memory that torch held on the GPU while it was made."""
    code: str = ""
    """Version of tpbench, with the commit where it ran from a checkout."""

    def __post_init__(self) -> None:
        if self.status not in get_args(RecordStatus):
            raise SubmissionError(f"record of {self.clip_id}: no status {self.status!r}")
        hashes = (self.generated_sha256, self.preview_sha256, self.frames_sha256)
        if any(value is not None and not _SHA256.fullmatch(value) for value in hashes):
            raise SubmissionError(f"record of {self.clip_id}: a sha256 is none")
        done = self.status == "done"
        if done != (self.frames_sha256 is not None) or done == bool(self.reason):
            want = "frames and no reason" if done else "a reason and no frames"
            raise SubmissionError(f"record of {self.clip_id}: a {self.status} clip has {want}")

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.fps)


def inputs_key(
    clip: TaskClip,
    *,
    configuration: Mapping[str, Any],
    model: str,
    task: str,
    seed: int,
    encoding: str,
) -> str:
    """Digest all that a generated clip hangs on: sha256 over canonical JSON.

    Args:
        clip: what is made; the hashes of its files count.
        configuration: what the generator says of itself: options, weights' sha256.
        model: its name.
        task: id and version.
        seed: of the run.
        encoding: how frames are stored.
    """
    parts = {
        "clip": clip.content,
        "configuration": configuration,
        "encoding": encoding,
        "model": model,
        "record": RECORD_VERSION,
        "seed": seed,
        "task": task,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_record(path: Path, record: ClipRecord) -> None:
    """Write a record as JSON with a digest of its own, aside and renamed."""
    write_text_aside(path, _text(record))


def _text(record: ClipRecord) -> str:
    content = {"schema_version": RECORD_VERSION, **asdict(record)}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "digest": digest}, indent=2) + "\n"


def read_record(path: Path) -> ClipRecord:
    """Read a record.

    Raises:
        SubmissionError: it is absent, of another version, of another clip, or was tampered with.
    """
    try:
        raw = read_bytes(path)
        content = parse_json(raw)
    except (OSError, ForeignFileError) as error:
        raise SubmissionError(f"{path}: no readable record ({error})") from error
    version = content.pop("schema_version", None) if isinstance(content, dict) else None
    if version != RECORD_VERSION:
        raise SubmissionError(
            f"{path}: schema version {version}, this tpbench reads {RECORD_VERSION}"
        )
    content.pop("digest", None)
    if problem := _problem(content):
        raise SubmissionError(f"{path}: {problem}")
    try:
        record = ClipRecord(**content)
    except SubmissionError as error:
        raise SubmissionError(f"{path}: {error}") from error
    if record.clip_id != path.stem:
        raise SubmissionError(f"{path}: the record of another clip, {record.clip_id!r}")
    if raw != _text(record).encode():
        raise SubmissionError(f"{path}: was changed after it was written")
    return record


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "RecordStatus": (str,),
    "int": (int,),
    "float": (int, float),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
}


def _problem(content: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the fields of a record; None if nothing is."""
    kinds = {field.name: _KINDS[str(field.type)] for field in fields(ClipRecord)}
    if odd := sorted(content.keys() ^ kinds.keys()):
        return f"fields {', '.join(odd)} are missing or not known"
    wrong = [name for name, kind in kinds.items() if not isinstance(content[name], kind)]
    return f"{', '.join(wrong)}: not of the right kind" if wrong else None

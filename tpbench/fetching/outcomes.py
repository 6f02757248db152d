"""What became of each video of a list: records that decide what is left, and a table to read.

The records alone say what was fetched: a file counts only with its record, and with the size that
the record names. The table `fetched.parquet` is written from them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

from pydantic import FiniteFloat

from tpbench.errors import DatasetError
from tpbench.fetching.lists import ListedVideo
from tpbench.files import atomic_write
from tpbench.privacy import public_text
from tpbench.spread import entries, make_place
from tpbench.work.records import Record, RecordError, sweep

logger = logging.getLogger(__name__)

FETCH_FOLDER: Final = ".fetch"
"""Below the folder of raw videos: records and unfinished downloads. Private."""
FETCHED_TABLE: Final = "fetched.parquet"
"""Below the folder of raw videos: one row per video of the last list."""
METADATA_ENDING: Final = ".info.json"
"""Of the metadata file that yt-dlp, too, writes beside a video."""
_RECORDS: Final = "records"

FetchOutcome = Literal[
    "ok",
    "gone",
    "private",
    "age",
    "region",
    "blocked",
    "network",
    "unusable",
    "licence",
    "excluded",
    "pending",
]
OUTCOMES: Final[tuple[FetchOutcome, ...]] = get_args(FetchOutcome)
MEANINGS: Final[Mapping[FetchOutcome, str]] = {
    "ok": "fetched",
    "gone": "removed, or never there",
    "private": "private, for members, or to be paid for",
    "age": "only for signed-in adults",
    "region": "not shown in this country",
    "blocked": "refused to this machine; the next run tries again",
    "network": "not reached, or cut off; the next run tries again",
    "unusable": "no single finished video: a playlist, a live stream, sound only, an unknown page",
    "licence": "under another licence than asked for",
    "excluded": "excluded by a list, or removed from a dataset",
    "pending": "not tried yet",
}
FAILED: Final = frozenset({"gone", "private", "age", "region", "blocked", "network", "unusable"})
TRIED_AGAIN: Final = frozenset({"blocked", "network", "pending"})
"""What the next run tries again without being asked to."""
HELPED_BY_COOKIES: Final = frozenset({"private", "age"})


class FetchRecord(Record):
    """What is known of one video, after it was tried."""

    indent: ClassVar[int | None] = None

    video_id: str
    url: str
    """Without user names and secrets."""
    outcome: FetchOutcome
    detail: str | None = None
    """Why it was not fetched, in the words of the host or of yt-dlp."""
    with_cookies: bool = False
    attempts: int = 1
    tried_at: str
    """ISO 8601, UTC."""
    file: str | None = None
    """Name below the folder of raw videos."""
    size_bytes: int | None = None
    sha256: str | None = None
    title: str | None = None
    uploader: str | None = None
    licence: str | None = None
    published_on: str | None = None
    """ISO 8601 date."""
    duration_s: FiniteFloat | None = None
    width_px: int | None = None
    height_px: int | None = None
    deleted: bool = False
    """Whether the file was deleted after its clips were extracted."""


class FetchRecords:
    """The records of one folder of raw videos; hold its lock while they are open.

    Args:
        folder: of raw videos.

    Raises:
        DatasetError: a record is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home = folder / FETCH_FOLDER / _RECORDS
        self.known: dict[str, FetchRecord] = {}
        """By video id."""
        for path in entries(self._home):
            if path.match("[!.]*.json"):
                record = _read(path)
                self.known[record.video_id] = record

    def put(self, record: FetchRecord) -> None:
        """Write a record; it is on disk when this returns."""
        self._home.parent.mkdir(parents=True, exist_ok=True)
        record.write(make_place(self._home, _name(record.video_id)))
        self.known[record.video_id] = record

    def file_of(self, video_id: str) -> Path | None:
        """Return the fetched file of a video, if it is there with the size it was fetched with."""
        record = self.known.get(video_id)
        if record is None or record.outcome != "ok" or record.file is None:
            return None
        path = self.folder / record.file
        try:
            return path if path.stat().st_size == record.size_bytes else None
        except OSError:
            return None

    def delete_file(self, video_id: str) -> int:
        """Delete the fetched file of a video, and note that; return how many bytes that freed."""
        path = self.file_of(video_id)
        if path is None:
            return 0
        record = self.known[video_id]
        self.put(record.model_copy(update={"deleted": True}))
        path.unlink()
        return record.size_bytes or 0

    def is_settled(self, video: ListedVideo, *, with_cookies: bool, retry_failed: bool) -> bool:
        """Whether a video need not be tried (again): it is there, or can't be had.

        A file that was deleted after extraction counts as there.
        """
        record = self.known.get(video.video_id)
        if record is None or record.outcome in TRIED_AGAIN:
            return False
        if record.outcome == "ok":
            return record.deleted or self.file_of(video.video_id) is not None
        if record.outcome in {"licence", "excluded"}:
            return False  # the choice of this run is asked again, which costs nothing
        new_cookies = with_cookies and not record.with_cookies
        return not (retry_failed or (new_cookies and record.outcome in HELPED_BY_COOKIES))

    def sweep(self) -> None:
        """Delete temporary files of a killed run."""
        if self._home.is_dir():
            sweep([self._home, *(path for path in self._home.iterdir() if path.is_dir())])
        sweep([self.folder])


def write_table(
    folder: Path,
    videos: Sequence[ListedVideo],
    records: Mapping[str, FetchRecord],
    outcomes: Mapping[str, FetchOutcome],
) -> None:
    """Write `fetched.parquet`: one row per video of the list, in its order.

    Args:
        folder: of raw videos.
        videos: of the list.
        records: by video id.
        outcomes: by video id, as this run sees them: what it excludes may have been fetched before.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(video, records.get(video.video_id), outcomes[video.video_id]) for video in videos]
    table = pa.Table.from_pylist(rows, schema=_schema())
    with atomic_write(folder / FETCHED_TABLE) as temporary:
        pq.write_table(table, temporary)


def count_outcomes(outcomes: Iterable[FetchOutcome]) -> dict[FetchOutcome, int]:
    """Return how often each outcome occurs, in the order of `OUTCOMES`, none with 0."""
    found = list(outcomes)
    return {name: number for name in OUTCOMES if (number := found.count(name))}


def _row(video: ListedVideo, record: FetchRecord | None, outcome: FetchOutcome) -> dict[str, Any]:
    # Of people who are left out, the table says no more than that.
    shown = None if outcome == "excluded" else record
    known: dict[str, Any] = {} if shown is None else shown.model_dump()
    known.setdefault("url", public_text(video.url))
    detail = shown.detail if shown is not None and shown.outcome == outcome else None
    return known | {
        "video_id": video.video_id,
        "outcome": outcome,
        "detail": detail,
        "rows": video.rows,
        "spans": [{"start_s": span.start_s, "end_s": span.end_s} for span in video.spans],
    }


def _schema() -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            ("video_id", text),
            ("url", text),
            ("outcome", text),
            ("detail", text),
            ("rows", whole),
            ("spans", pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64())]))),
            ("file", text),
            ("size_bytes", whole),
            ("sha256", text),
            ("deleted", pa.bool_()),
            ("title", text),
            ("uploader", text),
            ("licence", text),
            ("published_on", text),
            ("duration_s", pa.float64()),
            ("width_px", whole),
            ("height_px", whole),
            ("attempts", whole),
            ("tried_at", text),
        ]
    )


def _read(path: Path) -> FetchRecord:
    try:
        return FetchRecord.read(path)
    except RecordError as error:
        raise DatasetError(f"{error}; delete this file, and its video is fetched again") from error


def _name(video_id: str) -> str:
    # Ids that differ in upper and lower case only are one name on some disks.
    return f"{video_id}-{hashlib.sha256(video_id.encode()).hexdigest()[:8]}.json"

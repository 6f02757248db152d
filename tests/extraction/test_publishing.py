"""The rows of a manifest, as the records of all sources give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpbench.dataset import Clip
from tpbench.dataset.manifest import rows_of
from tpbench.extraction.planning import make_folder
from tpbench.extraction.publishing import published
from tpbench.extraction.records import SourceRecord, SourceRecords, open_records
from tpbench.extraction.sources import Source


def row(clip_id: str, code: str) -> dict[str, Any]:
    clip = Clip(
        clip_id=clip_id,
        status="rejected",
        source_id="talk",
        source_path="talk.mp4",
        reject_codes=(code,),
    )
    return clip.to_json()


def put(records: SourceRecords, name: str, *rows: dict[str, Any]) -> None:
    path = records.folder / name
    result = {
        "clips": list(rows),
        "source_sha256": "0" * 64,
        "n_frames": 10,
        "duration_s": 0.5,
        "stage_s": {"decode": 0.25},
    }
    record = SourceRecord(
        item=str(path),
        state="done",
        attempts=1,
        source=Source(path=path, shown_path=name, sha256="0" * 64, size_bytes=1, mtime_ns=1),
        result=result,
        cpu_s=2.0,
    )
    records.put(record)


def test_rows_of_a_source_that_is_to_be_done_again_stay_unless_a_current_one_has_them(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path / "out")
    with open_records(tmp_path / "out", settings="s", config={}) as records:
        # By its name, the outdated source comes first.
        put(records, "a.mp4", row("talk_1", "old.code"), row("talk_2", "old.code"))
        put(records, "b.mp4", row("talk_2", "new.code"), row("talk_3", "new.code"))
        records.start_over(str(tmp_path / "out" / "a.mp4"))
        table, stats = published(records, workers=3)
    told = {clip.clip_id: clip.reject_codes for clip in rows_of(table)}
    assert told == {"talk_1": ("old.code",), "talk_2": ("new.code",), "talk_3": ("new.code",)}
    assert (stats.workers, stats.source_frames, stats.source_s, stats.core_s) == (3, 20, 1.0, 4.0)
    assert stats.stage_s == {"decode": 0.5}

"""The simplest records: one file an item, with its state and its tries in vain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tpbench.work import Outcome, Pool, ProgressCounter, TaskSpec, WorkItem, run_items
from tpbench.work.locks import locked
from tpbench.work.records import Record


class Note(Record):
    """What became of an item."""

    state: str
    attempts: int


class Notes:
    """The records of one folder, opened by one driver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
        """Write an outcome down, then count it."""
        state = "pending" if outcome.kind == "retried" else outcome.kind
        note = Note(state=state, attempts=outcome.attempts)
        note.write(self.folder / f"{outcome.key}.json")
        if outcome.kind != "retried":
            progress.finish(outcome.key, counts={outcome.kind: 1})

    def pending(self, payloads: Sequence[Mapping[str, Any]]) -> Iterator[WorkItem]:
        """Yield what is not finished."""
        known = notes(self.folder)
        for payload in payloads:
            note = known.get(str(payload["name"]), Note(state="pending", attempts=0))
            if note.state == "pending":
                yield WorkItem(key=payload["name"], payload=payload, attempts=note.attempts)


def notes(folder: Path) -> dict[str, Note]:
    """Read all records."""
    return {path.stem: Note.read(path) for path in sorted(folder.glob("[!.]*.json"))}


def add(folder: Path, *payloads: Mapping[str, Any]) -> None:
    """Note what is to be done."""
    folder.mkdir(exist_ok=True)
    with (folder / "payloads").open("a") as file:
        file.writelines(f"{json.dumps(payload)}\n" for payload in payloads)


def work(folder: Path, task: TaskSpec) -> None:
    """Do what is not finished, as the only driver."""
    payloads = [json.loads(line) for line in (folder / "payloads").read_text().splitlines()]
    with locked(folder / ".lock"):
        records = Notes(folder)
        progress = ProgressCounter("work", total=len(payloads), before=0, listener=None)
        items = records.pending(payloads)
        run_items(task, items, records, executor=Pool(num_workers=2), progress=progress)

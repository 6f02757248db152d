"""Whatever is made to be sent around says nothing of the machine, its user, and secrets."""

from __future__ import annotations

import json
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import JsonValue

import tpbench
from tests.benchmark.conftest import edit_record, write_dataset
from tests.benchmark.evaluating import FAST, Evaluator
from tests.benchmark.generators import Numbered
from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame
from tpbench.benchmark.leaderboard.tables import build_leaderboard
from tpbench.benchmark.run_folder import ClipRecord
from tpbench.benchmark.run_info import write_run_info
from tpbench.benchmark.verify import verify_run
from tpbench.extraction.rows import failed_row
from tpbench.extraction.run import extract
from tpbench.extraction.sources import Source, read_provenance

USER = "alicequirk"
HOST = "quirkhost77"
SECRET = "hf_QUIRKquirkQUIRK42"  # noqa: S105 - a made-up one
MARKS = (USER, HOST, SECRET)

KEPT_AT_HOME = {".local.json", "log.txt", ".records", ".run.lock", ".lock", "workers.log"}
"""What docs/evaluation.md says to leave out of what is sent."""


class Telling(Numbered):
    """Says of itself, and of a clip that it can't make, more than it should."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def describe(self) -> Mapping[str, JsonValue]:
        return {"hf_token": SECRET, "checkpoint": str(self._home / "w.pt"), "gain": 0.5}

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        for task in tasks:
            if task.clip_id == "b":
                reason = f"{self._home / 'my gen'}: holds no b.mp4 (hf_token={SECRET})"
                yield ClipFailure(clip_id="b", reason=reason)
            else:
                yield from super().generate([task])


def texts_of(path: Path) -> Iterator[str]:
    """Yield all that a file says, whatever it is packed in."""
    yield path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        yield pd.read_parquet(path).to_csv()
    elif path.suffix in {".npz", ".npy"}:
        data = np.load(path, allow_pickle=False)
        for name in data.files if path.suffix == ".npz" else ():
            yield f"{name} {data[name].tolist() if data[name].dtype.kind == 'U' else ''}"


def leaks(folder: Path, marks: Sequence[str]) -> list[str]:
    """Say which published files below a folder have one of the marks in them, or in their name."""
    return [
        f"{path.relative_to(folder)}: {mark}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not KEPT_AT_HOME & set(path.relative_to(folder).parts)
        for mark in marks
        if any(mark in text for text in (*texts_of(path), str(path.relative_to(folder))))
    ]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of a user whose name stands nowhere else, on such a machine."""
    home = tmp_path / "home" / USER
    home.mkdir(parents=True)
    for name in ("HOME", "USER", "LOGNAME", "HOSTNAME"):
        value = {"HOME": str(home), "HOSTNAME": HOST}.get(name, USER)
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.chdir(home)
    return home


def test_runs_scores_and_boards_say_nothing_private(home: Path) -> None:
    write_dataset(home / "talks")
    command = (
        "tpbench", "eval", "--data", str(home / "talks"), "--option", f"hf_token={SECRET}",
        "--option", f"folder={home / 'gen'}", "--option", "gain=0.5",
    )  # fmt: skip
    evaluation = Evaluator(data=home / "talks", out=home / "runs")(
        Telling(home), model="tests.benchmark:Telling", command=command
    )
    run = evaluation.runs[0]
    verify_run(run.folder.path, recompute=False)

    built = build_leaderboard([home / "runs"], home / "site", data=home / "talks")

    marks = (*MARKS, str(home.parent.parent))
    assert leaks(home / "runs", marks) == []
    assert leaks(home / "site", marks) == []
    assert run.info.model.configuration["gain"] == 0.5
    reason = ClipRecord.read(run.folder.record("b")).reason
    assert reason == "my gen: holds no b.mp4 (hf_token=(hidden))"
    assert "--option gain=0.5" in (built.leaderboard.rows[0].command or "")


def test_a_run_goes_on_and_is_verified_though_nothing_private_is_in_it(home: Path) -> None:
    write_dataset(home / "talks")
    evaluator = Evaluator(data=home / "talks", out=home / "runs")
    first = evaluator(Telling(home)).runs[0]
    before = first.folder.record("a").stat().st_mtime_ns
    again = evaluator(Telling(home)).runs[0]
    assert again.folder.record("a").stat().st_mtime_ns == before
    assert verify_run(again.folder.path, workers=1).level == "rerun"
    assert stat.S_IMODE(again.folder.local.stat().st_mode) == 0o600


def test_a_run_of_an_older_version_is_cleaned_when_it_is_published(home: Path) -> None:
    write_dataset(home / "talks")
    evaluator = Evaluator(data=home / "talks", out=home / "runs")
    run = evaluator(Telling(home)).runs[0]
    path = run.folder.path
    run.folder.local.unlink()
    session = run.info.sessions[0].model_copy(
        update={"command": ("tpbench", "eval", "--option", f"hf_token={SECRET}")}
    )
    old = run.info.model_copy(
        update={
            "dataset": run.info.dataset.model_copy(update={"folder": str(home / "talks")}),
            "model": run.info.model.model_copy(update={"name": "tests.benchmark:Telling"}),
            "sessions": (session,),
        }
    )
    write_run_info(path, old)
    edit_record(run.folder.record("b"), reason=f"{home / 'gen' / 'b.mp4'}: is broken")

    board = build_leaderboard([path], home / "site").leaderboard

    assert leaks(home / "site", (*MARKS, str(home.parent.parent))) == []
    assert board.rows[0].runs[0].failed["b"] == "gen/b.mp4: is broken"
    assert "--option hf_token=HF_TOKEN" in (board.rows[0].command or "")
    # And it is verified without `--data`, as before.
    assert not [p for p in verify_run(path, workers=1).problems if "is needed" in p]


def test_a_run_whose_records_hang_on_private_settings_goes_on(home: Path) -> None:
    """Older versions wrote settings as they were: the clips made under them are not made again."""
    write_dataset(home / "talks")
    evaluator = Evaluator(data=home / "talks", out=home / "runs")
    with pytest.MonkeyPatch.context() as old_version:
        old_version.setattr("tpbench.benchmark.generate.public_values", lambda value: value)
        first = evaluator(Telling(home)).runs[0]
    assert SECRET in (first.folder.path / "run.json").read_text()
    before = first.folder.record("a").stat().st_mtime_ns
    again = evaluator(Telling(home)).runs[0]
    assert again.folder.record("a").stat().st_mtime_ns == before
    build_leaderboard([again.folder.path], home / "site", data=home / "talks")
    assert leaks(home / "site", MARKS) == []


def test_scores_of_any_two_folders_say_nothing_private(home: Path) -> None:
    write_dataset(home / "talks")
    real, generated = home / "talks" / "clips", home / "made by me"
    shutil.copytree(real, generated)
    next(generated.glob("*/b.mp4")).write_bytes(b"no video")
    report = tpbench.score(
        real, generated, out=home / "scores", metrics=FAST, workers=1, device="cpu", offline=True
    )
    assert "b" in report.coverage.failed
    assert leaks(home / "scores", (*MARKS, str(home.parent.parent))) == []


@pytest.mark.slow
def test_a_dataset_says_nothing_private(home: Path, tmp_path: Path) -> None:
    talks = home / "talks"
    talks.mkdir()
    (talks / "broken.mp4").write_bytes(b"no video")
    info = {"webpage_url": f"https://{USER}:{SECRET}@x.org/v?v=1&token={SECRET}", "uploader": "Ann"}
    (talks / "broken.info.json").write_text(json.dumps(info))
    extract([talks], home / "out", skeleton="mediapipe", workers=1)
    assert (home / "out" / "manifest.parquet").is_file()
    assert leaks(home / "out", (*MARKS, str(tmp_path))) == []


def test_what_is_known_of_a_source_says_nothing_private(home: Path) -> None:
    address = f"https://{USER}:{SECRET}@x.org/v?v=1&token={SECRET}"
    (home / "talk.info.json").write_text(json.dumps({"webpage_url": address}))
    source = Source(
        path=home / "talk.mp4", shown_path="talk.mp4", size_bytes=1, mtime_ns=1, sha256="0" * 64
    )
    row = failed_row(source, f"{home / 'talk.mp4'}: broken (more on it: {home / 'workers.log'})")
    assert read_provenance(home / "talk.mp4").url == "https://x.org/v?v=1"
    assert row.error == "talk.mp4: broken (more on it: workers.log)"


def test_the_search_itself_finds_what_is_there(tmp_path: Path) -> None:
    pd.DataFrame({"a": [USER]}).to_parquet(tmp_path / "a.parquet")
    np.savez_compressed(tmp_path / "b.npz", meta=np.array(HOST))
    (tmp_path / "c.json").write_text(SECRET)
    assert len(leaks(tmp_path, MARKS)) == 3

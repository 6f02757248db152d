"""The whole way by the command line: from a list of addresses to scores, and someone leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli import drawn_worker
from tests.cli.conftest import invoke
from tests.cli.drawn_worker import write_head_talk
from tests.fetching.server import Site, running_site, write_list
from tpbench.dataset import Dataset
from tpbench.extraction import rebuild_task, rebuilding, run
from tpbench.video import PREVIEW, VideoWriter, read_frames
from tpbench.work import InThisProcess

EXPORTS = {
    "webdataset": "test-index.json",
    "hf": "test/00000/metadata.parquet",
    "coco": "wholebody-test.json",
    "talkingpose-json": "test_meta.json",
    "pack": "pack.json",
}
"""A file that each export holds."""
TALKS = ("talk-1", "talk-2", "talk-3")
"""Ann gives the first two, Ben the third."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    with running_site() as site:
        yield site


def said(*words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run a command with `--json`; return what it prints."""
    done = invoke(*words, "--json")
    assert done.exit_code == code, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def extracted(*more: str) -> Dataset:
    """Extract the raw videos, or look whether they all are."""
    said("extract", "raw", "--out", "DATASET", "--skeleton", "mediapipe", "--workers", "1", *more)
    return Dataset.open("DATASET")


def fetch_all(site: Site, talks: Mapping[str, bytes]) -> None:
    """Fetch a list with a header, a row twice and a video that is gone."""
    rows = [site.put(f"/{name}.mp4", content) for name, content in talks.items()]
    write_list(Path("ids.csv"), "url", *rows, rows[0], site.put("/gone.mp4", 404))
    fetched = said("fetch", "ids.csv", "--out", "raw", "--pause", "0", code=3)
    assert fetched["outcomes"] == {"ok": 3, "gone": 1}
    assert len(list(Path("raw").glob("*.mp4"))) == 3


def split_by_people(sources: Mapping[str, str]) -> None:
    """Split so that each of the two people is on a side of their own."""
    rows = [
        f"{sources[name]},{who}" for name, who in zip(TALKS, ["Ann", "Ann", "Ben"], strict=True)
    ]
    write_list(Path("people.csv"), "source_id,identity", *rows)
    split = said("split", "DATASET", "--identities", "people.csv", "--test", "0.5",
                 "--version-name", "test-v1")  # fmt: skip
    assert (split["train_identities"], split["test_identities"]) == (1, 1)
    assert "test-v1" in split["versions"]


def card_check_and_export() -> None:
    assert set(said("card", "DATASET")["files"]) == {"README.md", "croissant.json"}
    assert said("check", "DATASET")["problems"] == []
    for kind, name in EXPORTS.items():
        written = said("export", "DATASET", "--to", kind, "--out", kind)
        assert sum(written["clips"].values()) == 3
        assert (Path(kind) / name).is_file()


def rebuilt(pack: str, out: str) -> dict[str, Any]:
    return said("rebuild", pack, "--raw", "raw", "--out", out, "--workers", "1")


def assert_the_oracle_is_perfect(data: str, split: str) -> None:
    scored = said("eval", "--model", "oracle", "--data", data, "--split", split, "--out", "runs",
                  "--metrics", "psnr,ssim", "--workers", "1", "--offline")  # fmt: skip
    values = {name: score["value"] for name, score in scored["metrics"].items()}
    assert values == {"psnr": 100, "ssim": 1}


def assert_nobody_brings_back(source: str, *more: str, caplog: pytest.LogCaptureFixture) -> None:
    """Remove a source from both datasets; look whether any command brings it back."""
    for data in ("DATASET", "REBUILT"):
        assert said("remove", data, "--source", source)["clips_left"] == 2
    left = Dataset.open("DATASET").digest
    assert extracted(*more).digest == left
    assert rebuilt("pack", "REBUILT")["sides"]["all"]["outcomes"] == {"identical": 2}
    assert Dataset.open("REBUILT").digest == left
    assert len(Dataset.open("REBUILT").clips(split="test-v1")) == 1
    assert "1 of 2 clips of test-v1 are not in the dataset any more" in caplog.text
    said("export", "DATASET", "--to", "pack", "--out", "pack without")
    assert rebuilt("pack without", "REBUILT without")["original"]
    fetched = said("fetch", "ids.csv", "--out", "raw again", "--pause", "0",
                   "--removals", "DATASET", code=3)  # fmt: skip
    assert fetched["outcomes"] == {"ok": 2, "gone": 1, "excluded": 1}
    for data in ("DATASET", "REBUILT", "REBUILT without"):
        assert said("check", data)["problems"] == []
        assert source not in {row.source_id for row in Dataset.open(data).clips(status=None)}


def walk(
    site: Site, talks: Mapping[str, bytes], *more: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Walk the whole way.

    Args:
        site: that has the talks.
        talks: name in `TALKS` to the bytes of a video.
        more: options of `extract`.
        caplog: pytest's.
    """
    fetch_all(site, talks)
    dataset = extracted(*more)
    sources = {row.source_id[: len("talk-1")]: row.source_id for row in dataset.clips()}
    assert set(sources) == set(TALKS)
    split_by_people(sources)
    card_check_and_export()
    found = rebuilt("pack", "REBUILT")
    assert found["original"]
    assert found["digest"] == Dataset.open("DATASET").digest
    assert said("check", "REBUILT")["problems"] == []
    assert_the_oracle_is_perfect("REBUILT", "test-v1")
    assert_nobody_brings_back(sources["talk-1"], *more, caplog=caplog)


def test_the_whole_way_of_made_talks(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(run, "_pool", lambda _: InThisProcess(build=drawn_worker.build))
    monkeypatch.setattr(rebuilding, "Pool", lambda **_: InThisProcess(build=rebuild_task.build))
    paths = [write_head_talk(tmp_path / f"{name}.mp4", int(name[-1])) for name in TALKS]
    walk(site, {path.stem: path.read_bytes() for path in paths}, caplog=caplog)


@pytest.mark.shared
def test_the_whole_way_of_real_talks(
    site: Site, shared_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shared_dir / "data" / "talkingpose_samples"
    pieces = {"talk-1": ("vid1", 300), "talk-2": ("vid1", 500), "talk-3": ("vid3", 300)}
    talks = {}
    for name, (stem, first) in pieces.items():
        path = tmp_path / f"{name}.mp4"
        with VideoWriter(
            path, width_px=512, height_px=512, fps=Fraction(23), encoding=PREVIEW
        ) as writer:
            source = folder / f"{stem}.mp4"
            for frame in read_frames(source, start_frame=first, end_frame=first + 105):
                writer.write(frame.image)
        talks[name] = path.read_bytes()
    walk(site, talks, "--preset", "demo", caplog=caplog)

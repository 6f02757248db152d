"""A list that is fetched and extracted by the command line, whose process is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.fetching.server import running_site, write_list
from tests.processes import started, wait_while_running
from tests.talks import brighter, short_settings, write_talk
from tpbench.dataset import read_clips
from tpbench.dataset.folder import RECORDS_FOLDER

N_TALKS = 4


def finished(out: Path) -> int:
    return len(list((out / RECORDS_FOLDER / "sources").rglob("[!.]*.json")))


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_run_ends_as_an_undisturbed_one_and_fetches_nothing_finished_again(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    preset = tmp_path / "short.yaml"
    preset.write_text(yaml.safe_dump(short_settings().model_dump(mode="json")))
    talks = [write_talk(tmp_path / f"talk{n}.mp4", brighter(2 * n)) for n in range(N_TALKS)]
    with running_site() as site:
        rows = [site.put(f"/{talk.name}", talk.read_bytes()) for talk in talks]
        words = ["-m", "tpbench", "extract", str(write_list(tmp_path / "ids.txt", *rows))]
        words += ["--fetch", "--delete-raw", "--pause", "0", "--skeleton", "mediapipe"]
        words += ["--workers", "1", "--preset", str(preset), "--out"]
        out = tmp_path / "data"
        with started(*words, str(out)) as process:
            wait_while_running(process, lambda: bool(site.requests) and finished(out) >= after)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        done = finished(out)
        before = len(site.requests)
        with started(*words, str(out)) as process:
            assert process.wait(240) == 0
        again = {request.path for request in site.requests[before:]}
        with started(*words, str(tmp_path / "undisturbed")) as process:
            assert process.wait(240) == 0
    kept, expected = (
        {clip.clip_id: clip.clip_sha256 for clip in read_clips(folder, status="kept")}
        for folder in (out, tmp_path / "undisturbed")
    )
    assert kept == expected
    assert len(kept) == N_TALKS
    assert not list((tmp_path / "data-raw").glob("*.mp4"))
    assert len(again) <= N_TALKS - done

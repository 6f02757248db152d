"""The machine's fault is no video's: the run stops or comes back later, and nobody is blamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest

from tests.extraction.quick_worker import FAULTS, SHORTAGES
from tests.talks import short_settings
from tpbench.dataset import Dataset
from tpbench.errors import DatasetError, TPBenchError
from tpbench.extraction.planning import SourceNames
from tpbench.extraction.records import read_records
from tpbench.extraction.run import extract
from tpbench.extraction.sources import Source

SETTINGS = short_settings()
FIRST = ("memory", "output")
"""Of the faults; the others are told apart by the tests of `work.faults`, too."""


pytestmark = pytest.mark.usefixtures("quick_clips")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    return write(tmp_path / "talks" / "a.mp4", "a").parent


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


def write(path: Path, words: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(words if isinstance(words, bytes) else words.encode())
    return path


def extracted(out: Path, *inputs: Path, retry_failed: bool = False) -> Dataset:
    return extract(
        inputs, out, preset=SETTINGS, skeleton="mediapipe", workers=1, retry_failed=retry_failed
    )


def standing(out: Path) -> dict[str, tuple[str, int]]:
    """File name -> where it stands and how often it was tried in vain."""
    return {Path(e.item).name: (e.state, e.attempts) for e in read_records(out)}


def kept(dataset: Dataset) -> set[str]:
    return {Path(clip.source_path).name for clip in dataset.clips()}


def errors(dataset: Dataset) -> list[str | None]:
    return [clip.error for clip in dataset.clips("failed")]


def some_slow(faults: Iterable[str]) -> list[object]:
    """All but the first ones are for the slow suite."""
    slow = pytest.mark.slow
    return [fault if fault in FIRST else pytest.param(fault, marks=slow) for fault in faults]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("fault", some_slow(SHORTAGES))
def test_a_video_with_which_something_always_runs_out_is_given_up_after_three_tries(
    fault: str, talks: Path, out: Path, tmp_path: Path
) -> None:
    write(talks / "b.mp4", fault)
    write(talks / "c.mp4", "c")
    assert kept(extracted(out, talks)) == {"a.mp4", "c.mp4"}
    assert standing(out)["b.mp4"] == ("quarantined", 3)
    assert kept(extracted(out, talks)) == {"a.mp4", "c.mp4"}
    (tmp_path / "healthy").touch()
    assert kept(extracted(out, talks, retry_failed=True)) == {"a.mp4", "b.mp4", "c.mp4"}


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("fault", some_slow([*SHORTAGES, "die"]))
def test_a_machine_that_runs_out_with_three_videos_in_a_row_stops_the_run(
    fault: str, talks: Path, out: Path, tmp_path: Path
) -> None:
    names = [f"{letter}.mp4" for letter in "bcdefghi"]
    for name in names:
        write(talks / name, f"{fault} {name}")
    for start in (1, 2):
        with pytest.raises(TPBenchError, match="more memory, or fewer workers") as said:
            extracted(out, talks)
        assert "\n" not in str(said.value)
        tried = dict.fromkeys(names[: 3 * start], ("pending", 1))
        assert {n: s for n, s in standing(out).items() if s[1]} == {"a.mp4": ("done", 1)} | tried
    (tmp_path / "healthy").touch()
    assert kept(extracted(out, talks)) == {"a.mp4", *names}


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("fault", some_slow(FAULTS))
def test_a_fault_of_the_machine_stops_the_run_and_costs_nobody_an_attempt(
    fault: str, talks: Path, out: Path, tmp_path: Path
) -> None:
    write(talks / "b.mp4", fault)
    write(talks / "c.mp4", "c")
    with pytest.raises(TPBenchError, match="the run has stopped, what is finished is kept") as said:
        extracted(out, talks)
    assert "\n" not in str(said.value)
    assert standing(out) == {"a.mp4": ("done", 1)}
    (tmp_path / "healthy").touch()
    assert kept(extracted(out, talks)) == {"a.mp4", "b.mp4", "c.mp4"}
    assert standing(out) == dict.fromkeys(["a.mp4", "b.mp4", "c.mp4"], ("done", 1))


def test_a_file_in_the_place_of_a_folder_is_found_before_any_work(talks: Path, out: Path) -> None:
    write(out / "poses", "in the way")
    with pytest.raises(DatasetError, match="holds files but no dataset"):
        extracted(out, talks)
    (out / "poses").unlink()
    extracted(out, talks)
    shutil.rmtree(out / "poses")
    write(out / "poses", "in the way")
    with pytest.raises(DatasetError, match="poses: is a file, where a dataset has a folder"):
        extracted(out, talks)


@pytest.mark.slow
def test_a_link_whose_disk_is_not_there_is_found_before_any_work(
    talks: Path, out: Path, tmp_path: Path
) -> None:
    extracted(out, talks)
    (out / "clips").rename(tmp_path / "disk")
    (out / "clips").symlink_to(tmp_path / "unmounted")
    write(talks / "b.mp4", "b")
    with pytest.raises(DatasetError, match=r"clips: a link to .*unmounted, which does not exist"):
        extracted(out, talks)
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    assert kept(extracted(out, talks)) == {"a.mp4", "b.mp4"}


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_a_bug_is_tried_three_times_and_keeps_its_traceback(talks: Path, out: Path) -> None:
    write(talks / "b.mp4", "bug")
    (said,) = errors(extracted(out, talks))
    assert (
        said == "talks/b.mp4: LookupError: nobody thought of it (more on it: .records/workers.log)"
    )
    assert standing(out)["b.mp4"] == ("failed", 3)


def test_a_read_only_disk_stops_the_run_and_is_gone_on_from(talks: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount") or "false", shutil.which("umount") or "false"
    if subprocess.run([mount, "-t", "tmpfs", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        extracted(disk / "dataset", talks)
        write(talks / "b.mp4", "b")
        subprocess.run([mount, "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(TPBenchError, match=r"(?i)read-only|readonly|be writable"):
            extracted(disk / "dataset", talks)
        subprocess.run([mount, "-o", "remount,rw", str(disk)], check=True)

        assert kept(extracted(disk / "dataset", talks)) == {"a.mp4", "b.mp4"}
    finally:
        subprocess.run([umount, "-l", str(disk)], check=True)


def test_a_source_that_dropped_out_is_tried_again_without_being_touched(
    talks: Path, out: Path, tmp_path: Path
) -> None:
    write(talks / "b.mp4", "b")
    aside = tmp_path / "aside"

    real = SourceNames.named

    def late(names: SourceNames, source: Source) -> Source:
        if source.path == talks / "b.mp4" and source.path.exists():
            source.path.rename(aside)
        return real(names, source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SourceNames, "named", late)
        first = extracted(out, talks)

    assert errors(first) == [
        "talks/b.mp4: can't be read: No such file or directory; the next run tries again"
    ]
    assert standing(out)["b.mp4"] == ("postponed", 0)

    aside.rename(talks / "b.mp4")

    assert kept(extracted(out, talks)) == {"a.mp4", "b.mp4"}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users here")
@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_source_that_may_not_be_read_is_tried_again(talks: Path, out: Path) -> None:
    write(talks / "b.mp4", "b").chmod(0)
    assert errors(extracted(out, talks)) == [
        "talks/b.mp4: can't be read: Permission denied; the next run tries again"
    ]
    (talks / "b.mp4").chmod(0o600)
    assert kept(extracted(out, talks)) == {"a.mp4", "b.mp4"}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has such a file")
def test_a_disk_that_gives_no_bytes_is_no_broken_video(talks: Path, out: Path) -> None:
    (talks / "b.mp4").symlink_to("/proc/self/mem")  # its first bytes can't be read by anybody
    assert errors(extracted(out, talks)) == [
        "talks/b.mp4: can't be read: Input/output error; the next run tries again"
    ]
    (talks / "b.mp4").unlink()
    write(talks / "b.mp4", "b")
    assert kept(extracted(out, talks)) == {"a.mp4", "b.mp4"}


@pytest.mark.slow
def test_a_source_that_may_never_come_stops_nothing(talks: Path, out: Path) -> None:
    (talks / "b.mp4").symlink_to(talks / "nowhere")
    assert kept(extracted(out, talks)) == {"a.mp4"}
    assert kept(extracted(out, talks)) == {"a.mp4"}
    assert standing(out)["a.mp4"] == ("done", 1)


def test_what_failed_stays_so_and_is_tried_again_when_asked(talks: Path, out: Path) -> None:
    write(talks / "b.mp4", "bad")
    extracted(out, talks)
    inode = (talks / "b.mp4").stat()
    write(talks / "b.mp4", "was")  # as long, and as old
    os.utime(talks / "b.mp4", ns=(inode.st_atime_ns, inode.st_mtime_ns))
    assert kept(extracted(out, talks)) == {"a.mp4"}
    assert kept(extracted(out, talks, retry_failed=True)) == {"a.mp4", "b.mp4"}


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_a_source_that_killed_its_workers_is_tried_again_when_asked(
    talks: Path, out: Path, tmp_path: Path
) -> None:
    write(talks / "b.mp4", "die")
    assert Dataset.open(extracted(out, talks).folder).info.counts.quarantined == 1
    (tmp_path / "healthy").touch()
    assert extracted(out, talks).info.counts.quarantined == 1
    assert kept(extracted(out, talks, retry_failed=True)) == {"a.mp4", "b.mp4"}


@pytest.mark.usefixtures("workers")
def test_a_source_that_hangs_is_ended_and_given_up_after_three_tries(
    talks: Path, out: Path
) -> None:
    write(talks / "b.mp4", "sleep")
    dataset = extract(
        [talks], out, preset=SETTINGS, skeleton="mediapipe", workers=1, item_timeout_s=0.5
    )
    (said,) = [clip.error for clip in dataset.clips("quarantined")]
    assert said == (
        "talks/b.mp4: the worker was lost: it made no progress for 0.5 s "
        "(more on it: .records/workers.log)"
    )
    assert standing(out) == {"a.mp4": ("done", 1), "b.mp4": ("quarantined", 3)}


def of_one_id(name: str) -> tuple[bytes, bytes]:
    """Two texts whose sha256 share their first two digits."""
    seen: dict[str, bytes] = {}
    for number in count():
        words = f"{name} {number}".encode()
        start = hashlib.sha256(words).hexdigest()[:2]
        if start in seen:
            return seen[start], words
        seen[start] = words
    raise AssertionError


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two videos of one name whose ids would be the same: digits are made scarce for the test."""
    monkeypatch.setattr("tpbench.extraction.planning.ID_DIGITS", (2, 16))
    first, second = of_one_id("talk")
    one = write(tmp_path / "one" / "talk.mp4", first)
    two = write(tmp_path / "two" / "talk.mp4", second)
    return one, two


def source_ids(dataset: Dataset) -> dict[str, str]:
    return {clip.source_path: clip.source_id for clip in dataset.clips()}


def test_two_videos_of_one_name_and_the_same_digits_are_both_kept(
    twins: tuple[Path, Path], out: Path
) -> None:
    one, two = twins
    dataset = extracted(out, one.parent, two.parent)
    ids = source_ids(dataset)
    assert len(ids["one/talk.mp4"].rsplit("-")[-1]) == 2
    assert len(ids["two/talk.mp4"].rsplit("-")[-1]) == 16
    assert dataset.verify() == []
    assert source_ids(extracted(out, one.parent, two.parent)) == ids


def test_who_comes_first_keeps_the_short_id_whatever_is_added(
    twins: tuple[Path, Path], out: Path
) -> None:
    one, two = twins
    before = source_ids(extracted(out, two.parent))
    clip = next((out / "clips").glob("*/*"))
    content = clip.read_bytes()
    dataset = extracted(out, one.parent, two.parent)
    assert source_ids(dataset).items() >= before.items()
    assert clip.read_bytes() == content
    assert (dataset.info.counts.kept, dataset.verify()) == (2, [])


@pytest.mark.slow
def test_ids_hang_on_nothing_that_a_killed_run_leaves(
    twins: tuple[Path, Path], out: Path, tmp_path: Path
) -> None:
    one, two = twins
    undisturbed = source_ids(extracted(tmp_path / "undisturbed", one.parent, two.parent))

    def stop(state: object) -> None:
        if getattr(state, "done", 0) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(
            [one.parent, two.parent], out, preset=SETTINGS, skeleton="mediapipe", workers=1,
            on_progress=stop,
        )  # fmt: skip

    assert source_ids(extracted(out, one.parent, two.parent)) == undisturbed


def test_equal_videos_of_one_name_are_one_even_if_that_is_seen_late(
    talks: Path, out: Path, tmp_path: Path
) -> None:
    """The second could not be read when the run was planned, and was not known for a copy."""
    one = write(tmp_path / "one" / "talk.mp4", "the same")
    two = write(tmp_path / "two" / "talk.mp4", "the same")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tpbench.extraction.planning.mark_duplicates", lambda new, _: list(new))
        dataset = extracted(out, one.parent, two.parent)
    assert dataset.info.counts.kept == 1
    assert dataset.info.counts.reject_codes == {"source.duplicate": 1}


@pytest.mark.slow
def test_too_little_memory_is_one_line(talks: Path, out: Path) -> None:
    """In an address space of 900 MB something runs out: MediaPipe's threads, or the manifest's."""
    command = (
        f"ulimit -v 900000; exec {sys.executable} -m tpbench extract {talks} --out {out} "
        "--skeleton mediapipe --preset demo --workers 1"
    )
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1

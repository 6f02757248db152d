"""A run from end to end, in this process: what it holds, and how it goes on."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.benchmark.conftest import FIRST_NUMBER, LENGTHS, Maker, births, content, write_dataset
from tests.benchmark.generators import (
    Bare,
    Faulty,
    Leaky,
    LockStep,
    Numbered,
    Shaded,
    Telling,
)
from tests.conftest import MediaMaker
from tpbench.benchmark.making import ClipMaker, GenerationJob, clips_payload
from tpbench.benchmark.request import EvalRequest, plan_run
from tpbench.benchmark.run_folder import Run, RunFolder
from tpbench.dataset import clip_path, split_dataset
from tpbench.errors import ConfigError, DatasetError, TPBenchError
from tpbench.video import VideoWriter, probe, read_frames
from tpbench.work import Progress

CLIPS = {name: n for name, n in LENGTHS.items() if name != "short"}


@pytest.fixture(scope="module")
def undisturbed(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What every other run of `Numbered` is held against."""
    return Maker(data=talks, out=tmp_path_factory.mktemp("undisturbed"))()


def copied(run: Run, out: Path) -> Path:
    """Copy the folder of all runs that a run lies in."""
    runs = run.folder.path.parents[3]
    shutil.copytree(runs, out)
    return out


def test_a_run_lies_where_it_belongs(undisturbed: Run) -> None:
    digest = undisturbed.info.dataset.digest
    parts = undisturbed.folder.path.parts[-4:]
    assert parts == ("mine", f"Small-talks@{digest[:8]}", "self-tpbench-v2", "seed42")


def test_every_frame_reads_back_as_it_was_made(undisturbed: Run, talks: Path) -> None:
    for name, n in CLIPS.items():
        reference = next(iter(read_frames(clip_path(talks, name)))).image
        frames = [frame.image for frame in read_frames(undisturbed.folder.generated(name))]
        assert len(frames) == n
        for index, image in enumerate(frames):
            assert (image[:8, :8] == (index, 42, 0)).all()
            assert np.array_equal(image[8:], reference[8:])
        assert MediaMaker.frame_number(frames[0]) == FIRST_NUMBER
        digest = hashlib.sha256(b"".join(image.tobytes() for image in frames)).hexdigest()
        assert undisturbed.records()[name].frames_sha256 == digest


def test_previews_have_the_same_frames_and_rate(undisturbed: Run) -> None:
    for name, n in CLIPS.items():
        info = probe(undisturbed.folder.preview(name))
        assert (info.frame_count, info.fps, info.pixel_format) == (n, Fraction(25), "yuv420p")


def test_records_tell_what_became_of_each_clip(undisturbed: Run) -> None:
    records = undisturbed.records()
    assert {name: record.n_frames for name, record in records.items()} == CLIPS
    for record in records.values():
        assert (record.status, record.reason, record.rate) == ("done", None, Fraction(25))
        assert (record.width_px, record.height_px, record.encoding) == (48, 32, "lossless-x264")
        assert record.gen_s > 0
        assert (record.peak_host_bytes or 0) > 10e6
    assert len({record.inputs for record in records.values()}) == len(records)


def test_run_json_says_what_the_run_is(undisturbed: Run) -> None:
    info = undisturbed.info

    assert info.counts.model_dump() == {
        "expected": 3,
        "done": 3,
        "failed": 0,
        "quarantined": 0,
        "not_run": 0,
        "frames": sum(CLIPS.values()),
    }
    assert (info.partial, info.counts.coverage, info.seed) == (False, 1.0, 42)
    assert (info.dataset.split, info.dataset.left_out) == ("all", {"short": 100})
    assert info.model.configuration["shade"] == 0
    assert info.model.configuration["class"] == "tests.benchmark.generators:Numbered"
    assert (info.timings.frames_per_s or 0) > 0
    (session,) = info.sessions
    assert (session.clips_to_do, session.workers) == (3, 1)
    assert session.ended_at is not None
    assert session.environment.packages["numpy"] == np.__version__


def test_a_second_call_makes_nothing(undisturbed: Run, talks: Path, tmp_path: Path) -> None:
    run = Maker(data=talks, out=copied(undisturbed, tmp_path / "runs"))()
    before, info = births(run), run.info
    again = Maker(data=talks, out=tmp_path / "runs")()
    assert births(again) == before
    assert again.info == info
    assert len(again.info.sessions) == 1


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["generated", "preview", "record"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-40]), id="cut off"),
        pytest.param(_flip, id="one bit"),
    ],
)
def test_a_clip_that_is_not_whole_is_made_again_and_no_other(
    kind: str,
    damage: Callable[[Path], None],
    undisturbed: Run,
    talks: Path,
    tmp_path: Path,
) -> None:
    out = copied(undisturbed, tmp_path / "runs")
    path = out / undisturbed.folder.path.relative_to(undisturbed.folder.path.parents[3])
    run = Run.open(path)
    if kind == "record" and damage is _flip:
        text = run.folder.record("b").read_text()
        run.folder.record("b").write_text(text.replace('"inputs": "', '"inputs": "0'))
    else:
        damage(getattr(run.folder, kind)("b"))
    before = births(run)

    again = Maker(data=talks, out=out)()

    after = births(again)
    assert {name for name in after if after[name] != before.get(name)} == {"b"}
    assert content(again) == content(undisturbed)
    assert len(again.info.sessions) == 2


def test_other_options_are_refused_and_the_difference_is_named(make: Maker) -> None:
    run = make(Numbered())
    before = births(run), run.info
    with pytest.raises(ConfigError) as refused:
        make(Numbered(shade="9"))
    assert "model.configuration.shade 0 is now 9" in str(refused.value)
    assert "--overwrite always" in str(refused.value)
    assert (births(run), Run.open(run.folder.path).info) == before


def test_a_new_split_of_the_same_clips_is_another_run(make: Maker, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(data, dict.fromkeys("abcdefgh", 101))
    split_dataset(data, test_share=0.5, seed=0)
    run = make(data=data)
    split_dataset(data, test_share=0.5, seed=1)
    with pytest.raises(ConfigError, match=r"dataset\.clips [0-9a-f]{12} is now"):
        make(data=data)
    assert run.info.dataset.split == "test"
    assert run.folder.path.parts[-3].startswith("Small-talks.test@")


def test_always_takes_another_configuration_away(make: Maker) -> None:
    make(Numbered())
    run = make(Numbered(shade="9"), overwrite="always", limit=1)
    assert births(run).keys() == {"a"}
    assert content(run).keys() == {"generated/a.mkv", "preview/a.mp4"}
    assert run.info.model.configuration["shade"] == 9


def test_never_wants_a_new_run(make: Maker) -> None:
    run = make(limit=1, overwrite="never")
    before = births(run)
    with pytest.raises(ConfigError, match="a run already; --overwrite missing continues it"):
        make(overwrite="never")
    assert births(run) == before


def test_a_limit_makes_a_partial_run_that_can_be_completed(make: Maker, undisturbed: Run) -> None:
    part = make(limit=1)
    assert (part.info.partial, part.info.counts.not_run) == (True, 2)
    born = births(part)
    whole = make()
    assert births(whole)["a"] == born["a"]
    assert not whole.info.partial
    assert content(whole) == content(undisturbed)
    assert not make(limit=1).info.partial, "what is there stays there"


def test_clips_made_together_are_the_clips_made_one_by_one(make: Maker, undisturbed: Run) -> None:
    generator = LockStep()
    run = make(generator)
    assert generator.batches == [["b", "c", "a"]], "long ones first"
    assert content(run) == content(undisturbed)


def test_seeds_are_runs_of_their_own(make: Maker, undisturbed: Run) -> None:
    run = make(seeds=(7,))
    assert run.folder.path.name == "seed7"
    assert content(run) != content(undisturbed)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            "size",
            r"gave a wrong frame: frame 10 is \(32, 46, 3\) uint8, expected \(32, 48, 3\)",
        ),
        ("type", r"gave a wrong frame: frame 10 is \(32, 48, 3\) float32"),
        ("order", "gave a wrong frame: frame 11 came instead of frame 10"),
        ("few", "stopped after 11 of 104 frames"),
        ("many", "gave more than the 104 frames"),
        ("late", "^all of it was nonsense$"),
        ("failure", "^nobody is in the picture$"),
        ("error", "^the card fell out$"),
        ("stranger", "gave a frame of 'nobody', which was not requested"),
        ("bug", r"^ZeroDivisionError: b \(more on it: log.txt\)$"),
    ],
)
@pytest.mark.parametrize("max_clips", ["1", "3"])
def test_a_clip_done_wrong_is_a_failed_record_and_the_others_go_on(
    fault: str, reason: str, max_clips: str, make: Maker, undisturbed: Run
) -> None:
    run = make(Faulty(fault, max_clips=max_clips))

    records = run.records()
    assert records["b"].status == "failed"
    assert re.search(reason, records["b"].reason or "")
    # Who raises, or talks of clips that nobody asked for, takes the unfinished ones with it.
    together = max_clips == "3" and fault in {"error", "stranger"}
    others = {records[name].status for name in ("a", "c")}
    assert others == ({"failed"} if together else {"done"})
    done = {name for name, record in records.items() if record.status == "done"}
    assert content(run) == {
        path: sha for path, sha in content(undisturbed).items() if path[-5] in done
    }
    assert run.info.counts.failed == len(records) - len(done)
    assert not run.info.partial
    if fault == "bug":
        assert "Traceback" in run.folder.log.read_text()


def test_every_frame_is_progress_and_so_is_what_a_generator_tells_meanwhile(
    talks: Path, tmp_path: Path
) -> None:
    plan = plan_run(EvalRequest(model="mine", generator=Telling(), data=talks, out=tmp_path))
    maker = ClipMaker(
        generator=Telling(),
        folder=RunFolder(path=tmp_path),
        dataset=talks,
        seed=1,
        keep="preview",
        code="",
    )
    job = GenerationJob(clip=plan.selection.clips[0], inputs="")
    told: list[int] = []
    maker(clips_payload([job], in_one_go=False), lambda report: told.append(report["frames"]))
    assert told == [number for index in range(CLIPS["a"]) for number in (index, index + 1)]


def test_a_run_that_is_moved_away_meanwhile_is_not_made_again(make: Maker, tmp_path: Path) -> None:
    def move(state: Progress) -> None:
        if state.frames and make.out.exists():
            make.out.rename(tmp_path / "aside")

    with pytest.raises(TPBenchError, match="seed42: was removed or replaced during the run"):
        make(Faulty("failure"), on_progress=move)
    assert not make.out.exists()


def test_failed_clips_are_tried_again(make: Maker, undisturbed: Run) -> None:
    run = make(Faulty("failure"))
    born = births(run)
    healed = Faulty("failure")
    healed.fault = ""
    again = make(healed)
    assert {name for name, birth in births(again).items() if birth != born[name]} == {"b"}
    assert content(again) == content(undisturbed)


def test_a_run_without_a_finished_clip_stands_in_nobodys_way(make: Maker) -> None:
    run = make(Faulty("failure"), ids=["b"])
    assert run.info.counts.done == 0
    again = make(Numbered(shade="9"), ids=["b"])
    assert again.folder.path == run.folder.path
    assert again.info.counts.done == 1


def test_an_object_with_another_argument_is_another_model(make: Maker) -> None:
    run = make(Shaded(3), limit=1)
    assert run.info.model.configuration["options"] == {"shade": 3}
    with pytest.raises(ConfigError, match=r"model\.configuration\.options\.shade 3 is now 9"):
        make(Shaded(9), limit=1)


def test_changed_code_is_named_as_such(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Bare(), limit=1)
    monkeypatch.setattr("tpbench.benchmark.model._source_digest", lambda kind: "0" * 64)
    with pytest.raises(ConfigError, match=r"the code of \S+ has changed since this run was made"):
        make(Bare(), limit=1)


def test_a_broken_clip_of_the_dataset_is_a_failed_record(
    make: Maker, talks: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(talks, data)
    _flip(clip_path(data, "b"))
    run = make(LockStep(), data=data)
    records = run.records()
    assert {name for name, record in records.items() if record.status == "done"} == {"a", "c"}
    assert "b.mp4: not the file that the manifest describes" in (records["b"].reason or "")


def test_an_object_needs_nothing_but_generate_and_is_not_closed(
    make: Maker, undisturbed: Run
) -> None:
    run = make(Bare())
    assert content(run) == content(undisturbed)
    assert run.info.model.kind == "custom"
    generator = Numbered()
    make(generator, overwrite="always", limit=1)
    assert not generator.closed


def test_what_leaks_from_clip_to_clip_is_made_in_one_go(make: Maker) -> None:
    run = make(Leaky())
    first = {name: record.frames_sha256 for name, record in run.records().items()}
    born = births(run)
    run.folder.record("c").unlink()
    again = make(Leaky())
    assert {name: record.frames_sha256 for name, record in again.records().items()} == first
    assert all(births(again)[name] != born[name] for name in born)


def test_what_leaks_from_clip_to_clip_is_not_picked_from(make: Maker) -> None:
    with pytest.raises(ConfigError, match="depends on the clips before it; take all clips, or"):
        make(Leaky(), ids=("a", "c"))
    assert make(Leaky(), limit=2).info.counts.done == 2


def test_previews_alone_can_be_kept_and_frames_added_later(make: Maker, undisturbed: Run) -> None:
    small = make(keep="preview")
    assert content(small).keys() == {f"preview/{name}.mp4" for name in CLIPS}
    assert {record.generated_sha256 for record in small.records().values()} == {None}
    born = births(small)
    assert births(make(keep="preview")) == born
    whole = make(keep="lossless")
    assert content(whole) == content(undisturbed)
    born = births(whole)
    assert births(make(keep="preview")) == born, "more than asked for is there"


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(
    make: Maker, monkeypatch: pytest.MonkeyPatch, undisturbed: Run
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    make(limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write", full)
        with pytest.raises(TPBenchError, match="No space left on device; the run has stopped"):
            make()

    run = make()
    assert content(run) == content(undisturbed)
    assert {record.status for record in run.records().values()} == {"done"}


def test_leftovers_of_killed_writers_are_swept(make: Maker) -> None:
    run = make(limit=1)
    ours = [
        run.folder.path / "generated" / ".b.mkv.0123abcd.part",
        run.folder.path / "records" / ".b.json.4242.tmp",
    ]
    for path in ours:
        path.write_text("x")
    stranger = run.folder.path / "notes.txt"
    stranger.write_text("x")
    make(limit=1)
    assert [path for path in ours if path.exists()] == []
    assert stranger.exists()


def test_a_listener_hears_where_the_run_begins_and_ends(make: Maker) -> None:
    make(limit=1)
    heard: list[Progress] = []
    make(on_progress=heard.append)
    assert (heard[0].step, heard[0].total, heard[0].before, heard[0].done) == ("generate", 3, 1, 1)
    assert (heard[-1].done, heard[-1].counts) == (3, {"made": 2, "failed": 0})
    assert heard[-1].frames == CLIPS["b"] + CLIPS["c"]
    assert [state.frames for state in heard] == sorted(state.frames for state in heard)


def test_two_at_once_are_refused(make: Maker) -> None:
    run = make(limit=1)
    with (
        run.folder.locked(),
        pytest.raises(DatasetError, match=r"in use by process \d+ on .*; wait for it"),
    ):
        make()


def test_a_broken_run_json_is_never_written_over_in_silence(make: Maker) -> None:
    run = make(limit=1)
    (run.folder.path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"schema version None.*move run.json away and run"):
        make(limit=1)
    assert not make(overwrite="always").info.partial


@pytest.mark.parametrize("damage", ["{", "[" * 1000, '{"a": "\\ud800"}', "[1e999]", "\x00"])
def test_the_advice_for_a_damaged_run_json_costs_no_clip(make: Maker, damage: str) -> None:
    run = make()
    before = births(run)
    path = run.folder.path / "run.json"
    path.write_text(damage)
    with pytest.raises(ConfigError, match=r"run.json: not readable .* move run.json away and run"):
        make()
    path.rename(path.with_suffix(".damaged"))
    assert births(make()) == before


def test_making_a_run_anew_deletes_nothing_that_it_did_not_make(
    make: Maker, tmp_path: Path
) -> None:
    run = make()
    own = [
        run.folder.path / name
        for name in (
            "generated/thesis.docx",
            "generated/holiday.mkv",
            "preview/holiday.mp4",
            "records/notes.json",
            "records/.draft.tmp",
            ".mine.tmp",
            "paper.pdf",
        )
    ]
    for path in own:
        path.write_text("mine")
    (run.folder.path / "generated" / "folder").mkdir()

    make(Numbered(shade="2"), overwrite="always")

    assert [path.read_text() for path in own] == ["mine"] * len(own)


@pytest.mark.parametrize("name", ["records", "generated", "preview", ".scoring"])
def test_nothing_is_deleted_through_a_link(make: Maker, tmp_path: Path, name: str) -> None:
    run = make()
    other = tmp_path / "other"
    (run.folder.path / name).mkdir(exist_ok=True)
    (run.folder.path / name).rename(other)
    (other / "thesis.docx").write_text("mine")
    (run.folder.path / name).symlink_to(other)
    before = {path: path.read_bytes() for path in other.iterdir()}
    with pytest.raises(DatasetError, match=rf"{name}: is a link, and nothing is written"):
        make(overwrite="always")
    assert {path: path.read_bytes() for path in other.iterdir()} == before

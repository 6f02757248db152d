from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.dataset import check_clip_id
from tpbench.errors import ConfigError, MediaError
from tpbench.extraction.sources import (
    Provenance,
    Source,
    find_sources,
    hashed,
    mark_duplicates,
    plain_path,
    read_provenance,
    source_id,
)
from tpbench.files import sha256_of
from tpbench.metrics.scoring.pairing import videos_below

FULL = {
    "webpage_url": "https://example.org/watch?v=1",
    "license": "CC-BY",
    "uploader": "Ü. Ploader",
    "epoch": 1700000000,
    "formats": [],
}


def _beside(video: Path, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    video.with_name(f"{video.stem}.info.json").write_bytes(data)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return tmp_path / "-My talk v1.2 [abc].mp4"


def test_no_file_is_nothing_known_and_no_news(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_provenance(video) == Provenance()
    assert not caplog.records


def test_the_file_of_yt_dlp_is_read(video: Path) -> None:
    _beside(video, json.dumps(FULL))
    assert read_provenance(video) == Provenance(
        url="https://example.org/watch?v=1",
        licence="CC-BY",
        uploader="Ü. Ploader",
        retrieved_at="2023-11-14T22:13:20+00:00",
    )


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("webpage_url", None, "url"),
        ("webpage_url", "", "url"),
        ("license", None, "licence"),
        ("license", ["CC"], "licence"),
        ("uploader", 5, "uploader"),
        ("epoch", "yesterday", "retrieved_at"),
        ("epoch", True, "retrieved_at"),
        ("epoch", 10**30, "retrieved_at"),
        ("epoch", None, "retrieved_at"),
    ],
)
def test_what_is_absent_or_of_another_kind_is_not_known(
    key: str, value: object, field: str, video: Path
) -> None:
    _beside(video, json.dumps({**FULL, key: value}))
    provenance = read_provenance(video)
    assert getattr(provenance, field) is None
    assert sum(getattr(provenance, name) is None for name in Provenance.__slots__) == 1


def test_half_an_emoji_becomes_text_that_can_be_written(video: Path) -> None:
    _beside(video, '{"uploader": "A \\ud83d"}')
    assert read_provenance(video).uploader == "A ?"


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", b"\xff\xfe\x00", "[" * 100_000], ids=range(5)
)
def test_a_broken_file_is_logged_and_left_out(
    text: str | bytes, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _beside(video, text)
    with caplog.at_level(logging.WARNING):
        assert read_provenance(video) == Provenance()
    assert "info.json" in caplog.text


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', "{}"])
def test_json_of_another_shape_tells_nothing(text: str, video: Path) -> None:
    _beside(video, text)
    assert read_provenance(video) == Provenance()


def test_a_folder_of_that_name_is_left_out(video: Path) -> None:
    video.with_name(f"{video.stem}.info.json").mkdir()
    assert read_provenance(video) == Provenance()


@pytest.mark.parametrize("part", ["f137", "f299-drc", "fhls-1080"])
def test_parts_that_were_not_merged_share_the_file_of_their_video(
    tmp_path: Path, part: str
) -> None:
    (tmp_path / "Talk [x].info.json").write_text(json.dumps(FULL))
    found = read_provenance(tmp_path / f"Talk [x].{part}.mp4")
    assert found.url == FULL["webpage_url"]


def test_a_part_with_a_file_of_its_own_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "t.info.json").write_text(json.dumps(FULL))
    (tmp_path / "t.f1.info.json").write_text(json.dumps({"uploader": "own"}))
    assert read_provenance(tmp_path / "t.f1.mp4") == Provenance(uploader="own")


@pytest.mark.timeout(20)
def test_a_named_pipe_in_place_of_the_metadata_is_left_out_and_never_waited_for(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(video.with_name(f"{video.stem}.info.json"))
    assert read_provenance(video) == Provenance()
    assert "not a regular file" in caplog.text


def test_metadata_too_large_to_hold_leaves_blanks_and_says_so(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = video.with_name(f"{video.stem}.info.json")
    with path.open("wb") as file:
        file.truncate(1 << 34)
    assert read_provenance(video) == Provenance()
    assert "url and licence stay blank" in caplog.text
    assert "more than the limit of 67,108,864" in caplog.text


def test_metadata_with_many_comments_is_read(video: Path) -> None:
    comment = {"id": "Ugz", "text": "well, said, indeed", "like_count": 3, "parent": "root"}
    _beside(video, json.dumps({**FULL, "comments": [comment] * 50_000}))
    assert read_provenance(video).licence == "CC-BY"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    folder = tmp_path / "talks"
    folder.mkdir()
    return folder


def _put(path: Path, data: bytes = b"video") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _shown(sources: Sequence[Source]) -> list[str]:
    return [source.shown_path for source in sources]


def _source(shown_path: str, sha256: str | None = None) -> Source:
    return Source(
        path=Path("/videos") / "x", shown_path=shown_path, size_bytes=1, mtime_ns=0, sha256=sha256
    )


def test_videos_are_found_to_the_bottom_in_order_of_their_paths(talks: Path, out: Path) -> None:
    for name in ("b.mp4", "a/z.MKV", "a/b/c.webm", "notes.txt", "a.info.json", "c.mp4.part"):
        _put(talks / name)
    sources = find_sources([talks], excluded=out)
    assert _shown(sources) == ["talks/a/b/c.webm", "talks/a/z.MKV", "talks/b.mp4"]
    assert [source.path for source in sources] == sorted(source.path for source in sources)
    assert all(source.path.is_absolute() for source in sources)
    assert all(source.size_bytes == 5 and source.sha256 is None for source in sources)


def test_hidden_files_and_folders_are_left_alone(talks: Path, out: Path) -> None:
    for name in (".a.mp4", ".trash/b.mp4", "._c.mp4", "d.mp4"):
        _put(talks / name)
    assert _shown(find_sources([talks], excluded=out)) == ["talks/d.mp4"]


def test_a_folder_named_like_a_video_is_searched(talks: Path, out: Path) -> None:
    _put(talks / "part1.mp4" / "a.mp4")
    assert _shown(find_sources([talks], excluded=out)) == ["talks/part1.mp4/a.mp4"]


def test_a_file_that_is_named_counts_whatever_it_is_called(talks: Path, out: Path) -> None:
    path = _put(talks / ".hidden.bin")
    assert _shown(find_sources([path], excluded=out)) == [".hidden.bin"]


def test_an_address_or_a_list_of_ids_is_refused_with_the_way_to_fetch_videos(
    talks: Path, out: Path
) -> None:
    for named in (Path("https://www.youtube.com/watch?v=1"), _put(talks / "video_ids.csv")):
        with pytest.raises(ConfigError, match=r"pass --fetch .*, or run `tpbench fetch` first"):
            find_sources([named], excluded=out)


def test_a_video_that_is_named_twice_is_found_once(
    talks: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _put(talks / "a.mp4")
    _put(talks / "b" / "c.mp4")
    monkeypatch.chdir(talks / "b")
    sources = find_sources([talks, path, Path("../a.mp4"), Path(), Path("..")], excluded=out)
    assert [source.path for source in sources] == [path, talks / "b" / "c.mp4"]


@pytest.mark.parametrize("given_as", ["..", "../../talks", "../b/.."])
def test_the_way_a_folder_was_named_does_not_show(
    given_as: str, talks: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(talks / "b" / "c.mp4")
    monkeypatch.chdir(talks / "b")
    assert _shown(find_sources([Path(given_as)], excluded=out)) == ["talks/b/c.mp4"]


def test_a_link_keeps_the_name_it_was_given(talks: Path, tmp_path: Path, out: Path) -> None:
    (talks / "speech.mp4").symlink_to(_put(tmp_path / "blobs" / "0123abcd"))
    assert _shown(find_sources([talks], excluded=out)) == ["talks/speech.mp4"]


def test_the_dataset_is_never_its_own_source(talks: Path) -> None:
    _put(talks / "a.mp4")
    _put(talks / "dataset" / "clips" / "a_0.mp4")
    assert _shown(find_sources([talks], excluded=talks / "dataset")) == ["talks/a.mp4"]


def test_the_dataset_is_left_out_by_whatever_name(talks: Path, tmp_path: Path) -> None:
    _put(talks / "a.mp4")
    _put(talks / "dataset" / "clips" / "a_0.mp4")
    (tmp_path / "other").symlink_to(talks)
    other = tmp_path / "other"
    named = find_sources([talks], excluded=other / "x" / ".." / "dataset")
    searched = find_sources([other], excluded=talks / "dataset")
    assert _shown(named) == ["talks/a.mp4"]
    assert _shown(searched) == ["other/a.mp4"]


@pytest.mark.parametrize("below", ["", "clips", "clips/a_0.mp4"])
def test_the_dataset_can_not_be_named_as_its_own_source(below: str, talks: Path) -> None:
    _put(talks / "clips" / "a_0.mp4")
    with pytest.raises(ConfigError, match="lies in the dataset"):
        find_sources([talks / below], excluded=talks)


def test_an_input_that_is_absent_is_named(talks: Path, out: Path) -> None:
    _put(talks / "a.mp4")
    with pytest.raises(ConfigError, match=r"absent\.mp4 does not exist"):
        find_sources([talks, talks / "absent.mp4"], excluded=out)


def test_a_folder_without_videos_is_named_with_what_was_looked_for(talks: Path, out: Path) -> None:
    _put(talks / "notes.txt")
    with pytest.raises(
        ConfigError, match=r"no video found in .*talks, which holds 1 \.txt \(.*\.mp4"
    ):
        find_sources([talks], excluded=out)


def test_a_link_to_nowhere_does_not_stop_the_others(talks: Path, out: Path) -> None:
    """It is a source that can't be read, and will say so in its row."""
    (talks / "a.mp4").symlink_to(talks / "gone.mp4")
    _put(talks / "b.mp4")
    sources = mark_duplicates(find_sources([talks], excluded=out), {})
    assert _shown(sources) == ["talks/a.mp4", "talks/b.mp4"]
    with pytest.raises(MediaError, match=r"talks/a\.mp4: can't be read"):
        hashed(sources[0])


ODD_NAMES = [
    "-rf.mp4",
    "--.mp4",
    "a b  c.mp4",
    "größe 报告 🎤.mp4",
    "'\";$(x).mp4",
    "a\nb.mp4",
    "a...mp4",
    "%s{}.mp4",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_found_and_named_safely(name: str, talks: Path, out: Path) -> None:
    path = _put(talks / name)
    (source,) = find_sources([talks], excluded=out)
    assert source.path == path
    assert source.shown_path == f"talks/{name}"
    assert source.key == str(path)
    identity = source_id(hashed(source))
    assert check_clip_id(f"{identity}_00000000_99999999") == f"{identity}_00000000_99999999"
    assert identity[0] not in "-."


def test_a_name_that_is_no_text_becomes_text_in_rows_and_records(talks: Path, out: Path) -> None:
    path = os.fsencode(talks) + b"/caf\xe9.mp4"
    try:
        Path(os.fsdecode(path)).write_bytes(b"video")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    (source,) = find_sources([talks], excluded=out)
    assert source.shown_path == "talks/caf\\xe9.mp4"
    source.key.encode("utf-8")
    assert hashed(source).sha256 is not None


@given(st.text(), st.text(alphabet="0123456789abcdef", min_size=64, max_size=64) | st.none())
def test_any_name_gives_an_id_that_can_be_part_of_a_file_name(
    name: str, sha256: str | None
) -> None:
    identity = source_id(_source(f"talks/{name}.mp4", sha256))
    assert check_clip_id(f"{identity}_quarantined_01234567")
    assert not identity.startswith("-")
    assert len(identity) <= 89


def test_the_id_is_the_name_and_the_start_of_the_checksum() -> None:
    sha256 = "0123456789abcdef" * 4
    assert source_id(_source("talks/My talk (1).final.mp4", sha256)) == "My-talk-1-final-01234567"
    assert (
        source_id(_source("elsewhere/My talk (1).final.mp4", sha256)) == "My-talk-1-final-01234567"
    )
    assert source_id(_source("talks/报告.mp4", sha256)) == "video-01234567"


def test_a_long_name_is_cut_and_stays_apart_by_its_checksum() -> None:
    names = [source_id(_source(f"{'x' * 200}.mp4", digit * 64)) for digit in "01"]
    assert [len(name) for name in names] == [89, 89]
    assert names[0] != names[1]


def test_the_id_of_an_unreadable_file_is_told_apart_by_its_path() -> None:
    assert source_id(_source("a/talk.mp4")) != source_id(_source("b/talk.mp4"))


def test_the_checksum_is_that_of_the_bytes(talks: Path, out: Path) -> None:
    _put(talks / "a.mp4", b"something")
    (source,) = find_sources([talks], excluded=out)
    assert hashed(source).sha256 == sha256_of(talks / "a.mp4")
    known = replace(source, sha256="known")
    assert hashed(known) is known  # not read again


def test_of_equal_files_the_first_is_done(talks: Path, out: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c/d.mp4"):
        _put(talks / name, b"same bytes")
    _put(talks / "e.mp4", b"other size")
    _put(talks / "f.mp4", b"same_bytes")
    marked = mark_duplicates(find_sources([talks], excluded=out), {})
    assert {source.shown_path: source.duplicate_of for source in marked} == {
        "talks/a.mp4": None,
        "talks/b.mp4": "talks/a.mp4",
        "talks/c/d.mp4": "talks/a.mp4",
        "talks/e.mp4": None,
        "talks/f.mp4": None,
    }


def test_only_files_of_equal_size_are_read(talks: Path, out: Path) -> None:
    for name, data in (("a.mp4", b"1"), ("b.mp4", b"22"), ("c.mp4", b"33"), ("d.mp4", b"4444")):
        _put(talks / name, data)
    marked = mark_duplicates(find_sources([talks], excluded=out), {})
    assert [source.sha256 is not None for source in marked] == [False, True, True, False]


def test_what_an_earlier_run_did_is_not_done_again_under_another_name(
    talks: Path, out: Path
) -> None:
    _put(talks / "a.mp4", b"bytes")
    (done,) = find_sources([talks], excluded=out)
    done = hashed(done)
    _put(talks / "b.mp4", b"bytes")
    sources = find_sources([talks], excluded=out)
    marked = mark_duplicates(sources, {done.sha256 or "": done})
    assert [source.duplicate_of for source in marked] == [None, "talks/a.mp4"]


def test_two_empty_files_are_duplicates_too(talks: Path, out: Path) -> None:
    _put(talks / "a.mp4", b"")
    _put(talks / "b.mp4", b"")
    marked = mark_duplicates(find_sources([talks], excluded=out), {})
    assert [source.duplicate_of for source in marked] == [None, "talks/a.mp4"]


def test_a_tilde_is_the_home_folder_or_part_of_a_name(
    talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(talks))
    monkeypatch.chdir(talks)
    assert plain_path(Path("~/a.mp4")) == talks / "a.mp4"
    assert plain_path(Path("~nobody-of-this-name.mp4")) == talks / "~nobody-of-this-name.mp4"


def test_a_folder_that_cannot_be_searched_is_told(
    talks: Path, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _put(talks / "a.mp4", b"video")
    _put(talks / "closed" / "b.mp4", b"video")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert [source.path.name for source in find_sources([talks], excluded=out)] == ["a.mp4"]
    assert caplog.messages == [f"{talks / 'closed'} can't be searched: Permission denied"]


def test_a_dataset_folder_that_is_a_link_to_itself_is_no_crash(talks: Path, out: Path) -> None:
    _put(talks / "a.mp4", b"video")
    loop = talks.parent / "loop"
    loop.symlink_to("loop")
    assert len(find_sources([talks], excluded=loop)) == 1
    with pytest.raises(ConfigError, match="does not exist"):
        find_sources([loop], excluded=out)


ENDINGS = "MTS m2ts 3gp vob mxf mpe divx f4v asf qt dv ogg rm m2t tp"


@pytest.mark.parametrize("name", [f"a.{ending}" for ending in ENDINGS.split()])
def test_every_ending_of_a_readable_format_is_found(talks: Path, out: Path, name: str) -> None:
    _put(talks / name)
    assert _shown(find_sources([talks], excluded=out)) == [f"talks/{name}"]


def test_files_that_are_left_out_are_counted_by_ending(
    talks: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.mp4", "a.info.json", "b.JSON", "c.json", "a.vtt", "README", ".b.txt"):
        _put(talks / name)
    find_sources([talks], excluded=out)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(
        "talks: left out files without a video ending: 2 .json, 1 .vtt, 1 without an ending"
    )


def test_scoring_finds_the_same_endings(talks: Path, out: Path) -> None:
    for ending in ENDINGS.split():
        _put(talks / ending / f"a.{ending}")
    scored = videos_below(talks).values()
    assert sorted(scored) == [source.path for source in find_sources([talks], excluded=out)]


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le" if path.suffix == ".mkv" else "aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.mark.parametrize("sound", ["Talk [x].f140.m4a", "Talk [x].f251-drc.mkv"])
def test_sound_that_yt_dlp_left_in_a_file_of_its_own_is_told_and_no_source(
    talks: Path, out: Path, caplog: pytest.LogCaptureFixture, sound: str
) -> None:
    _put(talks / "Talk [x].f137.mp4")
    _sound_only(talks / sound)
    sources = find_sources([talks], excluded=out)
    assert _shown(sources) == ["talks/Talk [x].f137.mp4"]
    assert "Talk [x].f137.mp4: its sound is in a separate file" in caplog.text


def test_a_name_that_only_looks_like_a_part_is_a_source(
    talks: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _put(talks / "talk.final.mp4")
    _sound_only(talks / "talk.first.mkv")
    assert len(find_sources([talks], excluded=out)) == 2
    assert not caplog.records

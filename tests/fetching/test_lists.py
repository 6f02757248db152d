from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fetching.server import Answer, Site, write_list
from tpbench.errors import ConfigError
from tpbench.fetching.lists import IdList, Span, listed_video, read_list

A, B, C = "abcdefghijk", "-bcdefghij_", "ABCDEFGHIJK"
IDS = st.text("-_abcXYZ019", min_size=11, max_size=11)


def read(tmp_path: Path, text: str, name: str = "list.csv", sha256: str | None = None) -> IdList:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return read_list(path, sha256=sha256)


def ids(found: IdList) -> list[str]:
    return [video.video_id for video in found.videos]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.csv", f"{A}\n{B}\n"),
        ("plain.txt", f"{A}\n\n# a comment\n{B}"),
        ("windows.csv", f"\ufeff{A}\r\n{B}\r\n"),
        ("header.csv", f"video_id\n{A}\n{B}\n"),
        ("long_header.csv", f"youtube_ids\n{A}\n{B}\n"),
        ("unknown_header.csv", f"talk nr;which\n1;{A}\n2;{B}\n"),
        (
            "addresses.csv",
            f"title,URL\nx,https://youtu.be/{A}\ny,www.youtube.com/watch?v={B}&t=3\n",
        ),
        ("numbers.csv", f"id,name,link\n1,x,https://www.youtube.com/shorts/{A}\n2,y,{B}\n"),
        ("only_ids_beside_numbers.csv", f"id,name,yt\n1,x,{A}\n2,y,{B}\n"),
        ("tabs.tsv", f"x\t{A}\ny\t{B}\n"),
        ("spreadsheet.csv", f"id\n{A}\n'{B}\n"),
        ("quoted.csv", f'"video id","text"\n"{A}","a, b"\n"{B}","c"\n'),
        ("empty_cells.csv", f"id,text\n{A},x\n,y\n{B},z\n"),
    ],
)
def test_lists_of_all_shapes_hold_the_same_videos(tmp_path: Path, name: str, text: str) -> None:
    assert ids(read(tmp_path, text, name)) == [A, B]


def test_every_video_has_a_full_address_so_that_no_id_is_taken_for_an_option(
    tmp_path: Path,
) -> None:
    (video,) = read(tmp_path, B).videos
    assert video.url == f"https://www.youtube.com/watch?v={B}"


@pytest.mark.parametrize(
    "address",
    [
        f"https://www.youtube.com/watch?v={B}",
        f"http://m.youtube.com/watch?app=desktop&v={B}#t=1",
        f"https://youtu.be/{B}?si=1",
        f"https://www.youtube-nocookie.com/embed/{B}",
        f"youtube.com/live/{B}",
    ],
)
def test_all_addresses_of_a_youtube_video_are_that_video(address: str) -> None:
    assert listed_video(address) == listed_video(B)


def test_other_addresses_get_names_of_their_own() -> None:
    one, two = (listed_video(f"https://a.org/{name}") for name in ("x/talk.mp4", "y/talk.mp4"))
    assert one is not None
    assert two is not None
    assert one.video_id.startswith("talk-")
    assert one.video_id != two.video_id
    same = listed_video("HTTPS://A.org/x/talk.mp4#t=3")
    assert same == one


@given(st.lists(IDS, min_size=1))
def test_duplicates_are_merged_and_counted(rows: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tpbench.fetching.lists._content", lambda *_: "\n".join(rows).encode())
        found = read_list("list.csv")
    assert ids(found) == list(dict.fromkeys(rows))
    assert found.rows == len(rows)
    assert found.repeated == len(rows) - len(found.videos)
    assert sum(video.rows for video in found.videos) == len(rows)


@settings(max_examples=30)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tpbench.fetching.lists._content", lambda *_: text.encode("utf-8", "replace"))
        for name in ("list.csv", "list.txt"):
            with suppress(ConfigError):
                assert read_list(name).videos


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (f"id,start,end\n{A},1.5,70\n", Span(start_s=1.5, end_s=70)),
        (f"id,start_time,end_time\n{A},0:01:05.5,1:00:00\n", Span(start_s=65.5, end_s=3600)),
        (f"{A},10,20,en\n", Span(start_s=10, end_s=20)),
        (f"id,start_ms,end_ms\n{A},500,1500\n", Span(start_s=0.5, end_s=1.5)),
        (f"video_id,start,end,fps\n{A},50,100,25\n", Span(start_s=2, end_s=4)),
        (f"id,start_frame,end_frame,fps\n{A},0,30,30\n", Span(start_s=0, end_s=1)),
    ],
)
def test_start_and_end_are_read_in_their_units(tmp_path: Path, text: str, span: Span) -> None:
    (video,) = read(tmp_path, text).videos
    assert video.spans == (span,)


def test_clips_of_one_video_are_one_video_with_several_spans(tmp_path: Path) -> None:
    text = f"id,start,end\n{A},1,2\n{A},3,4\n{A},1,2\n{B},,\n"
    found = read(tmp_path, text)
    assert [len(video.spans) for video in found.videos] == [2, 0]
    assert (found.rows, found.repeated) == (4, 1)


def test_a_row_without_times_asks_for_the_whole_video(tmp_path: Path) -> None:
    (video,) = read(tmp_path, f"id,start,end\n{A},1,2\n{A},,\n{A},5,6\n").videos
    assert video.spans == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty; it names no video"),
        ("\n \n", "the list is empty"),
        ("video_id\n", "has a header and nothing else"),
        ("id,text\n,y\n", "its cells are all empty"),
        (f"{A}\nnotanid\n", "line 2: 'notanid' is neither a YouTube id"),
        (f"{A}\nfile:///etc/passwd\n", "line 2: 'file:///etc/passwd' is neither"),
        (f"{A}\nhttp://[half\n", "line 2: .* is neither"),
        (f"id,start,end\n{A},3,3\n", "line 2: a part from 3 to 3 is empty"),
        (f"id,start,end\n{A},3,\n", "line 2: '' is no time"),
        (f"id,start,end\n{A},soon,4\n", "line 2: 'soon' is no time"),
        (f"id,start_frame,end_frame\n{A},3,4\n", "times in frames need a column fps"),
        (f"id,start,end,fps\n{A},3,4,0\n", "0 frames a second are no rate"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_list_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_list(tmp_path / "video.mp4")
    with pytest.raises(ConfigError, match="no such list"):
        read_list(tmp_path / "nowhere.csv")
    with pytest.raises(ConfigError, match="a folder"):
        read_list(tmp_path)


def test_a_list_with_another_checksum_is_refused(tmp_path: Path) -> None:
    right = hashlib.sha256(f"{A}\n".encode()).hexdigest()
    assert read(tmp_path, f"{A}\n", sha256=right.upper()).sha256 == right
    with pytest.raises(ConfigError, match=f"another list than expected: its sha256 is {right}"):
        read(tmp_path, f"{A}\n", sha256="0" * 64)


def test_a_list_is_downloaded_if_an_address_is_given(site: Site) -> None:
    address = site.put("/ids.csv", Answer(content=f"id\n{A}\n".encode(), kind="text/plain"))
    assert ids(read_list(address)) == [A]


def test_a_dead_list_is_one_line(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.csv: the list can't be downloaded \(HTTP 404\)"):
        read_list(f"{site.url}/gone.csv")
    with pytest.raises(ConfigError, match=r"can't be downloaded \(ConnectionError\)"):
        read_list("http://127.0.0.1:1/ids.csv")
    write_list(tmp_path / "x.csv", A)


def write_table(path: Path, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_the_manifest_of_a_dataset_or_a_pack_is_a_list_of_its_sources(tmp_path: Path) -> None:
    write_table(
        tmp_path / "manifest.parquet",
        clip_id=["a_1", "a_2", "b_1", "c_1", "d_1"],
        status=["kept", "kept", "rejected", "kept", "kept"],
        url=[f"https://youtu.be/{A}", f"https://youtu.be/{A}", f"https://youtu.be/{B}", None, C],
        start_frame=[25, 125, None, 0, 50],
        end_frame=[50, 163, None, 25, 75],
        start_s=[1.0, 5.0, None, 0.0, 2.0],
        end_s=[2.0, 6.5, None, 1.0, 3.0],
    )
    found = read_list(tmp_path)
    assert ids(found) == [A, C]
    assert found.videos[0].spans == (Span(start_s=1, end_s=2), Span(start_s=5, end_s=6.5))
    assert read_list(tmp_path / "manifest.parquet").videos == found.videos


def test_a_manifest_in_parts_is_a_list_of_the_sources_in_all_of_them(tmp_path: Path) -> None:
    marks = ["0" * 64, "1" * 64]
    (tmp_path / "manifest").mkdir()
    for mark, video in zip(marks, (A, B), strict=True):
        write_table(
            tmp_path / "manifest" / f"{mark[:16]}.parquet",
            clip_id=["1"],
            status=["kept"],
            url=[f"https://youtu.be/{video}"],
        )
    index = tmp_path / "manifest.json"
    index.write_text(json.dumps({"parts": [{"sha256": mark} for mark in marks]}))
    assert ids(read_list(tmp_path)) == [A, B]
    for text in ("{", '{"parts": [{"sha256": "../../../etc/passwd"}]}'):
        index.write_text(text)
        with pytest.raises(ConfigError, match="no index"):
            read_list(tmp_path)


def test_other_tables_need_a_column_of_videos(tmp_path: Path) -> None:
    assert ids(read_list(write_table(tmp_path / "a.parquet", video_id=[B, A]))) == [B, A]
    with pytest.raises(ConfigError, match="no column url or video_id"):
        read_list(write_table(tmp_path / "b.parquet", name=["x"]))
    (tmp_path / "c.parquet").write_text("no table")
    with pytest.raises(ConfigError, match="not a Parquet table"):
        read_list(tmp_path / "c.parquet")
    with pytest.raises(ConfigError, match="no such list"):
        read_list(tmp_path / "none.parquet")


def test_tables_with_odd_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its column status is no text"):
        read_list(write_table(tmp_path / "a.parquet", video_id=[A], status=[1]))
    twice = pa.table([[A], [B]], names=["video_id", "video_id"])
    pq.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match="two columns video_id"):
        read_list(tmp_path / "b.parquet")


def test_half_an_address_is_no_list() -> None:
    with pytest.raises(ConfigError, match="no address of a list"):
        read_list("http://[x")


@pytest.mark.shared
def test_the_released_list_holds_what_its_card_says(shared_dir: Path) -> None:
    found = read_list(
        shared_dir / "data/talkingpose_video_ids.csv",
        sha256="0af6d7925d39634ab2d58737186047eb3a5b6c0680de518a98d5d6de208ea670",
    )
    assert (found.rows, len(found.videos), found.repeated) == (21_140, 19_339, 1_801)
    assert sum(video.video_id.startswith("-") for video in found.videos) == 303
    assert sum(video.rows > 1 for video in found.videos) == 1_604

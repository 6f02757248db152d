"""Tables of users: read by their header, and refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset.rows import kept, rejected
from tpbench.dataset.tables import (
    Subjects,
    read_identity_table,
    read_side_lists,
    read_table_rows,
)
from tpbench.errors import ConfigError, DatasetError

ROWS = [
    kept("a_0", source_id="a", identity="ann", url="https://example.org/a"),
    kept("a_1", source_id="a", identity="ann", url="https://example.org/a"),
    kept("b_0", source_id="b", identity="ann", url="https://example.org/b"),
    kept("c_0", source_id="c", identity="c"),
    rejected("d_0", source_id="d", identity="d"),
]
OWN = [
    *(kept(row.clip_id, source_id=row.source_id, identity=row.source_id) for row in ROWS[:4]),
    ROWS[4],
]
SUBJECTS = Subjects(ROWS, OWN)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("source_id,identity\na,Ann\n", {"a": "Ann"}),
        ("\ufeffIdentity , Source_ID\r\n Ann , a \r\n\r\n", {"a": "Ann"}),
        ("clip_id,identity\na_0,Ann\na_1,Ann\nd_0,Dan\n", {"a": "Ann", "d": "Dan"}),
        ('url,identity,note\nhttps://example.org/b,\'=Bob,"x,y"\n', {"b": "=Bob"}),
    ],
)
def test_who_is_who_can_be_said_of_clips_sources_and_urls(
    table: Path, text: str, found: dict[str, str]
) -> None:
    table.write_text(text, encoding="utf-8", newline="")
    assert read_identity_table(table, SUBJECTS) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source_id,identity\na,Ann\nsource,Bob\n", r"line 3: the dataset has no source 'source'"),
        ("clip_id,identity\na_9,Ann\n", r"line 2: .* no clip 'a_9'; did you mean 'a_1'\?"),
        ("clip_id,identity\na_0,Ann\na_1,Bob\n", r"source 'a' has two identities, 'Ann' \(line 2"),
        ("source_id,identity\na,\n", r"line 2: no identity is given for 'a'"),
        ("source_id,person\na,Ann\n", r"want a column 'identity' .* there are: source_id, person"),
        ("name,identity\na,Ann\n", r"want a column clip_id, source_id or url in the first line"),
        ("source_id,identity\na\n", r"line 2: has 1 cells, and the header has 2"),
        ('source_id,identity\n"a,Ann\n', r"line 2: "),
        ("source_id,identity\n", "has no rows below its header"),
        ("", "want a column 'identity' in the first line; there are: none"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_its_line(
    table: Path, text: str, said: str
) -> None:
    table.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"table\.csv.*{said}"):
        read_identity_table(table, SUBJECTS)


def test_a_file_that_is_no_text_or_not_there_is_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read as a table"):
        read_identity_table(table, SUBJECTS)
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read as a table"):
        read_identity_table(table, SUBJECTS)
    with pytest.raises(DatasetError, match="can't be read as a table"):
        read_table_rows(table)


def test_sides_are_those_of_identities_whatever_names_them(tmp_path: Path) -> None:
    one = tmp_path / "official.csv"
    one.write_text("source_id,split\nb,Test\nc,train\nd,test\ngone,test\n")
    imported = read_side_lists([one], SUBJECTS)
    assert imported.sides == {"ann": "test", "c": "train"}
    assert [row.partition(" line ")[2] for row in imported.unknown] == ["5: gone"]
    assert imported.unused == 1

    two = [tmp_path / "train.csv", tmp_path / "test.csv"]
    two[0].write_text("identity\nc\n")
    two[1].write_text("clip_id,identity\na_1,whatever\n")
    assert read_side_lists(two, SUBJECTS).sides == {"ann": "test", "c": "train"}
    two[1].write_text("identity\na\n")  # its name without joins
    assert read_side_lists(two, SUBJECTS).sides == {"ann": "test", "c": "train"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "source_id,side\na,test\nb,train\n",
            r"line 3 \(b\) puts 'ann' on the train side, and .* line 2 \(a\) on the test side",
        ),
        ("source_id,side\na,val\n", r"line 2: want the side train or test, got 'val'"),
        ("source_id\na\n", r"want a column 'side' with train or test, or a file named train\.csv"),
        ("name,side\na,test\n", r"want a column clip_id, source_id, url or identity in the first"),
        ("source_id,side\nx,test\ny,train\n", r"line 3: no row names a kept clip of this dataset"),
        ("source_id,side\nd,test\n", r"no row names a kept clip"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(table: Path, text: str, said: str) -> None:
    table.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"table\.csv.*{said}"):
        read_side_lists([table], SUBJECTS)

from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.errors import ConfigError
from tpbench.metrics.scoring.identities import read_identities, with_identities
from tpbench.metrics.scoring.pairing import Pair, Pairing


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "people.csv"
    path.write_text(text, encoding=encoding, newline="")
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_whoever_wrote_it(encoding: str, end: str, tmp_path: Path) -> None:
    lines = ["clip,split,identity", '"sub/a, b",test,Zoë', "c,train,Zoë"]

    found = read_identities(table(tmp_path, end.join(lines), encoding))

    assert found == {"sub/a, b": "Zoë", "c": "Zoë"}


def test_blanks_beside_commas_make_nobody_another_person(tmp_path: Path) -> None:
    found = read_identities(table(tmp_path, "clip , identity\na, Zoë\nb,Zoë \n"))

    assert found == {"a": "Zoë", "b": "Zoë"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("clip,who\na,b\n", "want the columns 'clip' and 'identity', found clip, who"),
        ("", "want the columns 'clip' and 'identity', found none"),
        ("clip,identity\na,x\na,y\n", "people.csv, line 3: clip 'a' comes twice"),
        ("clip,identity\na, \n", "people.csv, line 2: clip 'a' lacks a name"),
        ("clip,identity\na,\n", "people.csv, line 2: clip 'a' lacks a name"),
        ("clip,identity\na\n", "people.csv, line 2: clip 'a' lacks a name"),
        ("clip,identity\n,x\n", "people.csv, line 2: clip '' lacks a name"),
    ],
)
def test_a_table_that_says_too_little_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_identities(table(tmp_path, text))


def test_what_is_no_table_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"clip,identity\n\xff\xfe,b\n")
    for path in (tmp_path / "people.csv", tmp_path / "gone.csv", tmp_path):
        with pytest.raises(ConfigError, match=r": no table that can be read"):
            read_identities(path)


def test_every_pair_gets_its_identity() -> None:
    pairs = tuple(Pair(clip_id=name, real=Path(), generated=Path(), identity="?") for name in "ab")
    pairing = Pairing(pairs=pairs, missing=("m",), extra=("e",))

    found = with_identities(pairing, {"a": "x", "b": "y", "other": "z"}, Path("people.csv"))

    assert [(pair.clip_id, pair.identity) for pair in found.pairs] == [("a", "x"), ("b", "y")]
    assert (found.missing, found.extra) == (("m",), ("e",))
    with pytest.raises(ConfigError) as caught:
        with_identities(pairing, {"b": "y"}, Path("people.csv"))
    assert str(caught.value) == "people.csv: has no identity for 1 clips, the first is 'a'"

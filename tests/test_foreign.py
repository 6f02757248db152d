"""Text, JSON and files that strangers made."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tpbench.foreign import (
    ForeignFileError,
    copy_checked,
    from_spreadsheet_safe,
    opened_inside,
    parse_json,
    parse_yaml,
    printable,
    printable_lines,
    read_json,
    spreadsheet_safe,
)


@given(st.text())
def test_a_printable_text_is_one_line_that_steers_nothing(text: str) -> None:
    shown = printable(text)
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown)
    assert not set(shown) & set("\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e")
    assert not set(shown) & set("\u2066\u2067\u2068\u2069\ufeff\u2060\u00ad")
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_that_was_made_printable_says_the_same(text: str) -> None:
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_names_that_people_use_stay_as_they_are() -> None:
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    for name in ("plain", "two  blanks", "Müller", persian, "👩\u200d🔬", "日本語", "a\u00a0b"):
        assert printable(name) == name


def test_lines_keep_their_ends_and_lose_escapes() -> None:
    assert printable_lines("a\tb\n\x1b[31mc\r") == "a\tb\n\\u001b[31mc\\r"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 1000 + "]" * 1000, "nested deeper"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested deeper"),
        ('{"a": "\\ud800"}', "half a surrogate pair"),
        ('{"\\udc00": 1}', "half a surrogate pair"),
        ("[1e999]", "not finite"),
        ("[-1e999]", "not finite"),
        ("[NaN]", "NaN is not a JSON number"),
        ("[Infinity]", "Infinity is not a JSON number"),
        ("[18446744073709551616]", "64 bits"),
        ("[" + "9" * 5000 + "]", "4300 digits"),
        ("[1,", "Expecting value"),
        ("", "Expecting value"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": "M\xfcller"}', "not UTF-8"),
        ("[" + "[]," * 10 + "[]]", "more than 20 values"),
    ],
)
def test_json_beyond_the_limits_is_refused_in_one_line(text: str | bytes, reason: str) -> None:
    with pytest.raises(ForeignFileError, match=reason) as caught:
        parse_json(text, max_values=20 if "20" in reason else 1_000_000)
    assert "\n" not in str(caught.value)


def test_a_name_of_a_file_may_have_bytes_that_are_no_text_and_nothing_else_may() -> None:
    text = json.dumps({"path": os.fsdecode(b"talks/caf\xe9.mp4")})
    assert os.fsencode(parse_json(text, file_names=True)["path"]) == b"talks/caf\xe9.mp4"
    for other in ("\\ud800", "\\udc7f", "\\udd00"):
        with pytest.raises(ForeignFileError, match="half a surrogate pair"):
            parse_json(f'["{other}"]', file_names=True)
    with pytest.raises(ForeignFileError, match="half a surrogate pair"):
        parse_json(text)


def test_json_within_the_limits_is_what_it_was(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "Müller", {"b": -(2**63)}], "emoji": "👩"}
    path = tmp_path / "value.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_json(path) == value


def test_one_odd_value_costs_nothing_where_only_some_are_taken() -> None:
    text = '{"a": 1e999, "b": "\\ud800", "c": NaN, "d": 18446744073709551616, "e": "x"}'
    assert parse_json(text, strict=False)["e"] == "x"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(" " * 101)
    with pytest.raises(ForeignFileError, match="has 101 bytes, more than the limit of 100"):
        read_json(path, max_bytes=100)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    with pytest.raises(ForeignFileError, match="is a named pipe, not a regular file"):
        read_json(path)
    with pytest.raises(ForeignFileError, match="not a regular file"), opened_inside(tmp_path, path):
        pass


def test_a_file_inside_is_opened_through_links_that_stay_inside(tmp_path: Path) -> None:
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_bytes(b"content")
    (tmp_path / "folder" / "link").symlink_to(inner)
    (tmp_path / "outer").symlink_to(tmp_path / "folder")
    with opened_inside(tmp_path / "outer", tmp_path / "outer" / "link" / "file") as file:
        assert file.read() == b"content"


@pytest.mark.parametrize("through", ["file", "folder", "absolute", "dots"])
def test_what_leads_out_of_the_folder_is_refused(tmp_path: Path, through: str) -> None:
    secret = tmp_path / "private" / "key.mp4"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "key.mp4"
    if through == "file":
        path.symlink_to("../private/key.mp4")
    elif through == "folder":
        (folder / "preview").symlink_to(secret.parent)
        path = folder / "preview" / "key.mp4"
    elif through == "absolute":
        path = secret
    else:
        path = folder / ".." / "private" / "key.mp4"

    with pytest.raises(ForeignFileError, match="leads out of run"), opened_inside(folder, path):
        pass


def test_a_link_to_itself_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"), opened_inside(tmp_path, tmp_path / "loop"):
        pass


def test_a_copy_is_left_only_if_its_bytes_are_those_of_the_digest_and_writes_through_no_link(
    tmp_path: Path,
) -> None:
    source, victim = tmp_path / "source", tmp_path / "victim"
    source.write_bytes(b"content")
    victim.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(victim)
    digest = hashlib.sha256(b"content").hexdigest()
    with source.open("rb") as file:
        assert not copy_checked(file, tmp_path / "wrong", "0" * 64)
        file.seek(0)
        assert copy_checked(file, tmp_path / "right", digest)
        with pytest.raises(FileExistsError):
            copy_checked(file, tmp_path / "link", digest)
    assert not (tmp_path / "wrong").exists()
    assert (tmp_path / "right").read_bytes() == b"content"
    assert victim.read_bytes() == b"mine"


@given(st.text())
def test_a_cell_that_was_made_safe_is_read_as_what_it_was(text: str) -> None:
    safe = spreadsheet_safe(text)
    assert not safe.startswith(tuple("=+-@\t\r"))
    assert from_spreadsheet_safe(safe) == text


@pytest.mark.parametrize("text", ["a: !!timestamp x", "a: 2001-02-30", "[" * 5000, "a: !!int x"])
def test_yaml_whose_values_are_not_what_their_tags_say_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)

"""What is an address of object storage, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.errors import ConfigError
from tpbench.extraction.sources import find_sources
from tpbench.storage.addresses import (
    Address,
    local_path,
    plain_argument,
    require_local,
    safe_relative,
)


@pytest.mark.parametrize(
    ("given_as", "written"),
    [
        ("s3://talks/raw/", "s3://talks/raw"),
        ("S3://talks", "s3://talks"),
        ("gcs://talks/a b/ü.mp4", "gs://talks/a b/ü.mp4"),
        (Path("s3://talks/raw"), "s3://talks/raw"),
    ],
)
def test_an_address_is_understood_also_as_a_path(given_as: str | Path, written: str) -> None:
    assert str(Address.of(given_as)) == written


@pytest.mark.parametrize(
    "given_as", ["talks", "/s3/talks", "a:b", "http://x.org/a", "file:///a", "./s3", "C:/talks"]
)
def test_a_path_and_a_web_address_are_none(given_as: str) -> None:
    assert Address.of(given_as) is None


@pytest.mark.parametrize(
    ("given_as", "told"),
    [
        ("ftp://talks/raw", "ftp:// are not understood; known: s3://"),
        ("s3://", "no bucket is named"),
        ("s3://key:secret@talks/raw", "the address holds credentials"),
        ("s3://key:sec/ret@talks/raw", "the address holds credentials"),
        ("s3:///talks", "s3:///talks: no bucket is named"),
        ("s3://talks/raw?versionId=secret", "with a query"),
        ("s3://talks/raw#1", "with a fragment"),
        ("s3://talks/../raw", "has empty parts, '.' or '..'"),
    ],
)
def test_what_is_refused_is_told_without_its_secrets(given_as: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.of(given_as)
    assert told in str(caught.value)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("address", ["file://me:secret@h/x", "file://me:sec/ret@h/x", "file://h"])
def test_a_file_address_of_another_machine_is_refused_without_its_secrets(address: str) -> None:
    for word in (address, f"--out={address}"):
        with pytest.raises(ConfigError, match="of this machine, and no host or user") as caught:
            plain_argument(word)
        assert "sec" not in str(caught.value)


def test_a_web_address_among_inputs_is_shown_as_it_was_given_without_its_secrets() -> None:
    given = Path("https://me:secret@bkt.org/raw?key=secret")
    with pytest.raises(ConfigError, match=r"^input https://bkt\.org/raw is an address"):
        find_sources([given], excluded=Path("/nowhere"))


def test_a_file_address_is_a_path() -> None:
    assert local_path("file:///data/a%20b") == Path("/data/a b")
    assert local_path("file://localhost/data") == Path("/data")
    assert local_path(Path("file:/data")) == Path("/data")
    with pytest.raises(ConfigError, match="s3://talks: `split` works on local folders"):
        require_local("s3://talks", "`split`")


def test_an_address_holds_what_lies_below_it() -> None:
    raw = Address(scheme="s3", bucket="talks", key="raw")
    assert raw.holds(raw)
    assert raw.holds(raw.below("a.mp4"))
    assert not raw.holds(Address(scheme="s3", bucket="talks", key="raw2/a.mp4"))
    assert not raw.holds(Address(scheme="gs", bucket="talks", key="raw/a.mp4"))


@given(st.text(max_size=40))
def test_no_key_leads_out_of_a_folder(key: str) -> None:
    relative = safe_relative(key)
    if relative is not None:
        assert not Path(relative).is_absolute()
        assert ".." not in Path(relative).parts
        assert relative == key

"""Addresses of object storage where a command does not take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.cli.addresses import refuse_addresses
from tpbench.errors import ConfigError


@pytest.mark.parametrize(
    "words",
    [
        ["split", "s3://talks/set"],
        ["export", "set", "--to", "coco", "--out", "s3://talks/coco"],
        ["eval", "--out=s3://talks/runs"],
        ["-v", "card", "gs://talks/set"],
        ["extract", "talks.csv", "--fetch", "--raw", "s3://talks/raw"],
        ["score", "--generated", "s3://talks/made"],
    ],
)
def test_a_command_that_works_on_folders_says_so(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="works on local folders; copy it here first"):
        refuse_addresses(words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "s3://talks/raw", "--out", "set"],
        ["fetch", "https://x.org/list.csv", "--out", "raw"],
        ["extract", "--offline", "s3://talks/raw", "--out", "set"],
        ["extract", "raw", "--out=s3://talks/set"],
        ["inspect", "s3://talks/set", "--verify"],
        ["eval", "--model", "warp", "--data", "s3://talks/set"],
        ["extract", "raw", "--ray-address", "ray://node:10001", "--out", "set"],
        ["score", "--ray-address=ray://node:10001", "--real", "set"],
        ["metrics", "list"],
        [],
    ],
)
def test_other_words_pass(words: list[str]) -> None:
    refuse_addresses(words)

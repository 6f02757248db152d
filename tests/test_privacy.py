"""What is written down for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.privacy import (
    HIDDEN,
    public_command,
    public_message,
    public_option,
    public_text,
    public_values,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/alice/talks/x.mp4: is broken", "x.mp4: is broken"),
        ("/home/alice/my talks/a b/x.mp4: is broken", "x.mp4: is broken"),
        ("[Errno 2] No such file: '/home/alice/x.mp4'", "[Errno 2] No such file: 'x.mp4'"),
        ("folder=/home/alice/private", "folder=private"),
        ("holds no videos (/data/alice/gen/)", "holds no videos (gen)"),
        ("~/private/x.mp4", "x.mp4"),
        ("~alice/private/x.mp4", "x.mp4"),
        ("file:///home/alice/x.mp4", "x.mp4"),
        ("C:\\Users\\alice\\x.mp4: broken", "x.mp4: broken"),
        ("input:/home/alice/x.mp4", "input:x.mp4"),
        ("https://x.org/a/b.mp4?v=1", "https://x.org/a/b.mp4?v=1"),
        ("https://alice:pw@x.org/v", "https://x.org/v"),
        ("https://x.org/v?token=abc&t=1", "https://x.org/v&t=1"),
        ("https://x.org/v#access_token=abc", "https://x.org/v"),
        ("hf_token=abcdef", f"hf_token={HIDDEN}"),
        ("{'password': 'abcdef', 'gain': 1}", f"{{'password': '{HIDDEN}', 'gain': 1}}"),
        ("got hf_abcdefGHIJ1234", f"got {HIDDEN}"),
        ("and/or, 3/4, a < b, </b>, 25 frames/s", "and/or, 3/4, a < b, </b>, 25 frames/s"),
        ("sub/clip.mp4: frame 3 of 100", "sub/clip.mp4: frame 3 of 100"),
        ("name \\u202e", "name \\u202e"),
        ("can't open \\\\server\\share\\alice\\x.bin", "can't open x.bin"),
        ("cc -I/home/alice/inc x.c", "cc -Iinc x.c"),
        ("/home/alice: no space", "~: no space"),
        ("$HOME=/Users/alice", "$HOME=~"),
        ("C:\\Users\\alice: no space", "~: no space"),
        ("scp alice@gpu01:/home/alice/x", "scp x"),
        ("DS@c01dc26d: is not there", "DS@c01dc26d: is not there"),
        ("Authorization: Bearer abcdef.ghi", f"Authorization: Bearer {HIDDEN}"),
        ("Authorization: Basic YWxpY2U6cHc=", f"Authorization: Basic {HIDDEN}"),
    ],
)  # fmt: skip
def test_a_message_loses_what_is_private_and_keeps_the_rest(text: str, shown: str) -> None:
    assert public_text(text) == shown


def test_a_message_names_neither_the_machine_nor_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "gpu01.uni.example")
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    text = "alice on gpu01.uni.example (gpu01) failed; gpu011, malice and gpu01-a are others"
    shown = public_message(text)
    assert shown == "(user) on (host) ((host)) failed; gpu011, malice and gpu01-a are others"
    assert public_text("https://x.org/@alice/v") == "https://x.org/@alice/v"


@pytest.mark.parametrize("name", ["root", "vm", "localhost"])
def test_names_that_tell_nothing_stay_in_sentences(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    monkeypatch.setattr("getpass.getuser", lambda: name)
    assert public_message(f"the {name} of it") == f"the {name} of it"


def test_files_are_named_relative_to_the_folders_that_are_known(tmp_path: Path) -> None:
    text = f"{tmp_path / 'real' / 'sub' / 'x.mp4'}: broken; look at {Path.cwd() / 'log.txt'}"
    assert public_text(text, own=[tmp_path / "real"]) == "sub/x.mp4: broken; look at log.txt"


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("gain=0.3", "gain=0.3"),
        ("mode=fast", "mode=fast"),
        ("folder=gen/mine", "folder=gen/mine"),
        ("folder=/home/alice/private", "folder=FOLDER"),
        ("hf_token=hf_SECRET123", "hf_token=HF_TOKEN"),
        ("api-key=1", "api-key=API_KEY"),
        ("PASSWORD=x", "PASSWORD=PASSWORD"),
        ("endpoint=https://me:pw@host/", "endpoint=ENDPOINT"),
        ("note=sk-abcdefghijklmnop", "note=NOTE"),
    ],
)
def test_an_option_that_is_private_is_named_and_not_shown(option: str, shown: str) -> None:
    assert public_option(option) == shown


def test_a_command_keeps_its_words_and_loses_folders_and_secrets() -> None:
    typed = (
        "tpbench", "eval", "--model", "my_module:Mine", "--data", "/home/alice/talks", "--option",
        "hf_token=hf_SECRET123", "--option=folder=/home/alice/private", "--weights=/data/alice/w",
        "--seeds", "1,2", "--api-key", "abc",
    )  # fmt: skip
    assert public_command(typed) == (
        "tpbench", "eval", "--model", "my_module:Mine", "--data", "talks", "--option",
        "hf_token=HF_TOKEN", "--option=folder=FOLDER", "--weights=w", "--seeds", "1,2", "--api-key",
        HIDDEN,
    )  # fmt: skip


def test_values_keep_their_kinds_and_are_made_public_once() -> None:
    values = {
        "gain": 0.3,
        "max_tokens": 77,
        "auth": {"user": "alice", "level": 2},
        "folders": ["/home/alice/a", "b"],
        "none": None,
        "yes": True,
    }

    public = public_values(values)

    assert public == {
        "gain": 0.3,
        "max_tokens": 77,
        "auth": {"user": HIDDEN, "level": 2},
        "folders": ["a", "b"],
        "none": None,
        "yes": True,
    }
    assert public_values(public) == public

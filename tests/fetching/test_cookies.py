from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.errors import ConfigError
from tpbench.fetching.cookies import Cookies

VALUE = "s3cr3t-value-of-a-session"
LINE = f".example.org\tTRUE\t/\tFALSE\t0\tSID\t{VALUE}"


@pytest.fixture
def cookies(tmp_path: Path) -> Cookies:
    path = tmp_path / "cookies.txt"
    path.write_text(f"# Netscape HTTP Cookie File\n\n{LINE}\n#HttpOnly_{LINE}\nbroken {VALUE}\n")
    return Cookies.read(path)


def test_only_lines_that_yt_dlp_understands_are_passed_on(cookies: Cookies) -> None:
    stream = cookies.stream()
    assert stream is not None
    assert stream.read().splitlines()[1:] == [LINE, f"#HttpOnly_{LINE}"]


def test_no_message_shows_a_cookie(cookies: Cookies) -> None:
    assert VALUE not in repr(cookies)
    assert VALUE not in cookies.public(f"ERROR: sent SID={VALUE}; and {VALUE}")
    assert cookies.public("\x1b[0;31mERROR:\x1b[0m gone\n now") == "gone now"


def test_without_cookies_there_are_none() -> None:
    assert not Cookies()
    assert Cookies().stream() is None


@pytest.mark.parametrize("text", ["", f'[{{"name": "SID", "value": "{VALUE}"}}]', f"SID={VALUE}"])
def test_a_file_of_another_kind_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match="no cookie in Netscape format") as raised:
        Cookies.read(path)
    assert VALUE not in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--cookies: none.txt does not exist"):
        Cookies.read(tmp_path / "none.txt")

from __future__ import annotations

import http.client
import io
import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpbench.weights.download import ATTEMPTS, TransferError, _Redirects, download

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    Site = Any


def _silent(_done_bytes: int, _total_bytes: int | None) -> None:
    pass


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx.part"


def test_a_file_arrives_whole(site: Site, part: Path) -> None:
    told: list[tuple[int, int | None]] = []

    download(site.url, part, on_bytes=lambda *seen: told.append(seen))

    assert part.read_bytes() == site.content
    assert told[0] == (0, 100_000)
    assert told[-1] == (100_000, 100_000)


def test_a_cut_line_is_resumed_where_it_stopped(site: Site, part: Path) -> None:
    site.cut_after_bytes = [40_000, 10_000]

    download(site.url, part, on_bytes=_silent)

    assert part.read_bytes() == site.content
    assert site.requests == [
        (None, None),
        ("bytes=40000-", '"v1"'),
        ("bytes=50000-", '"v1"'),
    ]


@given(cuts=st.lists(st.integers(0, 99_999), max_size=ATTEMPTS - 1))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_wherever_the_line_is_cut_the_bytes_are_the_same(
    site: Site, part: Path, cuts: list[int]
) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)
    site.cut_after_bytes = list(cuts)

    download(site.url, part, on_bytes=_silent)

    assert part.read_bytes() == site.content


def test_a_later_call_goes_on_with_what_an_earlier_one_left(site: Site, part: Path) -> None:
    site.cut_after_bytes = [1_000] * ATTEMPTS
    with pytest.raises(TransferError, match="5000 bytes are kept, pull again"):
        download(site.url, part, on_bytes=_silent)
    site.requests.clear()

    download(site.url, part, on_bytes=_silent)

    assert site.requests == [("bytes=5000-", '"v1"')]
    assert part.read_bytes() == site.content


def test_a_part_that_is_whole_is_not_fetched_again(site: Site, part: Path) -> None:
    download(site.url, part, on_bytes=_silent)
    site.requests.clear()

    download(site.url, part, on_bytes=_silent)

    assert site.requests == []


def test_a_server_without_ranges_sends_it_from_the_start(site: Site, part: Path) -> None:
    site.knows_range = False
    site.cut_after_bytes = [40_000]

    download(site.url, part, on_bytes=_silent)

    assert part.read_bytes() == site.content


@pytest.mark.parametrize("obeys_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_begun_anew(
    site: Site, part: Path, *, obeys_if_range: bool
) -> None:
    site.cut_after_bytes = [40_000] * ATTEMPTS
    site.knows_range = False
    with pytest.raises(TransferError):
        download(site.url, part, on_bytes=_silent)
    site.knows_range, site.cut_after_bytes = True, []
    site.obeys_if_range = obeys_if_range
    site.content, site.etag = bytes(reversed(site.content)), '"v2"'

    download(site.url, part, on_bytes=_silent)

    assert part.read_bytes() == site.content


def test_a_weak_etag_is_no_ground_to_resume_on(site: Site, part: Path) -> None:
    site.etag = 'W/"v1"'
    site.cut_after_bytes = [40_000]

    download(site.url, part, on_bytes=_silent)

    assert site.requests == [(None, None), (None, None)]
    assert part.read_bytes() == site.content


def test_a_part_of_another_url_is_not_gone_on_with(site: Site, part: Path) -> None:
    site.cut_after_bytes = [1_000] * ATTEMPTS
    with pytest.raises(TransferError):
        download(site.url, part, on_bytes=_silent)
    site.requests.clear()

    download(site.url + "?other", part, on_bytes=_silent)

    assert site.requests == [(None, None)]


@pytest.mark.parametrize("note", ["", "{}", "[1]", '{"url": 3}', "\x00"])
def test_an_unreadable_note_means_begin_anew(site: Site, part: Path, note: str) -> None:
    part.write_bytes(b"left over")
    part.with_name(part.name + ".json").write_text(note)

    download(site.url, part, on_bytes=_silent)

    assert part.read_bytes() == site.content


def test_a_part_longer_than_the_file_is_begun_anew(site: Site, part: Path) -> None:
    part.write_bytes(bytes(200_000))
    note = {"url": site.url, "validator": site.etag, "total_bytes": None}
    part.with_name(part.name + ".json").write_text(json.dumps(note))

    download(site.url, part, on_bytes=_silent)

    assert part.read_bytes() == site.content


def test_a_body_cut_short_each_time_is_one_clear_line(site: Site, part: Path) -> None:
    site.knows_range = False
    site.cut_after_bytes = [40_000] * ATTEMPTS

    with pytest.raises(TransferError, match=r"the connection ended at 40000 of 100000 bytes"):
        download(site.url, part, on_bytes=_silent)

    assert len(site.requests) == ATTEMPTS


def test_without_a_length_the_known_size_tells_that_the_body_was_cut(
    site: Site, part: Path
) -> None:
    site.sends_length = False
    site.cut_after_bytes = [40_000]

    download(site.url, part, expected_bytes=100_000, on_bytes=_silent)

    assert part.read_bytes() == site.content


def test_not_found_is_said_at_once(site: Site, part: Path) -> None:
    site.status = 404

    with pytest.raises(TransferError, match=r"model\.onnx: the server answered 404"):
        download(site.url, part, on_bytes=_silent)

    assert len(site.requests) == 1
    assert not part.exists()


def test_an_overloaded_server_is_asked_again(site: Site, part: Path) -> None:
    site.status = 503

    with pytest.raises(TransferError, match=r"answered 503.*5 attempts.*try again later"):
        download(site.url, part, on_bytes=_silent)

    assert len(site.requests) == ATTEMPTS


def test_a_web_page_is_not_taken_for_the_file(site: Site, part: Path) -> None:
    site.content_type = "text/html; charset=utf-8"

    with pytest.raises(TransferError, match="web page instead of the file"):
        download(site.url, part, on_bytes=_silent)

    assert not part.exists()


def test_a_file_of_another_size_is_refused_before_it_is_fetched(site: Site, part: Path) -> None:
    with pytest.raises(TransferError, match="offers 100000 bytes, the file has 99999"):
        download(site.url, part, expected_bytes=99_999, on_bytes=_silent)

    assert not part.exists()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "model.onnx"])
def test_only_http_is_spoken(part: Path, url: str) -> None:
    with pytest.raises(TransferError, match="neither http nor https"):
        download(url, part, on_bytes=_silent)


def test_a_redirect_does_not_lead_out_of_http(site: Site, part: Path) -> None:
    site.redirect_to = "ftp://127.0.0.1/model.onnx"

    with pytest.raises(TransferError, match="unknown url type: ftp"):
        download(site.url, part, on_bytes=_silent)

    assert not part.exists()


def test_a_server_that_is_not_there_is_one_clear_line(part: Path) -> None:
    with pytest.raises(TransferError, match=r"refused.*try again later"):
        download("http://127.0.0.1:9/model.onnx", part, on_bytes=_silent)


def test_a_body_without_a_length_is_taken_no_further_than_the_file_is_long(
    site: Site, part: Path
) -> None:
    site.sends_length = False

    with pytest.raises(TransferError, match="the server sends more than 1,000 bytes"):
        download(site.url, part, expected_bytes=1_000, on_bytes=_silent)

    assert not part.exists()
    assert len(site.requests) == 1


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_file_of_unknown_length_has_a_limit(
    site: Site, part: Path, *, sends_length: bool
) -> None:
    site.sends_length = sends_length

    with pytest.raises(TransferError, match=r"the server (offers|sends more than) [0-9,]+ bytes"):
        download(site.url, part, max_bytes=50_000, on_bytes=_silent)

    assert not part.exists() or part.stat().st_size <= 50_000


def test_a_server_that_sends_next_to_nothing_is_given_up(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(10**6))
    monkeypatch.setattr("tpbench.weights.download._now_s", lambda: 3600.0 * next(hours))
    monkeypatch.setattr("tpbench.weights.download._CHUNK_BYTES", 100)

    with pytest.raises(TransferError, match="fewer than 65,536 bytes came in 60 s"):
        download(site.url, part, on_bytes=_silent)

    assert 0 < len(site.requests) <= ATTEMPTS


def test_a_redirect_from_https_to_http_is_refused() -> None:
    request = urllib.request.Request("https://x.org/model")
    answer, headers = io.BytesIO(), http.client.HTTPMessage()
    redirects = _Redirects()

    for address in ("http://x.org/model", "HTTP://x.org/model", "ftp://x.org/model"):
        with pytest.raises(TransferError, match="sends on from https to"):
            redirects.redirect_request(request, answer, 302, "", headers, address)
    on = redirects.redirect_request(request, answer, 302, "", headers, "https://y.org/model")
    assert on is not None
    assert on.full_url == "https://y.org/model"


@pytest.mark.parametrize("kind", ["link", "hard link", "link of the note"])
def test_a_planted_part_is_not_written_through(
    site: Site, part: Path, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    if kind == "link":
        part.symlink_to(victim)
    elif kind == "hard link":
        part.hardlink_to(victim)
    else:
        part.with_name(f"{part.name}.json").symlink_to(victim)

    download(site.url, part, on_bytes=_silent)

    assert victim.read_text() == "mine"
    assert part.read_bytes() == site.content

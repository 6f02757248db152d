from __future__ import annotations

import errno
import io

import pytest
from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError

from tpbench.fetching.reasons import reason_of
from tpbench.work.faults import HaltError


def answered(status: int, **headers: str) -> ExtractorError:
    response = Response(io.BytesIO(), "https://a.org/x", headers, status)
    return ExtractorError("Unable to download webpage", cause=HTTPError(response))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        # as YouTube and yt-dlp 2026.10.26 word them
        ("Private video. Sign in if you've been granted access to this video", "private"),
        ("Join this channel to get access to members-only content like this video", "private"),
        ("This video requires payment to watch", "private"),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", "age"),
        (
            "Sign in to confirm you\u2019re not a bot. Use --cookies for the authentication",
            "blocked",
        ),
        ("This content isn't available, try again later. Has been rate-limited.", "blocked"),
        ("Video unavailable", "gone"),
        ("Video unavailable. This video has been removed by the uploader", "gone"),
        ("This video is no longer available because the account has been terminated.", "gone"),
        ("The uploader has not made this video available in your country", "region"),
        ("Premieres in 3 hours", "unusable"),
        ("This live event will begin in 2 days.", "unusable"),
        ("Unsupported URL: https://a.org/", "unusable"),
        ("Requested format is not available", "unusable"),
        ("[DRM] The requested site is known to use DRM protection", "unusable"),
        ("[download] Got error: HTTP Error 503: Service Unavailable. Giving up", "network"),
        ("[download] Got error: Downloaded 3 bytes, expected 9 bytes. Giving up", "network"),
        ("something nobody has heard of", "unusable"),
    ],
)
def test_what_hosts_say_is_understood(text: str, outcome: str) -> None:
    assert reason_of(DownloadError(f"ERROR: [youtube] -bcdefghij_: {text}")).outcome == outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(404, "gone"), (410, "gone"), (401, "private"), (403, "blocked"), (429, "blocked"),
     (451, "region"), (500, "network"), (503, "network"), (400, "unusable")],
)  # fmt: skip
def test_where_a_host_says_nothing_its_status_counts(status: int, outcome: str) -> None:
    assert reason_of(answered(status)).outcome == outcome


def test_a_403_may_be_a_block_and_a_429_is_one() -> None:
    refused, limited = reason_of(answered(403)), reason_of(answered(429, **{"Retry-After": "7"}))
    assert (refused.is_block, refused.may_be_block) == (False, True)
    assert (limited.is_block, limited.retry_after_s) == (True, 7.0)
    assert reason_of(answered(429, **{"Retry-After": "999999"})).retry_after_s == 3600


def test_a_host_that_cannot_be_reached_is_the_network() -> None:
    assert reason_of(ExtractorError("x", cause=TransportError("refused"))).outcome == "network"


def test_a_full_disk_is_no_fault_of_the_video() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.part")
    with pytest.raises(HaltError, match="No space left"):
        reason_of(DownloadError("ERROR: x", (OSError, full, None)))
    with pytest.raises(HaltError, match="unable to write data"):
        reason_of(DownloadError("ERROR: unable to write data: [Errno 28] No space left"))

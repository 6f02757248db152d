"""Why a video could not be fetched: what yt-dlp raises, sorted into outcomes.

yt-dlp reports most refusals in the words of the host, so those of YouTube are recognised by their
text; for other hosts the HTTP status decides. Read with yt-dlp 2026.10.26.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tpbench.fetching.outcomes import FetchOutcome
from tpbench.work.faults import HaltError, causes, why_halt

_MAX_WAIT_S: Final = 3600.0
"""A longer wait that a host asks for is cut to this: the next run may ask again."""

_BLOCKED: Final = re.compile(r"not a bot|rate.?limited|too many requests|captcha", re.IGNORECASE)
"""The host refuses this machine, whatever it asks for."""
_TEXTS: Final[tuple[tuple[str, FetchOutcome], ...]] = (
    # The first match counts.
    (r"confirm your age|age.?restricted|inappropriate for some users", "age"),
    (r"(in|from) your (country|location)|geo.?restrict", "region"),
    (r"\bgot error: |giving up after", "network"),  # a transfer, after its retries
    (r"private|members.?only|members on|join this channel|requires payment", "private"),
    (r"purchase|rental|pay to watch|log ?in|sign in|registered users", "private"),
    (r"premieres? in|live event|is live|has not started|offline\b", "unusable"),
    (r"drm|unsupported url|format is not available|no video formats", "unusable"),
    (r"playlist|unusual and will be skipped", "unusable"),
    (r"removed|terminated|no longer available|does not exist|doesn't exist", "gone"),
    (r"unavailable|isn't available|is not available|not found|copyright", "gone"),
    (r"timed? ?out|connection|name resolution|content too short|incomplete", "network"),
)
_BY_STATUS: Final[dict[int, FetchOutcome]] = {
    401: "private",
    402: "private",
    404: "gone",
    408: "network",
    410: "gone",
    451: "region",
}
_PREFIX: Final = re.compile(r"^\s*(ERROR: )?(\[[^\]]*\] )?([\w-]+: )?")
"""`ERROR: [youtube] <id>: `; an id may hold any word."""
_CAUSE: Final = re.compile(r" \(caused by .*\)\s*$", re.DOTALL)
_STATUS_IN_TEXT: Final = re.compile(r"HTTP Error (?P<status>[1-5]\d\d)")
_CANNOT_WRITE: Final = re.compile(r"unable to (open for writing|write data|rename file|create dir)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a video was not fetched."""

    outcome: FetchOutcome
    message: str
    """yt-dlp's, without what stands around it; may hold addresses and secrets."""
    is_block: bool = False
    """Whether the host said that it refuses this machine; a plain 403 says that only perhaps."""
    may_be_block: bool = False
    retry_after_s: float | None = None
    """How long the host asks to wait."""
    licence: str | None = None
    """Of a video that was refused for it."""


def reason_of(error: BaseException) -> Reason:
    """Return why a video was not fetched.

    Args:
        error: what yt-dlp raised.

    Raises:
        HaltError: the disk is full or can't be written: no video can be fetched.
    """
    _require_disk(error, str(error))
    message = _CAUSE.sub("", _PREFIX.sub("", str(error)))
    status, retry_after_s = _answer(error)
    # A block stays one, whatever its status.
    if status == 429 or _BLOCKED.search(message):
        return Reason(
            outcome="blocked", message=message, is_block=True, retry_after_s=retry_after_s
        )
    if status == 403:
        return Reason(
            outcome="blocked", message=message, may_be_block=True, retry_after_s=retry_after_s
        )
    if status is not None:
        otherwise: FetchOutcome = "network" if status >= 500 else "unusable"
        by_status = _BY_STATUS.get(status, otherwise)
        return Reason(outcome=by_status, message=message, retry_after_s=retry_after_s)
    if any(_is_network(cause) for cause in _all_causes(error)):
        return Reason(outcome="network", message=message)
    for pattern, outcome in _TEXTS:
        if re.search(pattern, message, re.IGNORECASE):
            return Reason(outcome=outcome, message=message)
    return Reason(outcome="unusable", message=message)


def _require_disk(error: BaseException, message: str) -> None:
    for cause in _all_causes(error):
        if (why := why_halt(cause)) is not None:
            raise HaltError(why) from error
    if _CANNOT_WRITE.search(message):
        what = " ".join(message.removeprefix("ERROR: ").split())
        raise HaltError(f"{what}; what is fetched is kept: put that right and run again") from error


def _answer(error: BaseException) -> tuple[int | None, float | None]:
    """Return the HTTP status behind an error, and how long the host asks to wait."""
    from yt_dlp.networking.exceptions import HTTPError

    for cause in _all_causes(error):
        if isinstance(cause, HTTPError):
            return cause.status, _wait_of(cause.response.headers.get("Retry-After"))
    # After its last retry, yt-dlp keeps the text alone.
    found = _STATUS_IN_TEXT.search(str(error))
    return (int(found["status"]) if found else None), None


def _wait_of(header: Any) -> float | None:  # noqa: ANN401 - yt-dlp has no types
    """Return the seconds in a header `Retry-After`; its other form, a date, is ignored."""
    if not isinstance(header, str) or not header.strip().isdigit():
        return None
    return min(float(header), _MAX_WAIT_S)


def _is_network(error: BaseException) -> bool:
    from yt_dlp.networking.exceptions import network_exceptions
    from yt_dlp.utils import ContentTooShortError

    if isinstance(error, (*network_exceptions, ContentTooShortError)):
        return True
    return isinstance(error, OSError) and error.errno in {errno.ECONNRESET, errno.ETIMEDOUT}


def _all_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all behind it, those included that yt-dlp keeps in attributes."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        for cause in causes(waiting.pop()):
            if id(cause) in seen:
                continue
            seen.add(id(cause))
            yield cause
            info = getattr(cause, "exc_info", None)
            kept = [getattr(cause, "cause", None), info[1] if info else None]
            waiting += [inner for inner in kept if isinstance(inner, BaseException)]

"""A file over http(s), resumable: what is there of it waits in a `.part` file.

A part is gone on with only if the server still offers the same file: beside it, `.part.json` keeps
the URL and the server's validator (a strong ETag, else Last-Modified), which is sent back as
If-Range. A server that ignores this sends the file from the start, and so it is then taken.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 5
TIMEOUT_S: Final = 30.0
_BACKOFF_S = 1.0
"""Wait before the second attempt; doubled before each further one."""

_CHUNK_BYTES: Final = 1 << 18
_RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransferError(Exception):
    """The file could not be fetched; the message says why and names the URL."""


class _DroppedError(Exception):
    """The connection failed in a way that another attempt may mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PartNote:
    url: str
    validator: str
    total_bytes: int | None


def download(
    url: str,
    part: Path,
    *,
    expected_bytes: int | None = None,
    on_bytes: Callable[[int, int | None], None],
) -> None:
    """Fetch `url` into `part`, going on with what an earlier call left there.

    Args:
        url: http or https.
        part: whole when this returns, and not before.
        expected_bytes: size of the file, if known.
        on_bytes: told the bytes that are there and the whole size (None: not known).

    Raises:
        TransferError: refused, foreign, or dropped too often. A part that can be resumed stays.
        OSError: `part` can't be written.
    """
    if not url.startswith(("http://", "https://")):
        msg = f"{url} is neither http nor https"
        raise TransferError(msg)
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_BACKOFF_S * 2 ** (attempt - 1))
        try:
            _attempt(url, part, expected_bytes, on_bytes)
        except _DroppedError as error:
            reason = str(error)
            logger.info("%s: %s (attempt %d of %d)", url, reason, attempt + 1, ATTEMPTS)
        else:
            return
    kept = part.stat().st_size if part.exists() else 0
    advice = f"{kept} bytes are kept, pull again to go on" if kept else "try again later"
    msg = f"{url}: {reason} ({ATTEMPTS} attempts); {advice}"
    raise TransferError(msg)


def discard(part: Path) -> None:
    """Delete a part and the note beside it, if they are there."""
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def _attempt(
    url: str,
    part: Path,
    expected_bytes: int | None,
    on_bytes: Callable[[int, int | None], None],
) -> None:
    note = _read_note(part, url)
    offset = part.stat().st_size if note and part.exists() else 0
    if note and note.total_bytes == offset:
        return  # whole, but the caller was stopped before it could use it
    headers = {"User-Agent": "tpbench", "Accept-Encoding": "identity"}
    if note and offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": note.validator}
    with _open(urllib.request.Request(url, headers=headers), part) as response:  # noqa: S310 - checked
        start = _resumed_at(response, note, offset)
        if start is None:
            discard(part)
            msg = "the server resumed another file than the one begun"
            raise _DroppedError(msg)
        total_bytes = _total_bytes(response, start) or expected_bytes
        _refuse_foreign(response, url, total_bytes, expected_bytes)
        if start == 0:
            discard(part)
            _write_note(part, url, _validator(response), total_bytes)
        _receive(response, part, start, total_bytes, on_bytes)


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    opener = urllib.request.OpenerDirector()
    # The default opener would also follow a redirect to ftp; ours knows http and https alone.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        response = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # More is here than the server has: not the same file. Begin anew.
            discard(part)
        elif error.code not in _RETRIED_STATUS:
            msg = f"{request.full_url}: the server answered {error.code} {error.reason}"
            raise TransferError(msg) from error
        msg = f"the server answered {error.code} {error.reason}"
        raise _DroppedError(msg) from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, socket.gaierror | ssl.SSLCertVerificationError):
            # No such host, or one that is not who it claims to be: waiting does not mend that.
            msg = f"{request.full_url}: {_reason(error)}"
            raise TransferError(msg) from error
        raise _DroppedError(_reason(error)) from error
    return cast("http.client.HTTPResponse", response)


def _resumed_at(
    response: http.client.HTTPResponse, note: _PartNote | None, offset: int
) -> int | None:
    """Return the byte at which the body starts: `offset` if the server went along, else 0.

    None if it started elsewhere or in another version of the file.
    """
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    same = note is not None and _validator(response) in ("", note.validator)
    return offset if match and int(match[1]) == offset and same else None


def _total_bytes(response: http.client.HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _refuse_foreign(
    response: http.client.HTTPResponse,
    url: str,
    total_bytes: int | None,
    expected_bytes: int | None,
) -> None:
    if response.headers.get_content_type() == "text/html":
        msg = f"{url}: the server sent a web page instead of the file (a login or proxy page?)"
        raise TransferError(msg)
    if expected_bytes is not None and total_bytes not in (None, expected_bytes):
        msg = f"{url}: the server offers {total_bytes} bytes, the file has {expected_bytes}"
        raise TransferError(msg)


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total_bytes: int | None,
    on_bytes: Callable[[int, int | None], None],
) -> None:
    done_bytes = start
    on_bytes(done_bytes, total_bytes)
    with part.open("ab") as file:
        while chunk := _read(response):
            file.write(chunk)
            done_bytes += len(chunk)
            on_bytes(done_bytes, total_bytes)
    if total_bytes is not None and done_bytes != total_bytes:
        msg = f"the connection ended at {done_bytes} of {total_bytes} bytes"
        raise _DroppedError(msg)


def _read(response: http.client.HTTPResponse) -> bytes:
    # Apart from the writing: an OSError here is the network's, one there is the disk's.
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _DroppedError(_reason(error)) from error


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    return str(cause) or type(cause).__name__


def _validator(response: http.client.HTTPResponse) -> str:
    """Return what names this very version of the file; a weak ETag must not stand in If-Range."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified", "")


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path, url: str) -> _PartNote | None:
    try:
        values = json.loads(_note_path(part).read_text(encoding="utf-8"))
        total = values["total_bytes"]
        note = _PartNote(
            url=str(values["url"]),
            validator=str(values["validator"]),
            total_bytes=None if total is None else int(total),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if note.url == url else None


def _write_note(part: Path, url: str, validator: str, total_bytes: int | None) -> None:
    if validator:
        note = _PartNote(url=url, validator=validator, total_bytes=total_bytes)
        _note_path(part).write_text(json.dumps(asdict(note)) + "\n", encoding="utf-8")

"""A file over http(s), resumable: what is there of it waits in a `.part` file.

A part is gone on with only if the server still offers the same file: beside it, `.part.json` keeps
the URL and the server's validator (a strong ETag, else Last-Modified), which is sent back as
If-Range. A server that ignores this sends the file from the start, and so it is then taken.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import socket
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final, cast

from tpbench.files import write_text_aside
from tpbench.foreign import printable, read_json

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 5
TIMEOUT_S: Final = 30.0
_BACKOFF_S = 1.0
"""Wait before the second attempt; doubled before each further one."""

LIMIT_BYTES: Final = 16 << 30
"""Of a file whose size is not known before: the largest of our table has a third of that."""

SLOW_AFTER_S: Final = 60.0
SLOW_BYTES: Final = 64 << 10
"""A server that sends less in that time is given up, as one that sends nothing is."""

_CHUNK_BYTES: Final = 1 << 18
_RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransferError(Exception):
    """The file could not be fetched; the message says why and names the URL."""


class _DroppedError(Exception):
    """The connection failed in a way that another attempt may mend."""


class _TooLargeError(Exception):
    """More came than the file may have."""


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
    max_bytes: int = LIMIT_BYTES,
    on_bytes: Callable[[int, int | None], None],
) -> None:
    """Fetch `url` into `part`, going on with what an earlier call left there.

    Args:
        url: http or https.
        part: whole when this returns, and not before.
        expected_bytes: size of the file, if known.
        max_bytes: more than this is never taken, whatever the server says of the size.
        on_bytes: told the bytes that are there and the whole size (None: not known).

    Raises:
        TransferError: refused, foreign, larger than it may be, sent on from https to http, or
            dropped or too slow too often. A part that can be resumed stays.
        OSError: `part` can't be written.
    """
    if not url.startswith(("http://", "https://")):
        raise TransferError(f"{url} is neither http nor https")
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_BACKOFF_S * 2 ** (attempt - 1))
        try:
            _attempt(url, part, expected_bytes, max_bytes, on_bytes)
        except _DroppedError as error:
            reason = str(error)
            logger.info("%s: %s (attempt %d of %d)", url, reason, attempt + 1, ATTEMPTS)
        else:
            return
    kept = part.stat().st_size if part.exists() else 0
    advice = f"{kept} bytes are kept, pull again to go on" if kept else "try again later"
    raise TransferError(f"{url}: {reason} ({ATTEMPTS} attempts); {advice}")


def discard(part: Path) -> None:
    """Delete a part and the note beside it, if they are there."""
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def _attempt(
    url: str,
    part: Path,
    expected_bytes: int | None,
    max_bytes: int,
    on_bytes: Callable[[int, int | None], None],
) -> None:
    _require_own(part)
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
            raise _DroppedError("the server resumed another file than the one begun")
        total_bytes = _total_bytes(response, start) or expected_bytes
        _refuse_foreign(response, url, total_bytes, expected_bytes)
        limit_bytes = min(max_bytes, total_bytes or max_bytes)
        if total_bytes is not None and total_bytes > max_bytes:
            raise TransferError(
                f"{url}: the server offers {total_bytes:,} bytes, the most is {max_bytes:,}"
            )
        if start == 0:
            discard(part)
            _write_note(part, url, _validator(response), total_bytes)
        try:
            _receive(response, part, start, total_bytes, limit_bytes, on_bytes)
        except _TooLargeError as error:
            discard(part)
            raise TransferError(
                f"{url}: the server sends more than {limit_bytes:,} bytes"
            ) from error


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    opener = urllib.request.OpenerDirector()
    # The default opener would also follow a redirect to ftp; ours knows http and https alone.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _Redirects(),
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
            raise TransferError(
                f"{request.full_url}: the server answered {error.code} {error.reason}"
            ) from error
        raise _DroppedError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, socket.gaierror | ssl.SSLCertVerificationError):
            # No such host, or one that is not who it claims to be: waiting does not mend that.
            raise TransferError(f"{request.full_url}: {_reason(error)}") from error
        raise _DroppedError(_reason(error)) from error
    return cast("http.client.HTTPResponse", response)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http: anybody on the way could answer there."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https://"):
            raise TransferError(
                f"{req.full_url}: the server sends on from https to {printable(newurl)[:200]}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_own(part: Path) -> None:
    """Take away a part that is a link, or somebody else's: it would be written through.

    The name of a part has to be known to go on with it, and the folder may be shared.
    """
    for path in (part, _note_path(part)):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        own = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()
        if not own:
            logger.warning("%s: a link, or not yours; taken away, and fetched from the start", path)
            discard(part)
            return


def _appending(part: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(part, flags, 0o644), "ab")


def _now_s() -> float:
    return time.monotonic()


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
        raise TransferError(
            f"{url}: the server sent a web page instead of the file (a login or proxy page?)"
        )
    if expected_bytes is not None and total_bytes not in (None, expected_bytes):
        raise TransferError(
            f"{url}: the server offers {total_bytes} bytes, the file has {expected_bytes}"
        )


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total_bytes: int | None,
    limit_bytes: int,
    on_bytes: Callable[[int, int | None], None],
) -> None:
    done_bytes = start
    on_bytes(done_bytes, total_bytes)
    since_s, since_bytes = _now_s(), start
    with _appending(part) as file:
        while chunk := _read(response):
            done_bytes += len(chunk)
            if done_bytes > limit_bytes:
                raise _TooLargeError
            file.write(chunk)
            on_bytes(done_bytes, total_bytes)
            if _now_s() - since_s >= SLOW_AFTER_S:
                if done_bytes - since_bytes < SLOW_BYTES:
                    raise _DroppedError(
                        f"fewer than {SLOW_BYTES:,} bytes came in {SLOW_AFTER_S:g} s"
                    )
                since_s, since_bytes = _now_s(), done_bytes
    if total_bytes is not None and done_bytes != total_bytes:
        raise _DroppedError(f"the connection ended at {done_bytes} of {total_bytes} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    # Apart from the writing: an OSError here is the network's, one there is the disk's.
    try:
        # What is there by now, and not a whole piece: a slow server would be waited for in here.
        return response.read1(_CHUNK_BYTES)
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
        values = read_json(_note_path(part))
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
        write_text_aside(_note_path(part), json.dumps(asdict(note)) + "\n")

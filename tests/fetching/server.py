"""A host of videos on this machine, which can misbehave, and notes what it is asked for."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CUT_SOCKETS = pytest.mark.filterwarnings("ignore::ResourceWarning")
"""For tests that cut connections: urllib3 does not close their sockets itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To one request."""

    content: bytes = b""
    status: int = 200
    kind: str = "video/mp4"
    cut_after: int | None = None
    """Bytes after which the connection is cut."""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the host was asked for."""

    path: str
    range: str | None
    cookie: str | None


@dataclass(slots=True, kw_only=True)
class Site:
    """A running host."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """By path; each answers one request, the last one all that follow."""
    requests: list[Request] = field(default_factory=list)
    on_request: Callable[[str], None] = lambda _: None
    has_cut: bool = False
    """Whether a connection was cut."""

    def put(self, path: str, *answers: Answer | bytes | int) -> str:
        """Say how a path is answered: by content, a status, or more. Return its address."""
        self.answers[path] = [_answer(given) for given in answers]
        return self.url + path

    def asked(self) -> list[str]:
        """Return the paths of all requests."""
        return [request.path for request in self.requests]


def _answer(given: Answer | bytes | int) -> Answer:
    if isinstance(given, bytes):
        return Answer(content=given)
    return Answer(status=given) if isinstance(given, int) else given


@contextmanager
def running_site() -> Iterator[Site]:
    """Serve for the duration of a block."""
    site = Site(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _serve(self, site)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients hang up
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if site.has_cut:
            # urllib3 leaves the socket to the garbage collector: no other test is to meet it.
            gc.collect()


def _serve(handler: BaseHTTPRequestHandler, site: Site) -> None:
    wanted = handler.headers.get("Range")
    site.on_request(handler.path)
    site.requests.append(
        Request(path=handler.path, range=wanted, cookie=handler.headers.get("Cookie"))
    )
    answers = site.answers.get(handler.path) or [Answer(status=404)]
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
    first = int(match[1]) if match else 0
    content = answer.content[first:]
    handler.close_connection = True
    with suppress(ConnectionError):
        handler.send_response(206 if match and answer.status == 200 else answer.status)
        handler.send_header("Content-Type", answer.kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Connection", "close")
        if match:
            total = len(answer.content)
            handler.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        for name, value in answer.headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content[: answer.cut_after])
        site.has_cut |= answer.cut_after is not None


def write_list(path: Path, *rows: str) -> Path:
    """Write a list of one column."""
    path.write_text("".join(f"{row}\n" for row in rows))
    return path

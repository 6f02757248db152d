"""A web server with faults to order, and a weights folder of one's own."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tpbench.weights import download, fetch, registry
from tpbench.weights.registry import UrlSource, WeightFile


@dataclass(slots=True, kw_only=True)
class Site:
    """What the server offers, and how badly; `requests` is what it was asked (Range, If-Range)."""

    url: str = ""
    content: bytes = b""
    etag: str = '"v1"'
    status: int = 200
    content_type: str = "application/octet-stream"
    knows_range: bool = True
    obeys_if_range: bool = True
    sends_length: bool = True
    redirect_to: str | None = None
    cut_after_bytes: list[int] = field(default_factory=list)
    """For each answer in turn: how much of the body is sent before the line is cut."""

    requests: list[tuple[str | None, str | None]] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            site.requests.append((asked, condition))
            if site.redirect_to:
                self.send_response(302)
                self.send_header("Location", site.redirect_to)
                self.end_headers()
                return
            start, status = 0, site.status
            match = re.fullmatch(r"bytes=(\d+)-", asked or "")
            current = not site.obeys_if_range or condition in (None, site.etag)
            if status == 200 and match and site.knows_range and current:
                start, status = int(match[1]), 206
                if start >= len(site.content):
                    self.send_error(416)
                    return
            self._send(site, status, start)

        def _send(self, site: Site, status: int, start: int) -> None:
            body = site.content[start:]
            self.send_response(status)
            self.send_header("Content-Type", site.content_type)
            self.send_header("ETag", site.etag)
            if site.sends_length:
                self.send_header("Content-Length", str(len(body)))
            if status == 206:
                total = len(site.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            cut = site.cut_after_bytes.pop(0) if site.cut_after_bytes else len(body)
            self.wfile.write(body[:cut])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - overridden
            """Say nothing on stderr."""

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on this machine that offers 100,000 bytes."""
    offered = Site(content=random.Random(7).randbytes(100_000))  # noqa: S311 - any bytes will do
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(offered))
    offered.url = f"http://127.0.0.1:{server.server_address[1]}/model.onnx"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield offered
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights folder of this test; attempts follow one another at once."""
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TPBENCH_OFFLINE", raising=False)
    monkeypatch.setattr(download, "_BACKOFF_S", 0.0)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put other rows in the table of weights."""

    def put(*rows: WeightFile) -> None:
        monkeypatch.setattr(registry, "WEIGHTS", rows)
        monkeypatch.setattr(fetch, "WEIGHTS", rows)

    return put


@pytest.fixture
def model(site: Site, table: Callable[..., None]) -> WeightFile:
    """The one row of a table: a file of the server, with its checksum."""
    row = WeightFile(
        name="model",
        filename="model.onnx",
        source=UrlSource(url=site.url),
        licence="MIT",
        used_for="tests",
        size_bytes=len(site.content),
        sha256=site.sha256,
    )
    table(row)
    return row

"""A web server with faults to order, which is a model hub as well, and a weights folder."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tpbench.weights import WeightFile, store


@dataclass(slots=True, kw_only=True)
class Site:
    """What the server offers at each of its addresses, and how badly."""

    url: str = ""
    content: bytes = b""
    etag: str = '"v1"'
    status: int = 200
    knows_range: bool = True
    sends_length: bool = True
    cut_after_bytes: list[int] = field(default_factory=list)
    """For each answer in turn: how much of the body is sent before the line is cut."""

    requests: list[str | None] = field(default_factory=list)
    """The Range of each GET."""

    tokens: list[str | None] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(None)

        def do_GET(self) -> None:
            if self.path.startswith("/api/"):
                return self.send_error(404)  # the hub's library asks more than for the file
            site.requests.append(self.headers.get("Range"))
            return self._answer(self.headers.get("Range"))

        def _answer(self, asked: str | None) -> None:
            site.tokens.append(self.headers.get("Authorization"))
            start, status = 0, site.status
            match = re.fullmatch(r"bytes=(\d+)-", asked or "")
            if status == 200 and match and site.knows_range:
                start, status = int(match[1]), 206
            body = site.content[start:]
            self.send_response(status)
            self.send_header("ETag", site.etag)
            self.send_header("X-Repo-Commit", "0" * 40)
            if site.sends_length:
                self.send_header("Content-Length", str(len(body)))
            if status == 206:
                total = len(site.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            if self.command == "GET":
                cut = site.cut_after_bytes.pop(0) if site.cut_after_bytes else len(body)
                self.wfile.write(body[:cut])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - overridden
            """Say nothing on stderr."""

    return Handler


def whats_there(folder: Path) -> set[str]:
    """What lies in the weights folder, and what is half made."""
    lying = {path.name for path in folder.iterdir() if path.name[0] != "."}
    return lying | {path.name for path in folder.glob(".partial-*/*")}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server on this machine that offers 100,000 bytes, and stands in for the model hub."""
    offered = Site(content=random.Random(7).randbytes(100_000))  # noqa: S311 - any bytes will do
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(offered))
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    offered.url = f"{endpoint}/model.onnx"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1_000)
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
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    return tmp_path / "cache" / "weights"


HUB = "https://huggingface.co/org/model/resolve/main/model.onnx"


@pytest.fixture
def put(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WeightFile]:
    """Make one row the table: a file of the server, with its checksum, or what is given."""

    def put_row(**said: object) -> WeightFile:
        row = WeightFile.model_validate(
            {
                "name": "model",
                "filename": "model.onnx",
                "sources": (HUB,),
                "licence": "MIT",
                "used_for": "tests",
                "size_bytes": len(site.content),
                "sha256": site.sha256,
                **said,
            }
        )
        monkeypatch.setattr(store, "WEIGHTS", (row,))
        return row

    return put_row


@pytest.fixture(params=["hub", "web"])
def model(request: pytest.FixtureRequest, site: Site, put: Callable[..., WeightFile]) -> WeightFile:
    """The one row of a table, once of the hub and once of the web."""
    return put(sources=(HUB if request.param == "hub" else site.url,))

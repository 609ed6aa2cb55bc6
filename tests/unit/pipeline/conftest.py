"""What the tests of the data path share: a loopback site that serves pages and files, or misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engines import InlineEngine


@dataclass
class Page:
    """What the site answers to one path."""

    body: bytes = b""
    kind: str = "text/html"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes after which the connection ends, with the full length announced; None: never."""
    announce_length: bool = True
    failures: int = 0
    """Requests that get `status` before the others get 200."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: object) -> None:
        """Say nothing: clients hang up on purpose."""


class Site:
    """Pages by path, and the requests that were made."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                site.answer(self, send_body=True)

            def do_HEAD(self) -> None:
                site.answer(self, send_body=False)

            def log_message(self, *arguments: object) -> None: ...

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add(self, path: str, body: bytes = b"", kind: str = "text/html", **behaviour: Any) -> str:
        """Publish a page (again) and return its URL; `behaviour` are the other fields of Page."""
        self.pages[path] = Page(body, kind, **behaviour)
        return self.url + path

    def answer(self, request: BaseHTTPRequestHandler, *, send_body: bool) -> None:
        self.requests.append(request.path)
        page = self.pages.get(request.path, Page(status=404))
        status = page.status
        if page.failures and self.requests.count(request.path) > page.failures:
            status = 200
        body = page.body if status == 200 or not page.failures else b""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        start = 0
        if match and status == 200 and page.cut is None and page.announce_length:
            start, status = int(match[1]), 206
        request.send_response(status)
        request.send_header("Content-Type", page.kind)
        for name, value in page.headers.items():
            request.send_header(name, value)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if page.announce_length:
            request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        if send_body:
            request.wfile.write(body[start : page.cut])


@pytest.fixture(autouse=True)
def search_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites are asked in this process, which starts at once; the worker process has tests of its own."""
    monkeypatch.setattr("pipeline.workers.ask.make_engine", lambda *arguments, **options: InlineEngine())


@pytest.fixture
def site() -> Iterator[Site]:
    """A loopback site without pages."""
    running = Site()
    yield running
    running.close()


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """A real video of 4 s, 160x96, 15 FPS, with something moving in it."""
    frames = np.zeros((60, 96, 160, 3), np.uint8)
    for index in range(60):
        frames[index, 30:60, 2 * index : 2 * index + 30] = (200, 40 + 2 * index, 90)
        frames[index, 70:] = np.random.default_rng(index).integers(0, 255, (26, 160, 3), np.uint8)
    return make_video(tmp_path_factory.mktemp("media") / "clip.mp4", frames, fps=15)

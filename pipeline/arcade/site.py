"""A video site on loopback: feeds, watch pages, a small API and media with Range, over a folder of recordings.

    with ArcadeSite(Path("lampworks-data/arcade")) as site:
        site.url                       # http://127.0.0.1:PORT
        # /feed/<round>.xml            RSS, cumulative: round 2 holds round 1's items too
        # /watch/<id>                  HTML with JSON-LD and a <video> with a ladder of sources
        # /api/videos/<id>             JSON: everything the page says and what HTML has no place for
        # /media/<id>_<height>p.mp4    Range, ETag, lengths
        # /thumbnail/<id>.jpg          a frame of it

For tests it misbehaves on request: `site.faults[id] = Fault("status", status=429, retry_after="2")`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from pipeline.arcade.catalog import Recording, media_path, read_catalog
from pipeline.arcade.encode import transcode, write_thumbnail
from pipeline.arcade.pages import Rung, api_json, feed_xml, rungs, watch_html

_TYPES = {"mp4": "video/mp4", "webm": "video/webm"}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Fault:
    """How one video misbehaves."""

    kind: Literal["status", "cut", "stall", "html", "empty", "redirect_loop", "wrong_length", "no_range"]
    """`cut` ends the body early, `stall` stops sending, `html` sends a page as media, `wrong_length` announces more
    than it sends, `no_range` ignores Range."""
    at: Literal["media", "page"] = "media"
    """Whether the media or the page (and the API) misbehaves."""
    status: int = 503
    retry_after: str | None = None
    after_bytes: int = 2000
    """Bytes of body before a cut or a stall."""
    length: bool = True
    """Whether a cut body announced its length."""
    times: int | None = None
    """Requests that are spoilt before it behaves; None for all."""


@dataclass(frozen=True)
class Request:
    """One request that arrived."""

    method: str
    path: str
    range: str | None


class ArcadeSite:
    """The site of an arcade folder; a context manager that serves from threads of its own."""

    def __init__(self, folder: Path, faults: Mapping[str, Fault] | None = None) -> None:
        self.folder = folder
        self.recordings = {recording.native_id: recording for recording in read_catalog(folder)}
        self.faults: dict[str, Fault] = dict(faults or {})
        self.requests: list[Request] = []
        self.url = ""
        self.closing = threading.Event()
        self._spoilt: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (_Handler,), {"arcade": self}))
        # requests are joined on closing: nothing outlives the site
        server.daemon_threads = False
        self._server, self.url = server, f"http://127.0.0.1:{server.server_address[1]}"
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="arcade-site", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self, native_id: str, at: str) -> Fault | None:
        """Return how a request must be spoilt, and count it."""
        with self._lock:
            fault = self.faults.get(native_id)
            if fault is None or fault.at != at:
                return None
            done = self._spoilt.get(native_id, 0)
            if fault.times is not None and done >= fault.times:
                return None
            self._spoilt[native_id] = done + 1
            return fault

    def media(self, recording: Recording, rung: Rung) -> Path:
        """Return the file of a rung; one that was not recorded is made at its first request, as large sites do."""
        path = media_path(self.folder, recording)
        if rung.height == recording.height:
            return path
        made = self.folder / "rungs" / f"{recording.native_id}_{rung.height}p-{recording.fingerprint}.{path.suffix[1:]}"
        with self._lock:
            if not made.exists():
                made.parent.mkdir(exist_ok=True)
                temporary = made.with_name(f".tmp-{made.name}")
                transcode(path, temporary, rung.width, rung.height)
                temporary.replace(made)
        return made

    def thumbnail(self, recording: Recording) -> Path:
        """Return the small picture of a recording, made at its first request."""
        made = self.folder / "thumbnails" / f"{recording.native_id}-{recording.fingerprint}.jpg"
        with self._lock:
            if not made.exists():
                made.parent.mkdir(exist_ok=True)
                temporary = made.with_name(f".tmp-{made.name}")
                write_thumbnail(media_path(self.folder, recording), temporary)
                temporary.replace(made)
        return made


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes: loopback connections are cheap, and none is left over at the end."""

    arcade: ArcadeSite
    protocol_version = "HTTP/1.1"
    server_version = "Arcade"
    sys_version = ""
    timeout = 60

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: `ArcadeSite.requests` is the log."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.close_connection = True
        path = unquote(urlsplit(self.path).path)
        self.arcade.requests.append(Request(self.command, path, self.headers.get("Range")))
        with contextlib.suppress(ConnectionError, TimeoutError):
            match path.strip("/").split("/"):
                case ["feed", name] if name.removesuffix(".xml").isdigit():
                    items = self._feed(int(name.removesuffix(".xml")))
                    self._send(feed_xml(self.arcade.url, items), "application/rss+xml; charset=utf-8", body)
                case ["watch", native_id] if native_id in self.arcade.recordings:
                    self._page(native_id, watch_html, "text/html; charset=utf-8", body)
                case ["api", "videos", native_id] if native_id in self.arcade.recordings:
                    self._page(native_id, api_json, "application/json", body)
                case ["media", name]:
                    self._media(name, body)
                case ["thumbnail", name] if name.removesuffix(".jpg") in self.arcade.recordings:
                    recording = self.arcade.recordings[name.removesuffix(".jpg")]
                    picture = self.arcade.thumbnail(recording)
                    self._file(picture, f'"{recording.fingerprint}-thumbnail"', "image/jpeg", None, body)
                case _:
                    self._status(404)

    def _feed(self, round_: int) -> list[Recording]:
        return [recording for recording in self.arcade.recordings.values() if recording.round <= round_]

    def _page(self, native_id: str, write: object, content_type: str, body: bool) -> None:
        assert callable(write)
        fault = self.arcade.fault(native_id, "page")
        if fault is not None and self._spoilt(fault, body):
            return
        self._send(write(self.arcade.url, self.arcade.recordings[native_id]), content_type, body)

    def _media(self, name: str, body: bool) -> None:
        for native_id, recording in self.arcade.recordings.items():
            if name.startswith(f"{native_id}_"):
                rung = next((rung for rung in rungs(recording) if rung.name == name), None)
                break
        else:
            rung = None
        if rung is None:
            self._status(404)
            return
        fault = self.arcade.fault(native_id, "media")
        if fault is not None and self._spoilt(fault, body):
            return
        path = self.arcade.media(recording, rung)
        self._file(path, f'"{recording.fingerprint}-{rung.height}"', _TYPES[recording.extension], fault, body)

    def _spoilt(self, fault: Fault, body: bool) -> bool:
        """Answer instead of the real thing where the fault is of that sort."""
        if fault.kind == "status":
            self._status(fault.status, {"Retry-After": fault.retry_after} if fault.retry_after else {})
        elif fault.kind == "redirect_loop":
            self._status(302, {"Location": f"{self.arcade.url}{self.path}"})
        elif fault.kind == "html":
            self._send("<html><title>Please wait</title>One moment...</html>" * 50, "video/mp4", body)
        elif fault.kind == "empty":
            self._send("", "video/mp4", body)
        else:
            return False
        return True

    def _status(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": "0", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, text: str, content_type: str, body: bool) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _file(self, path: Path, etag: str, content_type: str, fault: Fault | None, body: bool) -> None:
        kind = fault.kind if fault is not None else ""
        size = path.stat().st_size
        if self.headers.get("If-None-Match") == etag:
            self._status(304, {"ETag": etag})
            return
        wanted = None if kind == "no_range" else self.headers.get("Range")
        if wanted is not None and self.headers.get("If-Range", etag) != etag:
            wanted = None
        try:
            start, end = (0, size) if wanted is None else _span(wanted, size)
        except ValueError:
            self._status(416, {"Content-Range": f"bytes */{size}"})
            return
        self.send_response(200 if wanted is None else 206)
        if wanted is not None:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        if kind != "cut" or fault is None or fault.length:
            self.send_header("Content-Length", str((end - start) * (2 if kind == "wrong_length" else 1)))
        self.send_header("Content-Type", content_type)
        self.send_header("Accept-Ranges", "none" if kind == "no_range" else "bytes")
        self.send_header("ETag", etag)
        self.send_header("Connection", "close")
        self.end_headers()
        if not body:
            return
        if fault is not None and kind in {"cut", "stall"}:
            end = min(end, start + fault.after_bytes)
        with path.open("rb") as file:
            file.seek(start)
            while start < end and (chunk := file.read(min(_CHUNK, end - start))):
                self.wfile.write(chunk)
                start += len(chunk)
        if kind == "stall":
            self.wfile.flush()
            self.arcade.closing.wait(120)


def _span(header: str, size: int) -> tuple[int, int]:
    """Return (start, end past the last) of a Range header of one span; ValueError where it cannot be met."""
    unit, _, spans = header.partition("=")
    first, _, last = spans.partition("-")
    if unit.strip() != "bytes" or "," in spans:
        raise ValueError(header)
    if not first:
        return max(size - int(last), 0), size
    start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise ValueError(header)
    return start, end

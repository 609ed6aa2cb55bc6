"""A loopback internet for tests: every name of the world behind one real proxy, with sites that serve or misbehave.

    internet = FaultSite()
    url = internet.add("http://videos.test/a.mp4", media, cut=5000)    # real HTTP; https: real TLS
    options = {"proxy": internet.proxy_url}

The proxy answers for every host itself, and 502 for a host that it does not know, as a proxy does whose resolver finds
no such name. So no test leaves the machine, and nothing of yt-dlp is replaced.

One file, because the proxy, its hosts and their faults share one server.
"""

from __future__ import annotations

import dataclasses
import json
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.media import run_ffmpeg

x509 = pytest.importorskip("cryptography.x509", reason="the loopback TLS server needs the dev extra: cryptography")


# -- the proxy ----------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    internet: Loopback

    def handle_error(self, *arguments: object) -> None:
        """Say nothing: clients hang up on purpose."""


class Request(BaseHTTPRequestHandler):
    """One connection: plain HTTP by absolute address, or a tunnel whose other end is here too."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    server: _Server
    tunnel: str | None = None
    host: str
    """Name that was asked, without port."""
    local: str
    """Path and query."""

    def log_message(self, *arguments: object) -> None: ...

    def do_CONNECT(self) -> None:
        self.tunnel = self.path.rpartition(":")[0]
        internet = self.server.internet
        if not internet.knows(self.tunnel):
            self.send(b"", "text/plain", status=502)
            return
        self.send_response(200)
        self.end_headers()
        if self.tunnel in internet.no_handshake:
            self.close_connection = True
            return
        self.close_connection = False  # a CONNECT of HTTP/1.0 is no wish to hang up
        self.connection = internet.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        named = self.tunnel or parts.hostname or self.headers.get("Host", "").partition(":")[0]
        self.host = named.lower()
        self.local = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        internet = self.server.internet
        if not internet.knows(self.host):
            self.send(b"", "text/plain", status=502)
            return
        internet.requests.append((self.host, self.local))
        internet.answer(self)

    do_HEAD = do_POST = do_GET

    def body(self) -> bytes:
        """Read what was posted."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, body: bytes, kind: str, *, status: int = 200, **headers: str) -> None:
        """Answer with a whole body."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.connection.close()


class Loopback:
    """A proxy on loopback and the internet behind it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        """Host and path of each request, in their order."""
        self.no_handshake: set[str] = set()
        """Hosts that hang up before they speak TLS."""
        self.closing = threading.Event()
        with tempfile.TemporaryDirectory() as folder:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate(Path(folder)))
        self.server = _Server(("127.0.0.1", 0), Request)
        self.server.internet = self
        self.proxy_url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def knows(self, host: str) -> bool:
        """Whether this name resolves."""
        raise NotImplementedError

    def answer(self, request: Request) -> None:
        """Answer one request."""
        raise NotImplementedError


def certificate(folder: Path) -> Path:
    """Write a certificate that nobody signed, with its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "loopback.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


# -- sites that misbehave -----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Page:
    """What a site answers to one path, and how it spoils the answer."""

    body: bytes = b""
    kind: str = "video/mp4"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = True
    """Whether a part can be asked for."""
    length: int | bool = True
    """Content-Length: the true one, none, or a wrong one."""
    chunked: bool = False
    """Whether the body comes in one chunk, which tells its length instead."""
    cut: int | None = None
    """Bytes of body after which every answer ends."""
    stall: int | None = None
    """Bytes of body after which nothing more comes and nobody hangs up."""
    drip_s: float = 0.0
    """Pause between single bytes, shorter than any patience for silence."""
    silent: bool = False
    """Whether no answer comes at all."""
    gate: threading.Event | None = None
    """Requests are counted at once and answered when this is set: a test decides when, not the speed of the machine."""
    calm: int = 0
    """Requests that are answered well before the first that is spoilt."""
    spoilt: int | None = None
    """Requests that are spoilt before the site behaves for good; None: all."""

    def well(self) -> Page:
        """The page without its faults."""
        return Page(body=self.body, kind=self.kind)


class FaultSite(Loopback):
    """Pages by their URL."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, str], Page] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.lock = threading.Lock()
        super().__init__()

    def add(self, url: str, body: bytes = b"", kind: str = "video/mp4", **faults: Any) -> str:
        """Publish a page (again, with its count of requests at zero) and return its URL."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        key = (parts.hostname, parts.path + (f"?{parts.query}" if parts.query else ""))
        with self.lock:
            self.pages[key] = Page(body=body, kind=kind, **faults)
            self.asked[key] = 0
        return url

    def knows(self, host: str) -> bool:
        return host in self.no_handshake or any(known == host for known, _ in list(self.pages))

    def answer(self, request: Request) -> None:
        key = (request.host, request.local)
        page = self.pages.get(key, Page(status=404, kind="text/html"))
        with self.lock:
            number = self.asked[key] - page.calm
            self.asked[key] += 1
        well = number < 0 or (page.spoilt is not None and number >= page.spoilt)
        self._send(request, page.well() if well else page)

    def _send(self, request: Request, page: Page) -> None:
        if page.silent:
            self.closing.wait()
            request.close_connection = True
            return
        while page.gate is not None and not page.gate.wait(0.1):
            if self.closing.is_set():
                return
        status, start = page.status, 0
        match = re.fullmatch(r"bytes=(\d+)-\d*", request.headers.get("Range", ""))
        if match and status == 200 and page.ranges:
            start = int(match[1])
            status = 206 if start < len(page.body) else 416
        body = b"" if status == 416 else page.body[start:]
        request.send_response(status)
        request.send_header("Content-Type", page.kind)
        for name, value in page.headers.items():
            request.send_header(name, value)
        if match and status in {206, 416}:
            span = f"{start}-{len(page.body) - 1}" if status == 206 else "*"
            request.send_header("Content-Range", f"bytes {span}/{len(page.body)}")
        if page.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        elif page.length is not False:
            request.send_header("Content-Length", str(len(body) if page.length is True else page.length))
        spoilt = page.cut is not None or page.stall is not None or page.length is not True
        if spoilt:
            request.send_header("Connection", "close")
        request.end_headers()
        if request.command != "HEAD":
            self._write(request, page, body)
        request.close_connection = request.close_connection or spoilt

    def _write(self, request: Request, page: Page, body: bytes) -> None:
        if page.drip_s:
            for index in range(len(body)):
                if self.closing.wait(page.drip_s):
                    return
                request.wfile.write(body[index : index + 1])
            return
        stop = page.cut if page.stall is None else page.stall
        if page.chunked:
            request.wfile.write(b"%x\r\n" % len(body))
        request.wfile.write(body[:stop])
        if page.chunked and stop is None:
            request.wfile.write(b"\r\n0\r\n\r\n")
        if page.stall is not None:
            self.closing.wait()


def watch_page(title: str, media: str, *, seconds: float | None = None, **more: str) -> bytes:
    """Return a page that describes one video as search engines like it: JSON-LD."""
    video = {"@context": "https://schema.org", "@type": "VideoObject", "name": title, "contentUrl": media, **more}
    if seconds is not None:
        video["duration"] = f"PT{seconds:g}S"
    script = json.dumps(video).replace("<", "\\u003c")
    return (
        f'<!doctype html><html><head><title>{escape(title)}</title><script type="application/ld+json">{script}'
        "</script></head><body></body></html>"
    ).encode()


def player_page(title: str, media: str) -> bytes:
    """Return a page with an HTML5 player: its media is not asked before the download."""
    return (
        f"<!doctype html><html><head><title>{escape(title)}</title></head><body>"
        f'<video><source src="{escape(media)}" type="video/mp4"></video></body></html>'
    ).encode()


def feed(items: Mapping[str, str]) -> bytes:
    """Return an RSS 2.0 feed of URLs by title."""
    entries = "".join(
        f"<item><title>{escape(title)}</title><link>{escape(url)}</link></item>" for title, url in items.items()
    )
    return (f'<?xml version="1.0"?><rss version="2.0"><channel><title>feed</title>{entries}</channel></rss>').encode()


def hls(film: Path, folder: Path) -> dict[str, bytes]:
    """Return a film of 15 frames a second as HLS: the master list, its variant and segments of 1 s, by file name."""
    segments = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0"]
    run_ffmpeg("-i", film, "-c:v", "libx264", "-g", "15", *segments, folder / "variant.m3u8")
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    stream = "#EXT-X-STREAM-INF:BANDWIDTH=200000,RESOLUTION=160x96"
    return {"master.m3u8": f"#EXTM3U\n{stream}\nvariant.m3u8\n".encode(), **files}


# -- a collection in a process of its own --------------------------------------------------------------------------

COLLECT = """
import dataclasses, json, sys
from datetime import datetime
from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob, Job
from pipeline.storage.home import home_of
from pipeline.search.search import search_videos
from pipeline.search.batches import batches
from pipeline.storage.store import Store

asked = json.loads(sys.argv[1])
config = Config(source=SourceConfig(**asked["source"]), download=DownloadConfig(**asked["download"]))
store = Store(asked["root"])
home = home_of(store, asked["home"])
if not batches(store):
    search_videos(Job(store, config, home))
now = datetime.fromisoformat(asked["now"]) if asked["now"] else None
report = download_batch(BatchJob(store, config, home, batch=batches(store)[0]), now=now)
print(json.dumps(dataclasses.asdict(report), default=str))
"""


def collect_command(config: Any, root: Path, home: Path, now: datetime | None = None) -> list[str]:
    """Return the command of a search and a download in a process of their own."""
    asked = {"source": dataclasses.asdict(config.source), "download": dataclasses.asdict(config.download)}
    asked |= {"root": str(root), "home": str(home), "now": now.isoformat() if now else ""}
    return [sys.executable, "-c", COLLECT, json.dumps(asked)]


def collected(arguments: list[str], **options: Any) -> dict[str, Any]:
    """Run such a command and return its report."""
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=Path(__file__).parents[1], **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# -- YouTube ------------------------------------------------------------------------------------------------------

CHANNEL = "UC" + "x" * 22
TITLES = {
    "aaaaaaaaaa1": ("Fox Fable - platformer speedrun", "any%"),
    "aaaaaaaaaa2": ("Fox Fable - the platformer movie", "a speedrun"),
    "aaaaaaaaaa3": ("Fox Fable platformer", "a playthrough, as the description says"),
}
Titles = Mapping[str, tuple[str, str]]
"""Title and description by id."""


def search_answer(titles: Titles = TITLES) -> dict[str, Any]:
    owner = {"text": "Fox", "navigationEndpoint": {"browseEndpoint": {"browseId": CHANNEL}}}
    items = [
        {
            "videoRenderer": {
                "videoId": name,
                "title": {"runs": [{"text": title}]},
                "lengthText": {"simpleText": "0:04"},
                "ownerText": {"runs": [owner]},
            }
        }
        for name, (title, _) in titles.items()
    ]
    section = {"sectionListRenderer": {"contents": [{"itemSectionRenderer": {"contents": items}}]}}
    return {"contents": {"twoColumnSearchResultsRenderer": {"primaryContents": section}}}


def player_answer(name: str, size: int, playability: Mapping[str, Any], titles: Titles = TITLES) -> dict[str, Any]:
    title, description = titles[name]
    formats = [
        {
            "itag": itag, "url": f"https://media.googlevideo.com/videoplayback?itag={itag}", "width": width,
            "height": height, "fps": 15, "qualityLabel": f"{height}p", "contentLength": str(size * factor),
            "mimeType": 'video/mp4; codecs="avc1.4d400c"', "bitrate": size * factor, "approxDurationMs": "4000",
        }
        for itag, width, height, factor in ((134, 640, 360, 4), (160, 256, 144, 1), (136, 1280, 720, 9))
    ]  # fmt: skip
    details = {"videoId": name, "title": title, "lengthSeconds": "4", "shortDescription": description}
    details |= {"channelId": CHANNEL, "author": "Fox", "keywords": ["tag"]}
    answer: dict[str, Any] = {"playabilityStatus": playability, "videoDetails": details}
    if playability["status"] == "OK":
        answer["streamingData"] = {"adaptiveFormats": formats, "formats": []}
    return answer


class YouTube(Loopback):
    """Search, watch pages, players and media of the real service's protocol."""

    def __init__(self, folder: Path, media: bytes, titles: Titles = TITLES) -> None:
        self.media, self.titles = media, titles
        self.playability: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] = {"status": "OK"}
        """What the players answer: to all videos, or to one by its id."""
        super().__init__()

    def knows(self, host: str) -> bool:
        return host.endswith((".youtube.com", ".googlevideo.com"))

    def answer(self, request: Request) -> None:
        if request.command != "POST":
            is_media = request.local.startswith("/videoplayback")
            request.send(self.media if is_media else b"<html></html>", "video/mp4" if is_media else "text/html")
            return
        asked = json.loads(request.body() or b"{}")
        answer: dict[str, Any] = {}
        if "/search" in request.local:
            answer = search_answer(self.titles)
        elif "/player" in request.local:
            name = asked["videoId"]
            playability = self.playability(name) if callable(self.playability) else self.playability
            answer = player_answer(name, len(self.media), playability, self.titles)
        request.send(json.dumps(answer).encode(), "application/json")

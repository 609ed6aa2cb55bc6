"""A loopback internet for tests: sites that serve videos or misbehave, behind real HTTP, TLS and a real proxy.

The proxy sends every host to one TLS server, so no test leaves the machine and nothing of yt-dlp is replaced.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

x509 = pytest.importorskip("cryptography.x509", reason="the loopback TLS server needs the dev extra: cryptography")

CHANNEL = "UC" + "x" * 22
TITLES = {
    "aaaaaaaaaa1": ("Fox Fable - platformer speedrun", "any%"),
    "aaaaaaaaaa2": ("Fox Fable - the platformer movie", "a speedrun"),
    "aaaaaaaaaa3": ("Fox Fable platformer", "a playthrough, as the description says"),
}


def search_answer() -> dict[str, Any]:
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
        for name, (title, _) in TITLES.items()
    ]
    section = {"sectionListRenderer": {"contents": [{"itemSectionRenderer": {"contents": items}}]}}
    return {"contents": {"twoColumnSearchResultsRenderer": {"primaryContents": section}}}


def player_answer(name: str, size: int, playability: dict[str, Any]) -> dict[str, Any]:
    title, description = TITLES[name]
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


class YouTube:
    """A loopback stand-in: search, players, media; `playability` says what the players answer."""

    def __init__(self, folder: Path, media: bytes) -> None:
        self.playability: dict[str, Any] = {"status": "OK"}
        self.requests: list[tuple[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None: ...

            def do_GET(self) -> None:
                site.requests.append((self.headers["Host"], self.path))
                is_media = self.path.startswith("/videoplayback")
                self.send(media if is_media else b"<html></html>", "video/mp4" if is_media else "text/html")

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                site.requests.append((self.headers["Host"], self.path))
                answer: dict[str, Any] = {}
                if "/search" in self.path:
                    answer = search_answer()
                elif "/player" in self.path:
                    answer = player_answer(asked["videoId"], len(media), site.playability)
                self.send(json.dumps(answer).encode(), "application/json")

            def send(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Proxy(StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with socket.create_connection(site.server.server_address[:2]) as upstream:
                    back = threading.Thread(target=pump, args=(upstream, self.connection))
                    back.start()
                    pump(self.connection, upstream)
                    back.join()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(folder))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.proxy = ThreadingTCPServer(("127.0.0.1", 0), Proxy)
        self.threads = []
        for server in (self.server, self.proxy):
            server.daemon_threads = True
            server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            self.threads.append(thread)

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.server_address[1]}"

    def close(self) -> None:
        for server in (self.server, self.proxy):
            server.shutdown()
            server.server_close()
        for thread in self.threads:
            thread.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def certificate(folder: Path) -> Path:
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

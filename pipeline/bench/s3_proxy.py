"""A loopback proxy in front of an S3 server: it counts requests by operation, and makes faults where it is told to.

It runs as a process of its own (`pipeline.bench.s3_counts` starts it), so that it also answers a client that keeps
this interpreter's lock, and counts what worker processes send:

    python -m pipeline.bench.s3_proxy http://127.0.0.1:9000     # prints its own address

A signature holds the name of the server, so this works in front of servers that do not verify signatures, as the one
on loopback that tests and `lampworks bench s3` start.

`GET /-/requests` gives what was counted as JSON; `POST /-/rules` takes the faults to make and forgets the counts.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypedDict
from urllib.parse import parse_qs, unquote, urlsplit

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect", "proxy-connection"})
_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{text}</Message>'
    "<AWSAccessKeyId>{key}</AWSAccessKeyId><RequestId>1</RequestId></Error>"
)


class Rule(TypedDict, total=False):
    """Requests that get a fault; what is not named holds for all."""

    fault: str
    """`reset`: the connection breaks before the server sees the request; `lost`: after it has answered; `cut`: half of
    the answer's body arrives; `hang`: nothing comes for `hang_s` seconds; else the code of an S3 error (`SlowDown`)."""
    status: int
    """Of an error."""
    text: str
    """Of an error."""
    headers: dict[str, str]
    """Of an error."""
    reaches: bool
    """Whether the server sees a request that is answered with an error."""
    hang_s: float
    operation: str
    """As `GET object`."""
    kind: str
    """`log`, `rows`, `blobs`."""
    key: str
    """A part of the key."""
    first: int
    """Only so many requests."""
    after: int
    """Only the requests behind so many in all."""


class Seen(TypedDict):
    """A request as it arrived."""

    operation: str
    """As `GET object`, `LIST`, `PUT part`."""
    key: str
    """In the bucket; of a listing, its prefix."""
    kind: str
    """What it is of: `log` and `rows` of tables, or `blobs`."""
    sent: int
    """Bytes of the body to the server."""
    received: int
    """Bytes of the body from it."""


class _Proxy:
    """What all connections share."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.lock = threading.Lock()
        self.set_rules([])

    def set_rules(self, rules: list[Rule]) -> None:
        with self.lock:
            self.rules, self.seen = rules, list[Seen]()
            self._made: Counter[int] = Counter()

    def note(self, operation: str, key: str, sent: int) -> tuple[Seen, Rule | None]:
        path = f"/{key}"
        kind = "blobs" if "/tables/" not in path else "log" if "_delta_log" in path else "rows"
        seen = Seen(operation=operation, key=key, kind=kind, sent=sent, received=0)
        with self.lock:
            self.seen.append(seen)
            for number, rule in enumerate(self.rules):
                if _holds(rule, seen, self._made[number], len(self.seen)):
                    self._made[number] += 1
                    return seen, rule
        return seen, None


def _holds(rule: Rule, seen: Seen, made: int, total: int) -> bool:
    return (
        rule.get("operation", seen["operation"]) == seen["operation"]
        and rule.get("kind", seen["kind"]) == seen["kind"]
        and rule.get("key", "") in seen["key"]
        and made < rule.get("first", made + 1)
        and total > rule.get("after", 0)
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: _Proxy
    timeout = 120

    def _pass_on(self) -> None:
        body = self._body()
        if self.path.startswith("/-/"):
            self._control(body)
            return
        what = _what(self.command, self.path, "x-amz-copy-source" in self.headers)
        seen, rule = self.owner.note(*what, len(body))
        fault = rule["fault"] if rule else ""
        if rule and fault == "hang":
            time.sleep(rule.get("hang_s", 60.0))
        if fault in {"reset", "hang"}:
            self._break()
            return
        answered = rule is not None and fault not in {"lost", "cut"}
        if rule and answered and not rule.get("reaches"):
            self._refuse(rule)
            return
        status, headers, answer = self._upstream(body)
        seen["received"] = len(answer)
        if fault == "lost":
            self._break()
        elif rule and answered:
            self._refuse(rule)
        else:
            self._answer(status, headers, answer, cut=fault == "cut")

    def _refuse(self, rule: Rule) -> None:
        key = self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        text = _ERROR.format(code=rule["fault"], text=rule.get("text", "made by a test"), key=key).encode()
        headers = [("Content-Type", "application/xml"), *rule.get("headers", {}).items()]
        self._answer(rule.get("status", 503), headers, text)

    def _control(self, body: bytes) -> None:
        if self.command == "POST":
            self.owner.set_rules(json.loads(body))
        with self.owner.lock:
            told = json.dumps(self.owner.seen).encode()
        self._answer(200, [("Content-Type", "application/json")], told)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline() not in {b"\r\n", b"\n", b""}:  # trailers
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = self.owner.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port or 80, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        if body or self.command in {"PUT", "POST"}:
            headers["Content-Length"] = str(len(body))
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        told = {name.lower() for name, _ in headers}
        for name, value in headers:
            if name.lower() not in _HOP and not (name.lower() == "content-length" and self.command != "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        elif "content-length" not in told:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self._break(now=False)

    def _break(self, *, now: bool = True) -> None:
        """Close the connection, at once by a reset."""
        self.close_connection = True
        with suppress(OSError):
            if now:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if now:
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _what(method: str, target: str, copies: bool) -> tuple[str, str]:
    """Return the operation of a request, and its key or prefix."""
    parts = urlsplit(target)
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    query = parse_qs(parts.query, keep_blank_values=True)
    if method == "GET" and not key:
        if "uploads" in query or "versioning" in query:
            return "GET uploads" if "uploads" in query else "GET versioning", ""
        return "LIST", (query.get("prefix") or [""])[0]
    if "uploads" in query:
        return "begin upload", key
    if "uploadId" in query:
        return {"PUT": "PUT part", "POST": "end upload", "DELETE": "abort upload"}.get(method, method), key
    if method == "POST" and "delete" in query:
        return "DELETE many", key
    if method == "PUT" and copies:
        return "COPY", key
    return f"{method} {'object' if key else 'bucket'}", key


def main(upstream: str) -> None:
    """Serve until this process is ended, or its input closes."""
    proxy = _Proxy(upstream)

    class Handler(_Handler):
        owner = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()  # the parent's end closes when it goes, however it dies


if __name__ == "__main__":
    main(sys.argv[1])

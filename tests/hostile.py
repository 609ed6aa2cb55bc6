"""A hostile site for tests: raw answers by path, written by hand to a socket, and a count of the bytes that it sent.

    site = HostileSite()
    url = site.add("/endless", endless(b"x" * 65536))
    site.sent["/endless"]         # bytes that the client took of it
    site.asked                    # paths in the order of their requests

An answer is a function that gets a `Visitor` and writes whatever it likes, for as long as the client listens.
"""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.ytdlp_fetch import fetch_url

Answer = Callable[["Visitor"], None]


class Visitor:
    """One request of a client."""

    def __init__(self, site: HostileSite, connection: socket.socket, path: str, head: bytes) -> None:
        self.site, self.connection, self.path, self.head = site, connection, path, head

    def write(self, data: bytes) -> None:
        """Send bytes; OSError once the client has hung up or the site closes."""
        if self.site.closing.is_set():
            raise OSError("the site is closed")
        self.connection.sendall(data)
        self.site.sent[self.path] += len(data)

    def start(self, kind: str = "text/html", status: str = "200 OK", **headers: object) -> None:
        """Send a status and headers; the body ends when the connection does."""
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.write("\r\n".join([*lines, "", ""]).encode())

    def pause(self, seconds: float) -> None:
        """Wait, not longer than the site lives."""
        self.site.closing.wait(seconds)


class HostileSite:
    """Answers by path on a port of this machine."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.heads: dict[str, bytes] = {}
        """The last request of each path, with its headers."""
        self.sent: Counter[str] = Counter()
        self.closing = threading.Event()
        self.listener = socket.create_server((host, 0))
        # what the kernel takes of an answer without end, for a client that has stopped to read, is made in vain
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self.threads: list[threading.Thread] = []
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def add(self, path: str, answer: Answer | bytes, kind: str = "text/html", **headers: object) -> str:
        """Publish an answer, or bytes of a kind, and return its URL."""
        self.answers[path] = answer if callable(answer) else _plain(answer, kind, headers)
        return self.url + path

    def close(self) -> None:
        self.closing.set()
        # a blocked accept wakes up
        with socket.create_connection(self.listener.getsockname()):
            pass
        self.thread.join()
        self.listener.close()
        for thread in self.threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            if self.closing.is_set():
                connection.close()
                return
            connection.settimeout(20)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(65536)
                    if not part:
                        return
                    head += part
                path = head.split(b" ", 2)[1].decode()
                path = path.removeprefix(self.url)
                self.asked.append(path)
                self.heads[path] = head
                answer = self.answers.get(path.partition("?")[0])
                visitor = Visitor(self, connection, path, head)
                if answer is None:
                    visitor.start(status="404 Not Found", Content_Length=0)
                else:
                    answer(visitor)
            except OSError:
                return


def _plain(body: bytes, kind: str, headers: dict[str, object]) -> Answer:
    def answer(visitor: Visitor) -> None:
        visitor.start(kind, Content_Length=len(body), **headers)
        if not visitor.head.startswith(b"HEAD"):
            visitor.write(body)

    return answer


def redirect(to: str, body: Answer | None = None, **headers: object) -> Answer:
    """Redirect, with a body of its own where one is given."""

    def answer(visitor: Visitor) -> None:
        visitor.start(status="302 Found", Location=to, **({} if body else {"Content_Length": 0}), **headers)
        if body:
            body(visitor)

    return answer


def failing(status: str, body: Answer) -> Answer:
    """Answer with a status and a body."""

    def answer(visitor: Visitor) -> None:
        visitor.start(status=status)
        body(visitor)

    return answer


def endless_rest(visitor: Visitor) -> None:
    """Send a body without end, after headers that were sent."""
    while True:
        visitor.write(b" " * 65536)


def claiming(encoding: str, body: Answer) -> Answer:
    """Send an answer whose headers claim an encoding that it does not have."""

    def answer(visitor: Visitor) -> None:
        start = visitor.start
        visitor.start = lambda *arguments, **named: start(*arguments, **named, Content_Encoding=encoding)  # type: ignore[method-assign]
        body(visitor)

    return answer


def endless(kind: str = "text/html", first: bytes = b"<html><title>x</title>", encoding: str = "") -> Answer:
    """Send a body without end, of a kind and in an encoding (`gzip`, `deflate`, `gzip, gzip`)."""

    def answer(visitor: Visitor) -> None:
        visitor.start(kind, **({"Content_Encoding": encoding} if encoding else {}))
        spaces = b" " * 65536
        if not encoding:
            visitor.write(first)
            while True:
                visitor.write(spaces)
        for part in compressed(first, spaces, encoding):
            visitor.write(part)

    return answer


def compressed(first: bytes, rest: bytes, encoding: str) -> object:
    """Yield a compressed stream of `first` and then `rest` without end, a hundred times smaller than what it holds."""
    layers = [zlib.compressobj(9, wbits=31 if name.strip() == "gzip" else 15) for name in encoding.split(",")]
    before = b""
    while True:
        data = first or rest
        first = b""
        for number, layer in enumerate(layers):
            data = layer.compress(data) + (layer.flush(zlib.Z_SYNC_FLUSH) if number + 1 == len(layers) else b"")
        if data:
            yield data
        while len(layers) == 1 and data == before:  # the window is full of `rest`: it is the same for ever
            yield data
        before = data


def bomb(megabytes: int, first: bytes = b"<html>", layers: int = 1) -> bytes:
    """Return gzip of gzip of ... `first` and this many megabytes of spaces, a few kilobytes where layers are two."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(first), *(packer.compress(b" " * (1 << 20)) for _ in range(megabytes)), packer.flush()]
    data = b"".join(parts)
    for _ in range(layers - 1):
        data = gzip.compress(data, 9)
    return data


def dripping_body(kind: str = "text/html", first: bytes = b"<html>", pause_s: float = 0.1) -> Answer:
    """Send a byte now and then for ever."""

    def answer(visitor: Visitor) -> None:
        visitor.start(kind)
        visitor.write(first)
        while True:
            visitor.write(b" ")
            visitor.pause(pause_s)

    return answer


def dripping_headers(pause_s: float = 0.1) -> Answer:
    """Send a status, and then a byte of a header now and then for ever."""

    def answer(visitor: Visitor) -> None:
        visitor.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            visitor.write(b"x")
            visitor.pause(pause_s)

    return answer


def continuing(pause_s: float = 0.1) -> Answer:
    """Send `100 Continue` now and then for ever."""

    def answer(visitor: Visitor) -> None:
        while True:
            visitor.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            visitor.pause(pause_s)

    return answer


def silent(visitor: Visitor) -> None:
    """Take the request and say nothing."""
    visitor.pause(60)


def refusal(url: str, folder: Path, config: DownloadConfig, extra: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """Fetch a URL that must be refused, and return the class and the message of the error.

    The error itself is not kept: with it the connections of its frames would live until the garbage collector comes.
    """
    folder.mkdir(exist_ok=True)
    try:
        fetch_url(url, folder, config, extra, extractor="generic")
    except (PermanentError, RetryableError) as error:
        return error.error_class, str(error)
    return "", "it was fetched"
